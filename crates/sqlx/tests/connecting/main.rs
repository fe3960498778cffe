//! What an untrusted server is sent, and what messages show of a connection string. These tests need no
//! PostgreSQL.

mod messages;
mod untrusted;
