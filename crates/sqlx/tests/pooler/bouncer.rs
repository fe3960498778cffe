//! Runs a PgBouncer.

use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

pub(crate) struct Bouncer {
    process: Child,
    url: String,
    _directory: TempDir,
}

impl Bouncer {
    /// Starts it in transaction mode in front of the server at `TEST_POSTGRES_URL`, if both are available.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with("transaction", 5)
    }

    /// Starts it in this mode, with this many connections to the server.
    pub(crate) fn start_with(mode: &str, connections: u32) -> Option<Self> {
        let url = env::var("TEST_POSTGRES_URL").ok()?;
        let rest = url
            .strip_prefix("postgres://")
            .expect("the scheme is known");
        let (user, address) = rest.split_once('@').expect("the URL names a user");
        let (user, password) = user.split_once(':').expect("the URL has a password");
        let (address, database) = address.split_once('/').expect("the URL names a database");
        let (host, server_port) = address.split_once(':').expect("the URL names a port");
        let port = free_port();

        let directory = TempDir::new().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let users = directory.path().join("users.txt");
        fs::write(&users, format!("\"{user}\" \"{password}\"\n")).unwrap();
        let settings = directory.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n\
             {database} = host={host} port={server_port} user={user} password={password}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = trust\n\
             auth_file = {users}\n\
             pool_mode = {mode}\n\
             default_pool_size = {connections}\n\
             max_client_conn = 500\n",
            users = users.display(),
        );
        fs::write(&settings, text).unwrap();

        // PgBouncer does not run as root.
        let mut command = match rustix::process::geteuid().is_root() {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--", "pgbouncer"]);
                command
            }
            false => Command::new("pgbouncer"),
        };
        let command = command.arg(&settings).current_dir("/");
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = command.spawn().ok()?;
        loop {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            if process.try_wait().unwrap().is_some() {
                return None;
            }
            thread::sleep(Duration::from_millis(20));
        }
        Some(Self {
            process,
            url: format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}"),
            _directory: directory,
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        // `runuser` forwards the signal.
        let _ = Command::new("kill")
            .arg(self.process.id().to_string())
            .status();
        let _ = self.process.wait();
    }
}
