//! Compares axum on loopback with the layer and without. The server runs on one core, and the load
//! generator on another.

mod load;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, mpsc},
    thread,
};

use axum::{Router, extract::Request, routing::get};
use http::HeaderValue;
use tokio::{net::TcpListener, task::JoinSet};
use tower::util::MapRequestLayer;
use tower_api_tokens::ApiTokenLayer;

use self::load::Load;
use crate::{
    floor::Floor,
    platform::{Platform, runtime},
    rounds::{median, timed},
};

const ROUNDS: usize = 31;
const REQUESTS: usize = 20_000;

pub(crate) fn run() {
    let platform = Platform::new(100_000);
    platform.warm();
    let (names, routers): (Vec<_>, Vec<_>) = routers(&platform).into_iter().unzip();
    let addresses = serve(routers);
    let some = platform.some();
    let loading = thread::spawn(move || load(&addresses, &some));
    let (rates, busy) = loading.join().unwrap();
    println!(
        "\naxum on loopback, one core, keep-alive on 32 connections, 1,000 tokens of 100,000\n"
    );
    println!("| | requests/s | of no layer |\n|---|---|---|");
    for (name, rate) in names.iter().zip(&rates) {
        let ratio = median(rate.iter().zip(&rates[0]).map(|(a, b)| a / b).collect());
        println!("| {name} | {:.0} | {ratio:.3} |", median(rate.clone()));
    }
    println!(
        "\nThe load generator was busy {:.0} % of the time",
        busy * 100.0
    );
}

/// Returns a router with each of the layers to compare.
pub(crate) fn routers(platform: &Platform) -> [(&'static str, Router); 4] {
    let route = || Router::new().route("/", get(async || "ok"));
    let floor = Arc::new(Floor::new(platform));
    let admit = move |mut request: Request| {
        assert!(floor.admit(&mut request));
        request
    };
    [
        ("no layer", route()),
        ("no-op layer", route().layer(MapRequestLayer::new(|r| r))),
        ("floor", route().layer(MapRequestLayer::new(admit))),
        (
            "`ApiTokenLayer`, from memory",
            route().layer(ApiTokenLayer::new(&platform.tokens)),
        ),
    ]
}

/// Serves all routers from one thread, on the first core.
fn serve(routers: Vec<Router>) -> Vec<SocketAddr> {
    let (send, bound) = mpsc::channel();
    thread::spawn(move || {
        pin(0);
        runtime().block_on(async {
            let mut servers = JoinSet::new();
            for router in routers {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                send.send(listener.local_addr().unwrap()).unwrap();
                servers.spawn(async { axum::serve(listener, router).await });
            }
            drop(send);
            servers.join_all().await
        })
    });
    bound.iter().collect()
}

/// Sends requests to the servers in turn, from the second core. Returns the requests per second of
/// each server for each round, and the share of the time for which this thread was busy.
fn load(servers: &[SocketAddr], credentials: &[HeaderValue]) -> (Vec<Vec<f64>>, f64) {
    pin(1);
    let mut loads: Vec<Load> = servers
        .iter()
        .map(|address| Load::new(*address, credentials))
        .collect();
    let mut rates = vec![Vec::with_capacity(ROUNDS); loads.len()];
    let mut busy = 0.0;
    let whole = timed(|| {
        let begun = busy_time();
        for round in 0..=ROUNDS {
            for (rates, load) in rates.iter_mut().zip(&mut loads) {
                let time = timed(|| load.run(REQUESTS));
                // The first round is a warm-up.
                if round > 0 {
                    rates.push(REQUESTS as f64 / time.as_secs_f64());
                }
            }
        }
        busy = busy_time() - begun;
    });
    (rates, busy / whole.as_secs_f64())
}

/// Pins this thread to a core.
fn pin(core: usize) {
    #[cfg(target_os = "linux")]
    {
        let mut cores = rustix::thread::CpuSet::new();
        cores.set(core);
        rustix::thread::sched_setaffinity(None, &cores).expect("this takes two cores");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = core;
}

/// Returns the CPU time of this thread, in seconds.
fn busy_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
