//! The samples of the guide to other languages, as they are shown.

use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use crate::{
    services::Test,
    site::{
        Answer, INTROSPECT, PATIENCE, Running, Site, clients, exchange, free_address,
        link_packages, nodejs, snippet, wait_until_up,
    },
};

const GUIDE: &str = include_str!("../../../../docs/languages.md");

/// How long a revoked token may be accepted: the samples cache for five seconds, and the server is started with
/// one second. The rest is for slow machines.
const BOUND: Duration = Duration::from_secs(5 + 1 + 4);

/// A sample of the guide.
#[derive(Clone, Copy)]
struct Sample {
    heading: &'static str,
    language: &'static str,
    /// How the sample sets the time for which it caches, for five seconds and for an hour.
    cache_time: [&'static str; 2],
    /// Prepares the process.
    start: fn(&str, SocketAddr, &Path) -> Command,
}

const FASTAPI: Sample = Sample {
    heading: "FastAPI",
    language: "python",
    cache_time: ["CACHE_SECONDS = 5\n", "CACHE_SECONDS = 3600\n"],
    start: |code, address, directory| {
        fs::write(directory.join("main.py"), code).unwrap();
        let mut command = Command::new(clients().join("python/bin/uvicorn"));
        command.args(["main:app", "--host", "127.0.0.1", "--port"]);
        command.arg(address.port().to_string());
        command
    },
};

const EXPRESS: Sample = Sample {
    heading: "Express",
    language: "javascript",
    cache_time: ["cacheSeconds = 5;", "cacheSeconds = 3600;"],
    start: |code, address, directory| {
        let listen = format!("listen({},", address.port());
        fs::write(
            directory.join("main.mjs"),
            code.replace("listen(3000,", &listen),
        )
        .unwrap();
        link_packages(directory);
        let mut command = nodejs();
        command.arg("main.mjs");
        command
    },
};

const GO: Sample = Sample {
    heading: "Go",
    language: "go",
    cache_time: ["= 5 * time.Second", "= 3600 * time.Second"],
    start: |code, address, directory| {
        let code = code.replace("127.0.0.1:3000", &address.to_string());
        fs::write(directory.join("main.go"), code).unwrap();
        let built = Command::new("go")
            .args(["build", "-o", "sample", "main.go"])
            .current_dir(directory)
            .env("GOCACHE", directory.join("go"))
            .output()
            .unwrap();
        assert!(built.status.success(), "{built:?}");
        Command::new(directory.join("sample"))
    },
};

pub(crate) fn has_go() -> bool {
    Command::new("go").arg("version").output().is_ok()
}

macro_rules! case {
    ($name:literal, $test:ident, $sample:ident) => {
        ($name, || Box::pin($test($sample)))
    };
}

pub(crate) fn with_clients() -> Vec<Test> {
    vec![
        case!(
            "the_fastapi_sample_verifies_tokens",
            verifies_tokens,
            FASTAPI
        ),
        case!(
            "the_fastapi_sample_refuses_expired_tokens",
            refuses_expired_tokens,
            FASTAPI
        ),
        case!(
            "the_express_sample_verifies_tokens",
            verifies_tokens,
            EXPRESS
        ),
        case!(
            "the_express_sample_refuses_expired_tokens",
            refuses_expired_tokens,
            EXPRESS
        ),
    ]
}

pub(crate) fn with_go() -> Vec<Test> {
    vec![
        case!("the_go_sample_verifies_tokens", verifies_tokens, GO),
        case!(
            "the_go_sample_refuses_expired_tokens",
            refuses_expired_tokens,
            GO
        ),
    ]
}

/// A sample that runs.
struct Service {
    address: SocketAddr,
    _process: Running,
}

impl Service {
    async fn start(sample: Sample, site: &Site, change: impl Fn(&str) -> String) -> Self {
        let address = free_address();
        let directory = site.directory.path();
        let code = change(snippet(GUIDE, sample.heading, sample.language));
        let mut command = (sample.start)(&code, address, directory);
        command
            .current_dir(directory)
            .env(
                "INTROSPECTION_URL",
                format!("http://{}/introspect", site.address),
            )
            .env("INTROSPECTION_TOKEN", site.issue(INTROSPECT, &[]).0);
        let log = directory.join("service.log");
        let process = Running::start(&mut command, &log);
        wait_until_up(address, &log).await;
        Self {
            address,
            _process: process,
        }
    }

