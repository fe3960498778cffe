//! Tests of handlers, as the guide to embedding shows them: they are tests here too.

include!("shown/handlers.rs");
