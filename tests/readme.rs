//! README.md is the crate's documentation, as GitHub and crates.io show it.

use std::fs;

const DOCS: &str = "https://docs.rs/tower-api-tokens/latest/tower_api_tokens/";

#[test]
fn the_readme_is_made_from_the_crates_documentation() {
    let readme = format!("# tower-api-tokens\n\n{}", documentation());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(path, &readme).unwrap();
    }
    assert!(
        fs::read_to_string(path).is_ok_and(|present| present == readme),
        "README.md differs from src/lib.rs: run `UPDATE_README=1 cargo test --test readme`"
    );
}

/// The crate's documentation, without what only rustdoc understands.
fn documentation() -> String {
    let source = include_str!("../src/lib.rs");
    let mut text = String::new();
    let mut in_code = false;
    for line in source.lines().map_while(|line| line.strip_prefix("//!")) {
        let line = line.strip_prefix(' ').unwrap_or(line);
        let line = only_here(line).unwrap_or(line);
        if line.starts_with("```") {
            in_code = !in_code;
            text += if line == "```" && in_code {
                "```rust"
            } else {
                line
            };
        } else if in_code && (line == "#" || line.starts_with("# ")) {
            continue;
        } else if line.starts_with('#') && !in_code {
            text += &format!("#{line}");
        } else if in_code {
            text += line;
        } else {
            text += &linked(line);
        }
        text.push('\n');
    }
    text
}

/// What rustdoc has no path to, such as a picture, stands in a comment there.
fn only_here(line: &str) -> Option<&str> {
    line.strip_prefix("<!-- README: ")?.strip_suffix(" -->")
}

/// Links to items and guides lead to docs.rs, which is the same from a repository and from the page of
/// the package.
fn linked(line: &str) -> String {
    let mut line = line.replace("(guide/", &format!("({DOCS}guide/"));
    for (item, page) in [
        ("AppPrincipal", "struct.AppPrincipal.html"),
        ("MemoryStore", "struct.MemoryStore.html"),
        ("TokenRegistry", "trait.TokenRegistry.html"),
        ("ApiTokens::issue", "struct.ApiTokens.html#method.issue"),
        ("ApiTokens::rotate", "struct.ApiTokens.html#method.rotate"),
        (
            "ApiTokenLayer::grpc",
            "struct.ApiTokenLayer.html#method.grpc",
        ),
        (
            "ApiTokenLayer::authenticate_head",
            "struct.ApiTokenLayer.html#method.authenticate_head",
        ),
    ] {
        line = line.replace(&format!("[`{item}`]"), &format!("[`{item}`]({DOCS}{page})"));
    }
    line.replace(
        "(AuthenticatorBuilder::max_staleness)",
        &format!("({DOCS}struct.AuthenticatorBuilder.html#method.max_staleness)"),
    )
}
