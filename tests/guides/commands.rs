//! The `cargo` commands of the pages, which work in a clone whether or not a package is published.

use std::{fs, path::Path};

use regex::Regex;

use crate::pages::{Page, pages, pages_of_the_repository, root};

/// The names in the manifests of the workspace: of packages, tests and benches.
fn names() -> Vec<String> {
    let mut folders = vec![
        root().to_owned(),
        root().join("benches"),
        root().join("benches/fleet"),
    ];
    for group in ["crates", "examples"] {
        let members = fs::read_dir(root().join(group)).unwrap();
        folders.extend(members.map(|member| member.unwrap().path()));
    }
    let name = Regex::new("(?m)^name = \"(.*)\"$").unwrap();
    let mut names = Vec::new();
    for folder in folders {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        names.extend(
            name.captures_iter(&manifest)
                .map(|found| found[1].to_owned()),
        );
        for entry in fs::read_dir(folder.join("tests")).into_iter().flatten() {
            let path = entry.unwrap().path();
            names.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
        }
    }
    names
}

/// What is wrong with a command, if anything is.
fn fault(command: &str, names: &[String]) -> Option<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let after = |option: &str| {
        let place = words.iter().position(|word| *word == option)?;
        words.get(place + 1).copied()
    };
    if words.get(1) == Some(&"install") {
        let Some(path) = after("--path") else {
            return Some("this works only once the package is published".to_owned());
        };
        let manifest = root().join(path).join("Cargo.toml");
        return (!manifest.is_file()).then(|| format!("there is no package in {path}"));
    }
    let manifest = after("--manifest-path").filter(|path| !root().join(Path::new(path)).is_file());
    if let Some(path) = manifest {
        return Some(format!("there is no {path}"));
    }
    let named = ["-p", "--test", "--bench"].into_iter().filter_map(after);
    let mut unknown = named.filter(|name| !names.iter().any(|known| known == name));
    unknown.next().map(|name| format!("there is no {name}"))
}

fn commands(page: &Page) -> impl Iterator<Item = (usize, String)> {
    let prose = Regex::new("`(cargo [^`]*)`").unwrap();
    let mut commands = Vec::new();
    for (line, text) in (1..).zip(&page.prose) {
        let found = prose.captures_iter(text);
        commands.extend(found.map(|found| (line, found[1].to_owned())));
    }
    for block in &page.blocks {
        let lines = block.lines.iter().map(|line| line.trim_start_matches("$ "));
        let lines = lines.filter(|line| line.starts_with("cargo "));
        commands.extend(lines.map(|line| (block.line, line.to_owned())));
    }
    commands.into_iter()
}

#[test]
fn every_cargo_command_works_in_a_clone() {
    let names = names();
    let mut count = 0;
    for page in pages().into_iter().chain(pages_of_the_repository()) {
        for (line, command) in commands(&page) {
            let fault = fault(&command, &names);
            assert_eq!(fault, None, "{}: {command}", page.at(line));
            count += 1;
        }
    }
    assert!(count > 10, "commands are found: {count}");
}

#[test]
fn commands_that_do_not_work_in_a_clone_are_found() {
    let names = names();
    for command in [
        "cargo install api-tokens",
        "cargo install --path crates/nothing",
        "cargo run -p nothing",
        "cargo bench --bench nothing",
        "cargo test --test nothing",
        "cargo run --release --manifest-path benches/nothing/Cargo.toml",
    ] {
        let page = format!("Run `{command}`:\n\n```sh\n{command}\n```\n");
        let page = Page::parse("page.md".into(), &page);
        let faults = commands(&page).filter_map(|(_, command)| fault(&command, &names));
        assert_eq!(faults.count(), 2, "{command}");
    }
    assert_eq!(fault("cargo install --path crates/cli", &names), None);
    assert_eq!(fault("cargo run -p quickstart", &names), None);
}
