//! Random schedules of changes, requests and failures, on nodes that follow a store. The results of
//! a node are compared with the store itself.

mod cluster;
mod faulty;
mod fleet;
mod imports;
mod lost;
mod replicas;
mod required;
mod steps;
mod verdicts;
