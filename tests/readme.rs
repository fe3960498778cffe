//! README.md is short, and where it shows what the crate's documentation shows, both show the same.

const README: &str = include_str!("../README.md");

/// The documentation of the crate, as rustdoc shows it.
fn documentation() -> String {
    let source = include_str!("../src/lib.rs");
    let mut text = String::new();
    let mut is_code = false;
    for line in source.lines().map_while(|line| line.strip_prefix("//!")) {
        let line = line.strip_prefix(' ').unwrap_or(line);
        is_code ^= line.starts_with("```");
        let is_hidden = is_code && (line == "#" || line.starts_with("# "));
        if !is_hidden {
            text += line;
            text.push('\n');
        }
    }
    text
}

/// The Rust of a page, block by block. In documentation, a fence without a language begins Rust too.
fn code(page: &str, fences: &[&str]) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            if fences.contains(&line) {
                blocks.push(block.join("\n"));
            }
        }
    }
    blocks
}

/// The tables of a page.
fn tables(page: &str) -> Vec<Vec<&str>> {
    let mut tables = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.starts_with('|') {
            let rest = lines.by_ref().take_while(|line| line.starts_with('|'));
            tables.push([line].into_iter().chain(rest).collect());
        }
    }
    tables
}

#[test]
fn it_is_short() {
    let lines = README.lines().count();
    assert!(lines <= 150, "README.md has {lines} lines");
}

#[test]
fn its_code_is_that_of_the_crates_documentation() {
    let shown = code(README, &["```rust"]);
    assert!(shown.len() > 1, "README.md shows how to begin");
    let documented = documentation();
    let documented = code(&documented, &["```", "```rust"]);
    for block in shown {
        assert!(
            documented.contains(&block),
            "README.md shows what src/lib.rs does not:\n{block}"
        );
    }
}

#[test]
fn its_tables_are_those_of_the_crates_documentation() {
    let documented = documentation();
    let documented = tables(&documented);
    for table in tables(README) {
        let same = documented.iter().find(|other| other[0] == table[0]);
        assert!(
            same.is_none_or(|same| without_links(same) == without_links(&table)),
            "this table differs from that in src/lib.rs:\n{}",
            table.join("\n")
        );
    }
}

/// The text of a table: both pages link its words, but not in the same way.
fn without_links(table: &[&str]) -> String {
    let target = regex::Regex::new(r"\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])?").unwrap();
    target.replace_all(&table.join("\n"), "$1").into_owned()
}

#[test]
fn hidden_lines_and_other_fences_are_left_out() {
    let page = "```\nlet a = 1;\n```\n| a |\n|---|\n\n```text\nb\n```\n```rust\nc\n```\n";
    assert_eq!(code(page, &["```", "```rust"]), ["let a = 1;", "c"]);
    assert_eq!(tables(page), [vec!["| a |", "|---|"]]);
    let linked = ["[`a`](b) [c][d] [e]"];
    assert_eq!(without_links(&linked), "`a` c e");
    assert!(!documentation().contains("\n# #["));
}
