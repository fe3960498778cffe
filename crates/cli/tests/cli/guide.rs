//! The guide's commands, run from its beginning to its end, print what the guide shows.

use std::{env, fs, path::Path, process::Command};

use regex::Regex;

use crate::support::Cli;

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/command-line.md");

/// A shell that remembers what was exported, and which of its identifiers stand for the guide's.
struct Shell {
    cli: Cli,
    exports: String,
    identifiers: Vec<(String, String)>,
}

impl Shell {
    fn run(&mut self, command: &str) -> String {
        if command.starts_with("export ") {
            self.exports += &format!("{command}\n");
            return String::new();
        }
        let command = self.with_own_identifiers(command);
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

    fn with_own_identifiers(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (shown, own) in &self.identifiers {
            line = line.replace(shown, own);
        }
        line
    }

    /// Learns which identifiers stand for which.
    fn learn(&mut self, shown: &str, own: &str) {
        let identifier = identifier();
        let pairs = identifier.find_iter(shown).zip(identifier.find_iter(own));
        for (shown, own) in pairs {
            self.identifiers
                .push((shown.as_str().to_owned(), own.as_str().to_owned()));
        }
    }
}

fn identifier() -> Regex {
    Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").unwrap()
}

/// The text without what is another in each run.
fn same_in_each_run(text: &str) -> String {
    let text = identifier().replace_all(text, "(identifier)");
    let time = Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z").unwrap();
    let text = time.replace_all(&text, "(time)");
    let mask = Regex::new("acme_live_…[0-9A-Za-z]{4}").unwrap();
    mask.replace_all(&text, "(mask)").into_owned()
}

/// The guide with the output that its commands have here.
fn run(guide: &str) -> String {
    let mut shell = Shell {
        cli: Cli::new(),
        exports: String::new(),
        identifiers: Vec::new(),
    };
    let mut own = String::new();
    let mut lines = guide.lines().peekable();
    let mut in_console = false;
    while let Some(line) = lines.next() {
        own += &format!("{}\n", shell.with_own_identifiers(line));
        if line.starts_with("```") {
            in_console = line == "```console";
        } else if in_console && let Some(command) = line.strip_prefix("$ ") {
            let mut shown = String::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("$ ") && *line != "```") {
                shown += &format!("{line}\n");
            }
            let printed = shell.run(command);
            shell.learn(&shown, &printed);
            own += &printed;
        }
    }
    own
}

#[test]
fn the_commands_of_the_guide_print_what_it_shows() {
    let guide = fs::read_to_string(GUIDE).unwrap();
    let own = run(&guide);
    if env::var_os("UPDATE_GUIDE").is_some() {
        fs::write(GUIDE, own).unwrap();
        return;
    }
    let (shown, own) = (same_in_each_run(&guide), same_in_each_run(&own));
    for (shown, own) in shown.lines().zip(own.lines()) {
        assert_eq!(
            shown, own,
            "run `UPDATE_GUIDE=1 cargo test --test cli guide`, and read what it has changed"
        );
    }
    assert_eq!(shown.lines().count(), own.lines().count());
}

#[test]
fn nothing_that_the_guide_shows_is_a_whole_token() {
    let guide = fs::read_to_string(GUIDE).unwrap();
    let token = Regex::new("acme_live_[0-9A-Za-z]{38}").unwrap();
    assert!(!token.is_match(&guide));
}
