//! The store connects to the same addresses as `psql`.

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
};

use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    server::{self, Server},
    services::Test,
    support::{execute, tokens},
};

const CONNECT: &str = "CONNECT_BY";

/// The password of the user `odd`, and another user whose name needs escaping too.
const PASSWORD: &str = "a:b@c/d?e#f%g&h=i+j k[l]\\m'n\"é";
const ODD_USER: &str = "o/d:d@u[s]er?#%";

pub(crate) fn tests() -> Vec<Test> {
    tests![
        every_connection_string_of_psql_connects,
        a_pool_can_have_any_address_and_user,
    ]
}

/// Connects, if this process was started for it.
pub(crate) fn connect() -> bool {
    let Ok(text) = env::var(CONNECT) else {
        return false;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = PostgresStore::builder(&text).schema("forms").connect();
        store.await.unwrap().close().await;
    });
    true
}

/// A server that listens on IPv4, IPv6 and a socket in its own directory, and asks for passwords on IPv6.
async fn start() -> Server {
    let server = Server::start_new(&[
        "listen_addresses=127.0.0.1,::1",
        "unix_socket_directories=.",
    ])
    .await;
    let rules = server.data().join("pg_hba.conf");
    let asks = "host all odd,raw ::1/128 scram-sha-256\n";
    let trusts = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, format!("{asks}{trusts}")).unwrap();
    let mut hand = PgConnection::connect(&server.url()).await.unwrap();
    let password = PASSWORD.replace('\'', "''");
    let role = format!("CREATE ROLE odd SUPERUSER LOGIN PASSWORD '{password}'");
    execute(&mut hand, &role).await;
    let role = format!("CREATE ROLE \"{ODD_USER}\" SUPERUSER LOGIN");
    execute(&mut hand, &role).await;
    execute(&mut hand, "CREATE DATABASE \"o d/d@b\"").await;
    execute(&mut hand, "SELECT pg_reload_conf()").await;
    server
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Runs a program with these PostgreSQL variables and no others.
fn run(program: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    let environment = environment.iter().copied();
    command.args(arguments).envs(environment).output().unwrap()
}

