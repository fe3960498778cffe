//! What statements and whole fleets cost the database, compared with the simulation in `benches/fleet`.
//!
//! `FLEET_SIZES=1,3,10 FLEET_REVOCATIONS=1000 cargo test --test fleet measured` measures fleets of these sizes.

mod costs;
mod processor;
mod small_fleet;

use std::env;

use tokio::{runtime::Handle, task::block_in_place};

use crate::services::Test;

/// They run on demand only, because other programs on the machine affect what they measure.
pub(crate) fn tests() -> Vec<Test> {
    if env::var_os("FLEET_SIZES").is_none() {
        return Vec::new();
    }
    tests![
        measured_statements_cost_what_the_simulation_assumes,
        measured_fleets_cost_what_the_simulation_predicts,
    ]
}

/// How far a measurement may differ from the simulation.
const TOLERANCE: f64 = 0.25;

fn assert_agrees(what: &str, measured: f64, simulated: f64) {
    let difference = measured / simulated - 1.0;
    assert!(
        difference.abs() <= TOLERANCE,
        "{what}: measured {measured:.1}, simulated {simulated:.1}"
    );
}

/// Runs a measurement on this thread: its closures borrow, so it cannot move to another.
fn here<T>(measuring: impl Future<Output = T>) -> T {
    block_in_place(|| Handle::current().block_on(measuring))
}

async fn measured_statements_cost_what_the_simulation_assumes() {
    println!(
        "| | µs | assumed | bytes | assumed | statements | assumed |\n|---|---|---|---|---|---|---|"
    );
    let compared = here(costs::measure());
    for (name, measured, assumed) in &compared {
        println!(
            "| {name} | {:.1} | {:.1} | {:.0} | {:.0} | {:.2} | {:.2} |",
            measured.processor,
            assumed.processor,
            measured.bytes,
            assumed.bytes,
            measured.statements,
            assumed.statements,
        );
    }
    // The time depends on the machine.
    for (name, measured, assumed) in &compared {
        assert_agrees(&format!("bytes of a {name}"), measured.bytes, assumed.bytes);
    }
}

fn sizes() -> Vec<usize> {
    let sizes = env::var("FLEET_SIZES").unwrap_or_default();
    let sizes = sizes.split(',').map(|size| size.parse());
    sizes
        .map(|size| size.expect("a size is a number"))
        .collect()
}

async fn measured_fleets_cost_what_the_simulation_predicts() {
    println!(
        "| nodes | notifications | | statements/s | KB/s | cores | p50 ms | p99 ms | max ms |\n\
         |---|---|---|---|---|---|---|---|---|"
    );
    let mut compared = Vec::new();
    for nodes in sizes() {
        for is_notified in [true, false] {
            let fleet = small_fleet::SmallFleet { nodes, is_notified };
            let measured = here(fleet.measure());
            let simulated = fleet.simulate();
            for (how, figures) in [("measured", &measured), ("simulated", &simulated)] {
                println!("| {nodes} | {is_notified} | {how} | {figures} |");
            }
            compared.push((measured, simulated));
        }
    }
    for (measured, simulated) in compared {
        assert_agrees("statements", measured.statements, simulated.statements);
        assert_agrees("bytes", measured.bytes, simulated.bytes);
        assert!(
            (measured.p50 - simulated.p50).abs() <= TOLERANCE * 1000.0,
            "p50: measured {} ms, simulated {} ms",
            measured.p50,
            simulated.p50
        );
    }
}
