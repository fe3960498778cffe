//! The synchronization primitives of the parts that are model-checked with loom. The model tests
//! replace this module.

pub(super) use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};
