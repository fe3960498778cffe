//! What is said to a server that cannot be trusted, and what is shown of a URL: no PostgreSQL is needed.

mod messages;
mod untrusted;
