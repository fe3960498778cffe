//! The primitives of the parts that are model-checked. The models put their own in this place.

pub(super) use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};
