//! `/introspect` and `/revoke` of `serve`.

use serde_json::Value;

use crate::{server::Server, support::Cli};

/// Posts a form, and returns the status and the JSON of the answer.
fn post(server: &Server, path: &str, caller: Option<&str>, form: &str) -> (u16, Value) {
    let caller = caller.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let fields = format!(
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n{}\r\n{form}",
        form.len(),
        caller.unwrap_or_default(),
    );
    // The fields end with the form in place of the last line break.
    let (status, answer) = server.send("POST", path, &fields);
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn a_service_introspects_tokens_and_a_holder_revokes_its_own() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &[]);
    let (caller, _) = cli.issue("gateway", &["--scope", "tokens:introspect"]);
    let (token, id) = cli.issue("ci", &["--scope", "invoices:read"]);
    let form = format!("token={token}");
    let (status, live) = post(&server, "/introspect", Some(&caller), &form);
    assert_eq!(
        (status, &live["active"]),
        (200, &Value::Bool(true)),
        "{live}"
    );
    assert_eq!(
        (&live["jti"], &live["scope"]),
        (&id.into(), &"invoices:read".into())
    );
    assert_eq!(post(&server, "/introspect", Some(&token), &form).0, 401);
    assert_eq!(post(&server, "/introspect", None, &form).0, 401);

    assert_eq!(post(&server, "/revoke", None, &form).0, 200);
    let (status, gone) = post(&server, "/introspect", Some(&caller), &form);
    assert_eq!(
        (status, gone.to_string().as_str()),
        (200, "{\"active\":false}")
    );
    assert_ne!(cli.verify(&token).code, 0);
    let events = cli.run(&["events", "--json"]).json_lines();
    let revoked = events
        .iter()
        .find(|event| event["action"] == "token.revoke");
    let actor = format!("token:{}", revoked.unwrap()["token_id"].as_str().unwrap());
    assert_eq!(revoked.unwrap()["actor"], actor);
}

#[test]
fn revocation_is_left_out_on_request_and_where_nothing_is_managed() {
    let cli = Cli::with_app();
    let (caller, _) = cli.issue("gateway", &["--scope", "tokens:introspect"]);
    let form = format!("token={caller}");
    for option in ["--no-revoke", "--verify-only", "--read-only"] {
        let server = Server::start(&cli, &[option]);
        assert_eq!(post(&server, "/revoke", None, &form).0, 404, "{option}");
        let (status, live) = post(&server, "/introspect", Some(&caller), &form);
        assert_eq!((status, &live["active"]), (200, &true.into()), "{option}");
    }
}

#[test]
fn callers_can_be_limited_to_apps_that_exist() {
    let cli = Cli::with_app();
    let (caller, _) = cli.issue("gateway", &["--scope", "tokens:introspect"]);
    cli.run(&["app", "create", "Gateways", "--id", "gateways"])
        .done();
    let server = Server::start(&cli, &["--introspect-app", "gateways"]);
    assert_eq!(
        post(&server, "/introspect", Some(&caller), "token=a").0,
        401
    );
    let refused = cli.run(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--introspect-app",
        "nobody",
    ]);
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("`--introspect-app`"), "{refused:?}");
}
