//! Proxies in front of `/introspect` and `/revoke`.

use std::{env, fs, net::SocketAddr, path::PathBuf, process::Command};

use crate::site::{Running, Site, free_address, snippet, wait_until_up};

const GUIDE: &str = include_str!("../../../../docs/proxies.md");

const ENVOY: &str = include_str!("envoy.yaml");

/// A running proxy.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    _process: Running,
}

impl Front {
    async fn start(mut command: Command, address: SocketAddr, site: &Site) -> Self {
        let log = site.directory.path().join("proxy.log");
        let process = Running::start(&mut command, &log);
        wait_until_up(address, &log).await;
        Self {
            address,
            _process: process,
        }
    }
}

/// Starts the nginx of the guide.
pub(crate) async fn nginx(site: &Site) -> Front {
    let address = free_address();
    let heading = "Introspection and revocation through a proxy";
    // Without TLS, which not every client of these tests can be told to trust.
    let listen = "\
    listen 443 ssl;
    ssl_certificate /etc/nginx/tokens.example.pem;
    ssl_certificate_key /etc/nginx/tokens.example.key;
";
    let config = snippet(GUIDE, heading, "nginx")
        .replace(listen, &format!("    listen {address};\n"))
        .replace("127.0.0.1:8080", &site.address.to_string());
    // Keeps all files in the temporary directory, and needs no privileges.
    let own = "client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; \
               uwsgi_temp_path uwsgi; scgi_temp_path scgi; access_log off;";
    let config = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr notice;\n\
         events {{}}\nhttp {{ {own}\n{config}\n}}\n"
    );
    let path = site.directory.path().join("nginx.conf");
    fs::write(&path, config).unwrap();
    let mut command = Command::new(find_nginx().unwrap());
    command
        .args(["-e", "stderr", "-p"])
        .arg(site.directory.path());
    command.arg("-c").arg(path);
    Front::start(command, address, site).await
}

/// Finds the executable. Debian installs it outside of the usual path.
pub(crate) fn find_nginx() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(["/usr/sbin".into()]);
    directories
        .map(|directory| directory.join("nginx"))
        .find(|file| file.is_file())
}

pub(crate) async fn envoy(site: &Site) -> Front {
    let address = free_address();
    let port = |address: SocketAddr| format!("port_value: {} ", address.port());
    let config = ENVOY
        .replace("port_value: 80 ", &port(address))
        .replace("port_value: 8080 ", &port(site.address));
    let path = site.directory.path().join("envoy.yaml");
    fs::write(&path, config).unwrap();
    let mut command = Command::new(env::var_os("TEST_ENVOY").unwrap());
    command.args(["--disable-hot-restart", "--concurrency", "1"]);
    command.arg("--config-path").arg(path);
    Front::start(command, address, site).await
}
