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
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..=PAIRS {
        for (rates, (_, (_, address))) in rates.iter_mut().zip(&proxies) {
            let load = load::run(platform, *address, Requests::File, TIME);
            if round > 0 {
                rates.push(load.per_second);
            }
        }
    }
    println!(
        "\nA small file from nginx, which shares one core with `api-tokens serve`; medians of {PAIRS} alternated runs\n"
    );
    println!("| | requests/s | of the first |\n|---|---|---|");
    for ((name, _), mine) in proxies.iter().zip(&rates) {
        let ratio = median(mine.iter().zip(&rates[0]).map(|(a, b)| a / b));
        println!(
            "| {name} | {:.0} | {ratio:.3} |",
            median(mine.iter().copied())
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
