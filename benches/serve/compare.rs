//! Compares the CPU time per request with that of the floor.

use std::time::{Duration, Instant};

use crate::{
    load::{self, Requests},
    platform::Platform,
    process::Server,
};

const PAIRS: usize = 9;
const TIME: Duration = Duration::from_secs(3);

/// A run on one server.
struct Run {
    microseconds: f64,
    per_second: f64,
    busy: f64,
}

pub(crate) fn verify(platform: &Platform) {
    compare(platform, "/verify", Requests::Verify);
}

pub(crate) fn introspect(platform: &Platform) {
    compare(platform, "/introspect", Requests::Introspect);
}

fn compare(platform: &Platform, path: &str, requests: Requests) {
    let servers = [
        ("axum handler", platform.floor()),
        ("`api-tokens serve`", platform.serve(&[])),
    ];
    let mut runs: Vec<Vec<Run>> = servers.iter().map(|_| Vec::new()).collect();
    for round in 0..=PAIRS {
        for (runs, (_, server)) in runs.iter_mut().zip(&servers) {
            let run = measure(platform, server, requests);
            // The first round is a warm-up.
            if round > 0 {
                runs.push(run);
            }
        }
    }
    println!(
        "\n`{path}` on one core, keep-alive on 32 connections, 1,000 tokens; medians of {PAIRS} alternated runs\n"
    );
    println!("| | CPU µs a request | of the handler | requests/s | least busy |");
    println!("|---|---|---|---|---|");
    for ((name, _), mine) in servers.iter().zip(&runs) {
        let ratios = mine.iter().zip(&runs[0]);
        let ratio = median(ratios.map(|(a, b)| a.microseconds / b.microseconds));
        let busy = mine
            .iter()
            .map(|run| run.busy)
            .fold(f64::INFINITY, f64::min);
        println!(
            "| {name} | {:.2} | {ratio:.3} | {:.0} | {:.0} % |",
            median(mine.iter().map(|run| run.microseconds)),
            median(mine.iter().map(|run| run.per_second)),
            busy * 100.0
        );
    }
}

fn measure(platform: &Platform, server: &Server, requests: Requests) -> Run {
    let (begun, before) = (Instant::now(), server.process.cpu_time());
    let load = load::run(platform, server.address, requests, TIME);
    let used = server.process.cpu_time() - before;
    Run {
        microseconds: used * 1e6 / load.requests,
        per_second: load.per_second,
        busy: used / begun.elapsed().as_secs_f64(),
    }
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
