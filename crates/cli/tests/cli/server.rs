//! `api-tokens serve` as a separate process, and commands that use it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    ops::Deref,
    path::PathBuf,
    process::{Child, ChildStdout, Command},
    sync::mpsc::{self, Receiver},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::time::Instant;

use crate::support::Cli;

/// The file with the first administrator's token.
pub(crate) const TOKEN_FILE: &str = "api-tokens-admin-token";

/// A running server.
pub(crate) struct Server {
    pub(crate) process: Child,
    pub(crate) address: String,
    directory: PathBuf,
    /// Where it listens, as it says.
    pub(crate) listening: Vec<String>,
    /// What it logged before it listened.
    pub(crate) startup: String,
    printed: ChildStdout,
    /// What it logs afterwards.
    pub(crate) log: Option<JoinHandle<String>>,
    logged: Receiver<String>,
}

impl Server {
    pub(crate) fn start(cli: &Cli, more: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], more].concat();
        Self::run(cli, cli.command(&arguments))
    }

    pub(crate) fn run(cli: &Cli, command: Command) -> Self {
        Self::listen(cli, command, 1)
    }

    /// Starts a server with these options, which name a number of listeners.
    pub(crate) fn start_on(cli: &Cli, options: &[&str], listeners: usize) -> Self {
        let arguments = [&["serve"], options].concat();
        Self::listen(cli, cli.on_store(&arguments), listeners)
    }

    fn listen(cli: &Cli, mut command: Command, listeners: usize) -> Self {
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut startup = String::new();
        let mut listening = Vec::new();
        while listening.len() < listeners {
            let Some(line) = lines.next() else {
                panic!("it does not listen: {startup}");
            };
            let line = line.unwrap();
            startup += &format!("{line}\n");
            // The message itself, or an event of a log.
            let said = line.split_once("Listening on ");
            listening.extend(said.and_then(|(_, url)| url.split('"').next().map(str::to_owned)));
        }
        let first = listening[0].split_once("://");
        let address = first.map_or("", |(_, address)| address).to_owned();
        let (sender, logged) = mpsc::channel();
        let log = thread::spawn(move || {
            let mut log = String::new();
            for line in lines {
                let line = line.unwrap() + "\n";
                log += &line;
                // The test may not be interested.
                let _ = sender.send(line);
            }
            log
        });
        Self {
            address,
            listening,
            directory: cli.directory.path().to_owned(),
            startup,
            printed: process.stdout.take().unwrap(),
            log: Some(log),
            logged,
            process,
        }
    }

    /// Waits until it logs a line with this text, and returns the line.
    pub(crate) fn logs(&self, text: &str) -> String {
        let next = || self.logged.recv_timeout(Duration::from_secs(60));
        let mut lines = std::iter::from_fn(|| Some(next().expect("it logs the text")));
        lines.find(|line| line.contains(text)).unwrap()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let killed = Command::new("kill").args([signal, &pid]).status();
        assert!(killed.unwrap().success());
    }

    /// Returns the first administrator's token.
    pub(crate) fn first_token(&self) -> String {
        let token = fs::read_to_string(self.directory.join(TOKEN_FILE)).unwrap();
        token.trim().to_owned()
    }

    /// Sends a GET request, and returns the status and the whole response.
    pub(crate) fn get(&self, path: &str, fields: &str) -> (u16, String) {
        self.send("GET", path, fields)
    }

    pub(crate) fn send(&self, method: &str, path: &str, fields: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        (answer[9..12].parse().unwrap(), answer.to_lowercase())
    }

    pub(crate) fn get_as(&self, path: &str, token: &str) -> (u16, String) {
        self.get(path, &format!("Authorization: Bearer {token}\r\n"))
    }

    /// Stops it with a signal, asserts a clean exit, and returns what else it printed.
    pub(crate) fn stop(self, signal: &str) -> String {
        self.signal(signal);
        self.ends()
    }

    /// Waits until it stops, asserts a clean exit, and returns what else it printed.
    pub(crate) fn ends(mut self) -> String {
        let mut rest = String::new();
        self.printed.read_to_string(&mut rest).unwrap();
        assert!(self.process.wait().unwrap().success());
        rest
    }
}

/// Waits until a condition holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Commands that use a server on the same store.
pub(crate) struct Remote {
    cli: Cli,
    /// Stops with the test.
    _server: Server,
}

impl Remote {
    pub(crate) fn on(cli: Cli) -> Self {
        Self::start(cli, &[])
    }

    /// Starts a server with more arguments.
    pub(crate) fn start(mut cli: Cli, more: &[&str]) -> Self {
        let server = Server::start(&cli, more);
        cli.server = Some(format!("http://{}", server.address));
        Self {
            cli,
            _server: server,
        }
    }

    /// Starts a server on a store with one app, `Billing`.
    pub(crate) fn with_app() -> Self {
        Self::on(Cli::with_app())
    }
}

impl Deref for Remote {
    type Target = Cli;

    fn deref(&self) -> &Cli {
        &self.cli
    }
}

/// Runs each test on a store with one app, `Billing`, and again through a server.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod on_a_store {
            $(#[test]
            fn $test() {
                super::$test(&crate::support::Cli::with_app());
            })*
        }

        mod through_a_server {
            $(#[test]
            fn $test() {
                super::$test(&crate::server::Remote::with_app());
            })*
        }
    };
}

pub(crate) use on_both;
