//! Runs the commands of the guide in order, and compares their output with what the guide shows.

use std::{env, fs, path::Path, process::Command};

use regex::Regex;

use crate::{server::Server, support::Cli};

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/command-line.md");

/// A shell that keeps exported variables, and maps identifiers of the guide to those of this run.
struct Shell {
    cli: Cli,
    exports: String,
    identifiers: Vec<(String, String)>,
    /// The server at `SERVER`, from the first command that uses it.
    server: Option<Server>,
}

/// The address at which `serve` listens in the guide.
const SERVER: &str = "127.0.0.1:8080";

impl Shell {
    fn run(&mut self, command: &str) -> String {
        if command.starts_with("export ") {
            self.exports += &format!("{command}\n");
            return String::new();
        }
        let mut command = self.with_actual_identifiers(command);
        if command.contains(&format!("--server http://{SERVER}")) {
            let server = self
                .server
                .get_or_insert_with(|| Server::start(&self.cli, &[]));
            command = command.replace(SERVER, &server.address);
        }
        let program = Path::new(env!("CARGO_BIN_EXE_api-tokens"))
            .parent()
            .unwrap();
        let output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{}{command}", self.exports)])
            .current_dir(self.cli.directory.path())
            .env_clear()
            .env("USER", "ada")
            .env(
                "PATH",
                format!("{}:{}", program.display(), env::var("PATH").unwrap()),
            )
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn with_actual_identifiers(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (shown, actual) in &self.identifiers {
            line = line.replace(shown, actual);
        }
        line
    }

    /// Maps the identifiers in the shown output to those in the actual output.
    fn learn(&mut self, shown: &str, actual: &str) {
        let identifier = identifier();
        let pairs = identifier
            .find_iter(shown)
            .zip(identifier.find_iter(actual));
        for (shown, actual) in pairs {
            self.identifiers
                .push((shown.as_str().to_owned(), actual.as_str().to_owned()));
        }
    }
}

fn identifier() -> Regex {
    Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").unwrap()
}

/// Replaces what differs from run to run.
fn normalized(text: &str) -> String {
    let text = identifier().replace_all(text, "(identifier)");
    let time = Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z").unwrap();
    let text = time.replace_all(&text, "(time)");
    let version = Regex::new(r"\b[0-9a-f]{32}\b").unwrap();
    let text = version.replace_all(&text, "(version)");
    let mask = Regex::new("acme_live_…[0-9A-Za-z]{4}").unwrap();
    mask.replace_all(&text, "(mask)").into_owned()
}

/// Returns the guide with the actual output of its commands.
fn run(guide: &str) -> String {
    let mut shell = Shell {
        cli: Cli::new(),
        exports: String::new(),
        identifiers: Vec::new(),
        server: None,
    };
    let mut actual = String::new();
    let mut lines = guide.lines().peekable();
    let mut in_console = false;
    while let Some(line) = lines.next() {
        actual += &format!("{}\n", shell.with_actual_identifiers(line));
        if line.starts_with("```") {
            in_console = line == "```console";
        } else if in_console && let Some(command) = line.strip_prefix("$ ") {
            let mut shown = String::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("$ ") && *line != "```") {
                shown += &format!("{line}\n");
            }
            let printed = shell.run(command);
            shell.learn(&shown, &printed);
            actual += &printed;
        }
    }
    actual
}

#[test]
fn the_guide_shows_the_actual_output_of_its_commands() {
    let guide = fs::read_to_string(GUIDE).unwrap();
    let actual = run(&guide);
    if env::var_os("UPDATE_GUIDE").is_some() {
        fs::write(GUIDE, actual).unwrap();
        return;
    }
    let (shown, actual) = (normalized(&guide), normalized(&actual));
    for (shown, actual) in shown.lines().zip(actual.lines()) {
        assert_eq!(
            shown, actual,
            "run `UPDATE_GUIDE=1 cargo test --test cli guide`, and review the changes"
        );
    }
    assert_eq!(shown.lines().count(), actual.lines().count());
}

#[test]
fn the_guide_shows_no_complete_token() {
    let guide = fs::read_to_string(GUIDE).unwrap();
    let token = Regex::new("acme_live_[0-9A-Za-z]{38}").unwrap();
    assert!(!token.is_match(&guide));
}
