//! Managing apps and tokens: the operations, the guard and the audit.

mod audit;
mod guard;
mod operations;
mod support;
