//! A PostgreSQL server for one test, which the test may kill.

#![expect(clippy::disallowed_methods, reason = "a server takes real time")]

use std::{
    env, fs,
    net::{SocketAddr, TcpListener},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

/// The user `nobody`, because PostgreSQL refuses to run as root.
const NOBODY: u32 = 65_534;

pub(crate) struct Server {
    binaries: PathBuf,
    directory: TempDir,
    port: u16,
    settings: Vec<&'static str>,
    postmaster: Option<Child>,
}

/// The directory of PostgreSQL's programs, if it is configured.
pub(crate) fn binaries() -> Option<PathBuf> {
    env::var_os("TEST_POSTGRES_BIN").map(PathBuf::from)
}

impl Server {
    /// Starts a server with a new directory and its durable default settings, except for these.
    pub(crate) async fn start_new(settings: &[&'static str]) -> Self {
        let mut server = Self::without_data(settings);
        let initdb = server
            .command("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C", "--no-sync"])
            .status();
        assert!(initdb.unwrap().success());
        server.start().await;
        server
    }

    /// Starts a standby, which follows this server from its current state.
    pub(crate) async fn start_standby(&self) -> Self {
        let mut standby = Self::without_data(&self.settings);
        let copied = standby
            .command("pg_basebackup")
            .args(["--dbname", &self.url(), "--checkpoint=fast", "--no-sync"])
            .args(["--write-recovery-conf", "--pgdata"])
            .arg(standby.data())
            .status();
        assert!(copied.unwrap().success());
        standby.start().await;
        standby
    }

    fn without_data(settings: &[&'static str]) -> Self {
        let directory = TempDir::new().unwrap();
        if geteuid().is_root() {
            chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            binaries: binaries().unwrap(),
            port: port.local_addr().unwrap().port(),
            directory,
            settings: settings.to_vec(),
            postmaster: None,
        }
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command
            .env("PGDATA", self.data())
            .current_dir(self.directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts the server, and waits until it has recovered.
    pub(crate) async fn start(&mut self) {
        let mut command = self.command("postgres");
        command
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        self.postmaster = Some(command.spawn().unwrap());
        let begun = Instant::now();
        while let Err(error) = PgConnection::connect(&self.url()).await {
            assert!(begun.elapsed() < DEADLINE, "it does not start: {error}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The address that it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Stops every process of the server with SIGSTOP.
    pub(crate) fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Continues every process of the server.
    pub(crate) fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let postmaster = pid(self.postmaster.as_ref().expect("it runs").id());
        kill_process(postmaster, signal).unwrap();
        for child in children_of(postmaster) {
            // The process may have ended by now.
            let _ = kill_process(child, signal);
        }
    }

    /// Kills the server with all its processes.
    pub(crate) fn kill(&mut self) {
        let Some(mut postmaster) = self.postmaster.take() else {
            return;
        };
        let parent = pid(postmaster.id());
        // Stopped first, so that it starts no more processes.
        kill_process(parent, Signal::STOP).unwrap();
        let children = children_of(parent);
        for process in children.iter().chain([&parent]) {
            // Some may have ended by now.
            let _ = kill_process(*process, Signal::KILL);
        }
        postmaster.wait().unwrap();
        let begun = Instant::now();
        while children.iter().any(|child| is_running(*child)) {
            assert!(begun.elapsed() < DEADLINE, "a killed process goes on");
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn pid(number: u32) -> Pid {
    let number = i32::try_from(number).unwrap();
    Pid::from_raw(number).unwrap()
}

/// The state and the parent of a process, from Linux's `/proc`.
fn state_of(process: &Path) -> Option<(String, u32)> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The name before it may contain anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn children_of(parent: Pid) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.ok()?.path();
        let number: u32 = path.file_name()?.to_str()?.parse().ok()?;
        let (_, its_parent) = state_of(&path)?;
        (pid(its_parent.max(1)) == parent).then(|| pid(number))
    });
    processes.collect()
}

fn is_running(process: Pid) -> bool {
    let path = Path::new("/proc").join(process.as_raw_nonzero().to_string());
    state_of(&path).is_some_and(|(state, _)| state != "Z")
}
