//! Runs the command line as a separate process.

use std::{
    env,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// A temporary directory with a database.
pub(crate) struct Cli {
    pub(crate) directory: TempDir,
    pub(crate) store: String,
    /// The PostgreSQL schema that holds the tables.
    pub(crate) schema: String,
    /// The URL of the server that commands use instead of the store.
    pub(crate) server: Option<String>,
}

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Cli {
    /// Creates the directory, without a database.
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let store = format!("sqlite://{}", directory.path().join("tokens.db").display());
        Self::on(directory, store, "")
    }

    pub(crate) fn on(directory: TempDir, store: String, schema: &str) -> Self {
        Self {
            directory,
            store,
            schema: schema.to_owned(),
            server: None,
        }
    }

    /// Creates a database with one app, `Billing`.
    pub(crate) fn with_app() -> Self {
        let cli = Self::new();
        cli.run(&["app", "create", "Billing", "--id", "billing"])
            .done();
        cli
    }

    /// Prepares a command in a clean environment, on the store or through the server.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.on_store(arguments);
        if let Some(url) = &self.server {
            command
                .env_remove("API_TOKENS_STORE")
                .env_remove("API_TOKENS_SCHEMA")
                .env_remove("API_TOKENS_PREFIX")
                .env("API_TOKENS_SERVER", url)
                .env("API_TOKENS_TOKEN_FILE", "api-tokens-admin-token");
        }
        command
    }

    /// Prepares a command in a clean environment, on the store.
    pub(crate) fn on_store(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_api-tokens"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .env("API_TOKENS_STORE", &self.store)
            .env("API_TOKENS_SCHEMA", &self.schema)
            .env("API_TOKENS_PREFIX", "acme_live")
            .env("USER", "ada")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Prepares a shell command that finds `api-tokens` in its path.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_api-tokens"));
        let path = env::var("PATH").unwrap();
        let like = self.command(&[]);
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .current_dir(self.directory.path())
            .env_clear()
            .envs(
                like.get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env(
                "PATH",
                format!("{}:{path}", program.parent().unwrap().display()),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.command(arguments).output().unwrap().into()
    }

    /// Runs a command with this standard input.
    pub(crate) fn pipe(&self, arguments: &[&str], input: &str) -> Run {
        Self::feed(&mut self.command(arguments), input)
    }

    pub(crate) fn feed(command: &mut Command, input: &str) -> Run {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        // A command that rejects its arguments does not read its input.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap().into()
    }

    /// Issues a token for Billing, and returns its text and its identifier.
    pub(crate) fn issue(&self, name: &str, more: &[&str]) -> (String, String) {
        let arguments = [
            &["token", "issue", "--app", "billing", "--name", name],
            more,
        ]
        .concat();
        let run = self.run(&[&arguments[..], &["--json"]].concat());
        let issued = run.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&issued["token"]), text(&issued["record"]["id"]))
    }

    pub(crate) fn verify(&self, token: &str) -> Run {
        Self::feed(&mut self.on_store(&["verify"]), token)
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Run {
    /// Asserts success, and returns the output.
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Asserts failure with this exit code and no output, and returns the message.
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        assert!(self.err.starts_with("error: "), "{self:?}");
        self.err
    }

    /// Asserts success, and parses the output as one JSON object.
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.done()).unwrap()
    }

    /// Asserts success, and parses the output as JSON Lines.
    pub(crate) fn json_lines(self) -> Vec<Value> {
        let out = self.done();
        out.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}