async fn every_connection_string_of_psql_connects() {
    let server = start().await;
    let psql = server::binaries().unwrap().join("psql");
    let this = env::current_exe().unwrap();
    let port = server.address().port().to_string();
    let data = server.data();
    let socket = data.to_str().unwrap();
    let (odd, database) = (encoded(ODD_USER), encoded("o d/d@b"));
    let password = encoded(PASSWORD);
    let raw = "a:b?c#d&e=f+g[h]";
    let mut hand = PgConnection::connect(&server.url()).await.unwrap();
    execute(
        &mut hand,
        &format!("CREATE ROLE raw SUPERUSER LOGIN PASSWORD '{raw}'"),
    )
    .await;
    let quoted = PASSWORD.replace('\\', "\\\\").replace('\'', "\\'");
    let passfile = data.join("passwords");
    let escaped = PASSWORD.replace('\\', "\\\\").replace(':', "\\:");
    fs::write(&passfile, format!("*:*:*:odd:{escaped}\n")).unwrap();
    fs::set_permissions(
        &passfile,
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let passfile = passfile.to_str().unwrap();
    let forms: Vec<(String, Vec<(&str, &str)>)> = vec![
        (format!("postgres://postgres@[::1]:{port}/postgres"), vec![]),
        (
            format!("postgresql://postgres@127.0.0.1:{port}/postgres"),
            vec![],
        ),
        (format!("postgres://postgres@localhost:{port}"), vec![]),
        (
            format!("postgres://postgres@/postgres?host=::1&port={port}"),
            vec![],
        ),
        (
            format!("postgres://postgres@/postgres?hostaddr=::1&port={port}"),
            vec![],
        ),
        (
            format!("postgres://postgres@nowhere.invalid/?hostaddr=::1&port={port}"),
            vec![],
        ),
        (
            format!("postgres://?user=postgres&host=::1&port={port}&dbname=postgres"),
            vec![],
        ),
        (
            format!("postgres://postgres@{}:{port}/postgres", encoded(socket)),
            vec![],
        ),
        (
            format!("postgres://postgres@:{port}/postgres?host={socket}"),
            vec![],
        ),
        (
            format!("postgres://postgres@:{port}/?host={socket}&sslmode=verify-full"),
            vec![],
        ),
        (format!("postgres://{odd}@[::1]:{port}/{database}"), vec![]),
        (
            format!("postgres://odd:{password}@[::1]:{port}/postgres"),
            vec![],
        ),
        (
            format!("postgres://odd@[::1]:{port}/postgres?password={password}"),
            vec![],
        ),
        (
            format!("postgres://raw:{raw}@[::1]:{port}/postgres"),
            vec![],
        ),
        (
            format!("postgres://odd@[::1]:{port}/postgres"),
            vec![("PGPASSWORD", PASSWORD)],
        ),
        (
            format!("postgres://odd@[::1]:{port}/postgres"),
            vec![("PGPASSFILE", passfile)],
        ),
        (
            format!("postgres://odd@[::1]:{port}/postgres?passfile={passfile}"),
            vec![],
        ),
        (format!("host=::1 port={port} user=postgres"), vec![]),
        (
            format!("host = '{socket}' port={port} user=postgres dbname=postgres"),
            vec![],
        ),
        (
            format!("host=::1 port={port} user=odd dbname='o d/d@b' password='{quoted}'"),
            vec![],
        ),
        (
            format!("hostaddr=127.0.0.1 port={port} user=postgres sslmode=disable"),
            vec![],
        ),
        (
            format!("host=::1 port={port} user=postgres sslmode=allow connect_timeout=3"),
            vec![],
        ),
        (
            "postgres://".to_owned(),
            vec![("PGHOST", "::1"), ("PGPORT", &port), ("PGUSER", "postgres")],
        ),
        (
            "postgres:///postgres".to_owned(),
            vec![
                ("PGHOSTADDR", "::1"),
                ("PGPORT", &port),
                ("PGUSER", "postgres"),
            ],
        ),
        (
            "user=postgres".to_owned(),
            vec![
                ("PGHOST", socket),
                ("PGPORT", &port),
                ("PGDATABASE", "o d/d@b"),
            ],
        ),
    ];
    for (form, environment) in forms {
        let arguments = ["-X", "-w", "-Atc", "SELECT 1", &form];
        let control = run(&psql, &arguments, &environment);
        assert!(control.status.success(), "psql refuses {form}: {control:?}");
        let mut with_form = environment.clone();
        with_form.push((CONNECT, &form));
        let connected = run(&this, &[], &with_form);
        assert!(
            connected.status.success(),
            "{form} {environment:?}: {connected:?}"
        );
    }
}

async fn a_pool_can_have_any_address_and_user() {
    let server = start().await;
    let data = server.data();
    let options = || {
        PgConnectOptions::new_without_pgpass()
            .port(server.address().port())
            .database("o d/d@b")
    };
    for options in [
        options().host("::1").username(ODD_USER),
        options().host("127.0.0.1").username("postgres"),
        options().host("::1").username("odd").password(PASSWORD),
        options().socket(&data).username(ODD_USER),
        options().host(data.to_str().unwrap()).username("postgres"),
        options()
            .host("::1")
            .username(ODD_USER)
            .statement_cache_capacity(0),
    ] {
        let pool = PgPoolOptions::new()
            .max_connections(3)
            .connect_with(options);
        let builder = PostgresStore::builder_on(pool.await.unwrap()).schema("pools");
        let store = builder.connect().await.unwrap();
        let follower = tokens(&store).follow().start().await.unwrap();
        let name = crate::support::unique();
        tokens(&store).create_app(&name).await.unwrap();
        follower.stop().await.unwrap();
        store.close().await;
    }
}
