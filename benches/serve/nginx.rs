//! nginx with `auth_request` to the server, and without. Both share a core with the server.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use crate::{
    compare::median,
    load::{self, Requests},
    platform::Platform,
    process::{Process, pinned},
};

const PAIRS: usize = 9;
const TIME: Duration = Duration::from_secs(3);

/// A run through one proxy. Times are in microseconds a request.
struct Run {
    nginx: f64,
    server: f64,
    per_second: f64,
}

pub(crate) fn run(platform: &Platform) {
    let server = platform.serve(&[]);
    let directory = platform.directory.path();
    fs::write(directory.join("file"), "ok").unwrap();
    let guarded = "auth_request /_token; auth_request_set $token_app_id $upstream_http_x_api_app_id; \
                   add_header X-App $token_app_id;";
    let proxies = [
        ("nginx", start(directory, "without", "", server.address)),
        (
            "nginx with `auth_request`",
            start(directory, "with", guarded, server.address),
        ),
    ];
    let mut runs: [Vec<Run>; 2] = [Vec::new(), Vec::new()];
    for round in 0..=PAIRS {
        for (runs, (_, (nginx, address))) in runs.iter_mut().zip(&proxies) {
            let before = [nginx, &server.process].map(Process::cpu_time);
            let load = load::run(platform, *address, Requests::File, TIME);
            let used =
                |process: &Process, before| (process.cpu_time() - before) * 1e6 / load.requests;
            if round > 0 {
                runs.push(Run {
                    nginx: used(nginx, before[0]),
                    server: used(&server.process, before[1]),
                    per_second: load.per_second,
                });
            }
        }
    }
    println!(
        "\nA small file from nginx, which shares one core with `api-tokens serve`; medians of {PAIRS} alternated runs\n"
    );
    println!("| | CPU µs a request in nginx | in the server | requests/s | of the first |");
    println!("|---|---|---|---|---|");
    for ((name, _), mine) in proxies.iter().zip(&runs) {
        let rates = mine.iter().zip(&runs[0]);
        let ratio = median(rates.map(|(a, b)| a.per_second / b.per_second));
        println!(
            "| {name} | {:.2} | {:.2} | {:.0} | {ratio:.3} |",
            median(mine.iter().map(|run| run.nginx)),
            median(mine.iter().map(|run| run.server)),
            median(mine.iter().map(|run| run.per_second)),
        );
    }
}

/// Starts nginx with these directives for its files.
fn start(directory: &Path, name: &str, guard: &str, verifier: SocketAddr) -> (Process, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let own = "client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; \
               uwsgi_temp_path uwsgi; scgi_temp_path scgi; access_log off; keepalive_requests 1000000000;";
    let config = format!(
        "daemon off; master_process off; pid {name}.pid; error_log stderr;\nevents {{}}\nhttp {{ {own}\n\
         upstream verifier {{ server {verifier}; keepalive 32; keepalive_requests 1000000000; }}\n\
         server {{ listen {address}; root {root};\n\
         location / {{ {guard} }}\n\
         location = /_token {{ internal; proxy_pass http://verifier/verify; proxy_pass_request_body off; \
         proxy_set_header Content-Length \"\"; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}\n}} }}\n",
        root = directory.display()
    );
    let file = directory.join(format!("{name}.conf"));
    fs::write(&file, config).unwrap();
    let mut command = pinned(0, Path::new("/usr/sbin/nginx"));
    command
        .args(["-e", "stderr", "-p"])
        .arg(directory)
        .arg("-c")
        .arg(file);
    let process = Process(command.stderr(Stdio::inherit()).spawn().unwrap());
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        assert!(
            Instant::now() < deadline,
            "nginx does not listen; is it installed?"
        );
        thread::sleep(Duration::from_millis(10));
    }
    (process, address)
}