    async fn get(&self, fields: &str) -> Answer {
        let request =
            format!("GET /orders HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n{fields}\r\n");
        exchange("127.0.0.1", self.address, &request).await
    }

    async fn get_as(&self, token: &str) -> Answer {
        self.get(&format!("Authorization: Bearer {token}\r\n"))
            .await
    }

    /// Waits until a token is not admitted, and returns that response and when it came.
    async fn first_refusal(&self, token: &str) -> (Answer, Instant) {
        let refused = async {
            loop {
                let answer = self.get_as(token).await;
                if answer.status != 200 {
                    return (answer, Instant::now());
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, refused).await.expect("still admitted")
    }
}

async fn verifies_tokens(sample: Sample) {
    let mut site = Site::start();
    let service = Service::start(sample, &site, str::to_owned).await;
    let (good, id) = site.issue("orders:read", &[]);
    let (lacking, _) = site.issue("orders:write", &[]);
    let (inside, _) = site.issue("orders:read", &["--network", "127.0.0.1/32"]);
    let (outside, _) = site.issue("orders:read", &["--network", "192.0.2.0/24"]);
    let typo = format!("{}x", &good[..good.len() - 1]);
    for (token, status) in [
        (&good, 200),
        (&inside, 200),
        (&lacking, 403),
        (&outside, 401),
    ] {
        let answer = service.get_as(token).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        let challenged = answer.head.contains("www-authenticate: bearer");
        assert_eq!(challenged, status != 200, "{}", answer.head);
        assert_eq!(answer.body.contains("billing"), status == 200);
    }
    for fields in [
        String::new(),
        "Authorization: Basic YTpi\r\n".to_owned(),
        "Authorization: Bearer\r\n".to_owned(),
        format!("Authorization: Bearer {typo}\r\n"),
        format!("Authorization: Bearer {}\r\n", "a".repeat(7_000)),
    ] {
        let answer = service.get(&fields).await;
        assert_eq!(answer.status, 401, "{fields}: {}", answer.body);
        assert!(answer.head.contains("www-authenticate: bearer"));
    }

    site.revoke(&id);
    let revoked = Instant::now();
    let (refusal, at) = service.first_refusal(&good).await;
    assert_eq!(refusal.status, 401);
    assert!(at - revoked < BOUND, "{:?}", at - revoked);

    site.kill_server();
    let (failure, _) = service.first_refusal(&inside).await;
    assert_eq!(failure.status, 503);
    assert!(failure.head.contains("retry-after: 1"), "{}", failure.head);
    let log = fs::read_to_string(site.directory.path().join("service.log")).unwrap();
    assert!(!log.contains(&inside) && !log.contains(&good), "{log}");
}

/// An answer is not used after the expiry of the token, however long the sample caches.
async fn refuses_expired_tokens(sample: Sample) {
    let site = Site::start();
    let [shown, longer] = sample.cache_time;
    let service = Service::start(sample, &site, |code| {
        assert!(code.contains(shown), "{code}");
        code.replace(shown, longer)
    })
    .await;
    let (token, _) = site.issue("orders:read", &["--expires", "3s"]);
    let issued = Instant::now();
    assert_eq!(service.get_as(&token).await.status, 200);
    let (refusal, at) = service.first_refusal(&token).await;
    assert_eq!(refusal.status, 401);
    assert!(at - issued < Duration::from_secs(8), "{:?}", at - issued);
}
