//! The command line, by the program that is installed.

mod apps;
mod arguments;
mod events;
mod guide;
mod measuring;
mod moving;
mod output;
mod prompts;
mod serving;
mod support;
mod tokens;
mod triggers;
mod verifying;
