//! Random schedules of changes, requests and trouble, on nodes that follow a store: the verdicts of a
//! node against those of the store itself.

mod cluster;
mod faulty;
mod fleet;
mod imports;
mod replicas;
mod steps;
mod verdicts;
