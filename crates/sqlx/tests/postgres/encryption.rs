//! Which servers are connected to with TLS, and which are rejected.

use std::{
    error::Error,
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tower_api_tokens::StoreErrorKind;
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    server::Server,
    services::Test,
    support::{execute, tokens},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![
        a_server_with_a_valid_certificate_is_accepted,
        a_server_that_cannot_prove_its_identity_is_rejected_with_a_hint,
        a_root_certificate_is_also_used_with_require,
        the_tls_mode_that_the_server_accepts_is_used,
    ]
}

/// Whether `openssl`, which creates the certificates, is installed.
pub(crate) fn openssl_is_found() -> bool {
    let version = Command::new("openssl").arg("version").output();
    version.is_ok_and(|version| version.status.success())
}

/// A root certificate, and one for a server named `localhost`.
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
        let message = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{message}");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Copies a file to the server.
    fn give(&self, server: &Server, name: &str) {
        let given = server.data().join(name);
        fs::copy(self.file(name), &given).unwrap();
        let owner = fs::metadata(server.data()).unwrap();
        chown(given, Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    /// Starts a server with the certificate.
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

/// Returns a URL that verifies this server.
fn url(server: &Server, host: &str, root: &Path) -> String {
    let (port, root) = (server.address().port(), root.display());
    format!("postgres://postgres@{host}:{port}/postgres?sslmode=verify-full&sslrootcert={root}")
}

async fn a_server_with_a_valid_certificate_is_accepted() {
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

async fn a_server_that_cannot_prove_its_identity_is_rejected_with_a_hint() {
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
        let message = refused.source().unwrap().to_string();
        let kind = refused.kind();
        assert_eq!(kind, StoreErrorKind::InvalidSettings, "{case}: {message}");
        let names_host = format!("names {host}");
        for hint in ["`sslrootcert`", "`ssl` on", &names_host] {
            assert!(message.contains(hint), "{case}: {message}");
        }
    }
}

async fn a_root_certificate_is_also_used_with_require() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let server = certificates.serve().await;
    let port = server.address().port();
    let connect = async |parameters: String| {
        // The certificate is not valid for this address.
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres?{parameters}");
        PostgresStore::connect(&url)
            .await
            .map(drop)
            .map_err(|error| error.kind())
    };
    let (root, other) = (certificates.file("root.crt"), others.file("root.crt"));
    let (root, other) = (root.display(), other.display());
    for mode in ["require", "verify-ca"] {
        let right = connect(format!("sslmode={mode}&sslrootcert={root}")).await;
        assert_eq!(right, Ok(()), "{mode}");
        let wrong = connect(format!("sslmode={mode}&sslrootcert={other}")).await;
        assert_eq!(wrong, Err(StoreErrorKind::InvalidSettings), "{mode}");
    }
    let missing = connect(format!("sslmode=require&sslrootcert={root}.none")).await;
    assert_eq!(missing, Err(StoreErrorKind::InvalidSettings));
    assert_eq!(connect("sslmode=require".to_owned()).await, Ok(()));
    // At an address that does not count as local, the server is verified by default.
    let url = format!("postgres://postgres@0.0.0.0:{port}/postgres");
    let refused = PostgresStore::connect(&url).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::InvalidSettings);
    let url = format!("postgres://postgres@localhost:{port}/postgres");
    PostgresStore::connect(&url).await.unwrap();
}

async fn the_tls_mode_that_the_server_accepts_is_used() {
    let certificates = Certificates::new();
    let mut server = certificates.serve().await;
    let port = server.address().port();
    for (kind, modes) in [
        ("hostssl", ["allow", "prefer", "require"]),
        ("hostnossl", ["allow", "prefer", "disable"]),
    ] {
        server.kill();
        let rules = server.data().join("pg_hba.conf");
        // The code that starts the server connects to another database.
        let rule = format!("{kind} template1 all 127.0.0.1/32 trust\n");
        let others = "host postgres all 127.0.0.1/32 trust\n";
        fs::write(&rules, format!("{rule}{others}")).unwrap();
        server.start().await;
        for mode in modes {
            let url = format!("postgres://postgres@127.0.0.1:{port}/template1?sslmode={mode}");
            let connected = PostgresStore::connect(&url).await;
            assert!(connected.is_ok(), "{kind} {mode}: {connected:?}");
        }
    }
}
