//! With `sslmode=verify-full` the server is the one that the URL names, or none.

use std::{
    error::Error,
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tower_api_tokens::{PostgresStore, StoreErrorKind};

use crate::{
    server::Server,
    services::Test,
    support::{execute, tokens},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![
        a_server_with_the_right_certificate_is_connected_to_by_tls,
        a_server_that_cannot_show_who_it_is_is_refused_with_what_helps,
    ]
}

/// Whether `openssl` is there, which makes the certificates.
pub(crate) fn openssl_is_found() -> bool {
    let version = Command::new("openssl").arg("version").output();
    version.is_ok_and(|version| version.status.success())
}

/// Certificates: a root's, and that of a server named `localhost`.
struct Certificates {
    directory: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let certificates = Self { directory };
        certificates.make("root", &["-subj", "/CN=Root"]);
        let (certificate, key) = (certificates.file("root.crt"), certificates.file("root.key"));
        let mut by_root = vec!["-subj", "/CN=Server", "-CA", certificate.to_str().unwrap()];
        by_root.extend(["-CAkey", key.to_str().unwrap()]);
        by_root.extend(["-addext", "subjectAltName=DNS:localhost"]);
        by_root.extend(["-addext", "basicConstraints=critical,CA:FALSE"]);
        certificates.make("server", &by_root);
        certificates
    }

    fn make(&self, name: &str, arguments: &[&str]) {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-days", "2", "-nodes"])
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .arg("-keyout")
            .arg(self.file(&format!("{name}.key")))
            .arg("-out")
            .arg(self.file(&format!("{name}.crt")))
            .args(arguments)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{told}");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Gives a file to the server, under the same name.
    fn give(&self, server: &Server, name: &str) {
        let given = server.data().join(name);
        fs::copy(self.file(name), &given).unwrap();
        let owner = fs::metadata(server.data()).unwrap();
        chown(given, Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    /// A server that shows its certificate.
    async fn serve(&self) -> Server {
        let mut server = Server::start_new(&[]).await;
        for name in ["server.crt", "server.key"] {
            self.give(&server, name);
        }
        let mut connection = PgConnection::connect(&server.url()).await.unwrap();
        execute(&mut connection, "ALTER SYSTEM SET ssl = on").await;
        server.kill();
        server.start().await;
        server
    }
}

/// The URL that insists on this server.
fn url(server: &Server, host: &str, root: &Path) -> String {
    let (port, root) = (server.address().port(), root.display());
    format!("postgres://postgres@{host}:{port}/postgres?sslmode=verify-full&sslrootcert={root}")
}

async fn a_server_with_the_right_certificate_is_connected_to_by_tls() {
    let certificates = Certificates::new();
    let server = certificates.serve().await;
    let url = url(&server, "localhost", &certificates.file("root.crt"));
    let store = PostgresStore::connect(&url).await.unwrap();
    tokens(&store).create_app("Billing").await.unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE backend_type = 'client backend' AND NOT ssl";
    let plain: i64 = sqlx::query_scalar(plain)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(plain, 0, "every connection is encrypted");
}

async fn a_server_that_cannot_show_who_it_is_is_refused_with_what_helps() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let server = certificates.serve().await;
    let plain = Server::start_new(&[]).await;
    let root = certificates.file("root.crt");
    let other_root = others.file("root.crt");
    let no_file = others.file("none.crt");
    for (case, server, host, root) in [
        ("another root", &server, "localhost", &other_root),
        ("another name", &server, "127.0.0.1", &root),
        ("no such file", &server, "localhost", &no_file),
        ("no TLS", &plain, "localhost", &root),
    ] {
        let url = url(server, host, root);
        let refused = PostgresStore::connect(&url).await.unwrap_err();
        let told = refused.source().unwrap().to_string();
        let kind = refused.kind();
        assert_eq!(kind, StoreErrorKind::InvalidSettings, "{case}: {told}");
        let names_host = format!("names {host}");
        for cure in ["`sslrootcert`", "`ssl` on", &names_host] {
            assert!(told.contains(cure), "{case}: {told}");
        }
    }
}
