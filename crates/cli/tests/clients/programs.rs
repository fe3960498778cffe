//! Programs that introspect and revoke tokens with a library, directly and through proxies.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use crate::{
    fronts,
    services::Test,
    site::{INTROSPECT, Site, clients, exchange, link_packages, nodejs},
};

/// Runs a check with the server, or with the server behind a proxy.
macro_rules! case {
    ($name:literal, $check:expr) => {
        ($name, || {
            Box::pin(async {
                let site = Site::start();
                let check: fn(&Site, SocketAddr) = $check;
                check(&site, site.address);
            })
        })
    };
    ($name:literal, $check:expr, $front:ident) => {
        ($name, || {
            Box::pin(async {
                let site = Site::start();
                let front = fronts::$front(&site).await;
                let check: fn(&Site, SocketAddr) = $check;
                check(&site, front.address);
            })
        })
    };
    (async $name:literal, $check:ident, $front:ident) => {
        ($name, || {
            Box::pin(async {
                let site = Site::start();
                let front = fronts::$front(&site).await;
                $check(&site, front.address).await;
            })
        })
    };
}

pub(crate) fn direct() -> Vec<Test> {
    vec![
        case!("authlib_introspects_and_revokes", authlib),
        case!("oauthlib_introspects_and_revokes", oauthlib),
        case!("oauth4webapi_introspects_and_revokes", oauth4webapi),
        case!(
            "openid_client_and_passport_introspect_and_revoke",
            openid_client
        ),
    ]
}

pub(crate) fn through_nginx() -> Vec<Test> {
    vec![
        case!("authlib_works_through_nginx", authlib, nginx),
        case!("oauthlib_works_through_nginx", oauthlib, nginx),
        case!("oauth4webapi_works_through_nginx", oauth4webapi, nginx),
        case!(async "callers_are_known_behind_nginx", callers_are_known_by_their_address, nginx),
    ]
}

pub(crate) fn through_envoy() -> Vec<Test> {
    vec![
        case!("authlib_works_through_envoy", authlib, envoy),
        case!("oauthlib_works_through_envoy", oauthlib, envoy),
        case!("oauth4webapi_works_through_envoy", oauth4webapi, envoy),
        case!(async "callers_are_known_behind_envoy", callers_are_known_by_their_address, envoy),
    ]
}

fn authlib(site: &Site, address: SocketAddr) {
    python(site, address, include_str!("authlib_client.py"));
}

fn oauthlib(site: &Site, address: SocketAddr) {
    python(site, address, include_str!("oauthlib_client.py"));
}

fn oauth4webapi(site: &Site, address: SocketAddr) {
    node(site, address, include_str!("oauth4webapi.mjs"));
}

fn openid_client(site: &Site, address: SocketAddr) {
    node(site, address, include_str!("openid_client.mjs"));
}

fn python(site: &Site, address: SocketAddr, program: &str) {
    let path = site.directory.path().join("program.py");
    fs::write(&path, program).unwrap();
    let interpreter = clients().join("python/bin/python");
    // These clients refuse to send credentials without TLS otherwise.
    let mut command = Command::new(interpreter);
    command
        .env("AUTHLIB_INSECURE_TRANSPORT", "1")
        .env("OAUTHLIB_INSECURE_TRANSPORT", "1");
    run(site, address, command, &path);
}

fn node(site: &Site, address: SocketAddr, program: &str) {
    let path = site.directory.path().join("program.mjs");
    fs::write(&path, program).unwrap();
    link_packages(site.directory.path());
    run(site, address, nodejs(), &path);
}

/// Runs a program that checks everything itself.
fn run(site: &Site, address: SocketAddr, mut command: Command, program: &Path) {
    let issue = |scope| site.issue(scope, &[]).0;
    let tokens = [issue("orders:read"), issue("orders:read")];
    let output = command
        .arg(program)
        .env("BASE", format!("http://{address}"))
        .env("APP", "billing")
        .env("CALLER", issue(INTROSPECT))
        .env("OTHER", issue("orders:read"))
        .env("TOKENS", tokens.join(","))
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(output.status.success(), "{printed}");
}

/// A caller's token that is restricted to a network works from there alone, whatever header the caller sends.
async fn callers_are_known_by_their_address(site: &Site, front: SocketAddr) {
    let (caller, _) = site.issue(INTROSPECT, &["--network", "127.0.0.2/32"]);
    let (token, _) = site.issue("orders:read", &[]);
    let form = format!("token={token}");
    for (from, field, status) in [
        ("127.0.0.2", "", 200),
        ("127.0.0.2", "X-Forwarded-For: 192.0.2.1\r\n", 200),
        ("127.0.0.3", "", 401),
        ("127.0.0.3", "X-Forwarded-For: 127.0.0.2\r\n", 401),
        (
            "127.0.0.3",
            "x-forwarded-for: 127.0.0.2\r\nX-Forwarded-For: 127.0.0.2\r\n",
            401,
        ),
    ] {
        let request = format!(
            "POST /introspect HTTP/1.1\r\nHost: tokens\r\nConnection: close\r\n\
             Authorization: Bearer {caller}\r\n{field}\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        let answer = exchange(from, front, &request).await;
        assert_eq!(answer.status, status, "{from} {field:?}: {}", answer.head);
        assert!(answer.head.contains("cache-control: no-store"));
        assert_eq!(
            answer.head.contains("www-authenticate: bearer"),
            status == 401
        );
        assert_eq!(answer.body.contains("\"active\":true"), status == 200);
    }
}
