//! What a server that cannot be trusted is sent, and what messages show of a connection string. None of
//! these tests needs PostgreSQL.

mod messages;
mod untrusted;
