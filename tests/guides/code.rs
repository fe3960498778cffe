//! The code blocks of the guides.

use std::path::Path;

use crate::pages::{Block, Page, pages};

/// What a code block may hold. Rust is compiled as it is shown, by rustdoc.
const LANGUAGES: [&str; 16] = [
    "caddyfile",
    "console",
    "go",
    "haproxy",
    "java",
    "javascript",
    "json",
    "lua",
    "nginx",
    "python",
    "rust",
    "sh",
    "sql",
    "text",
    "toml",
    "yaml",
];

/// What is wrong with a block where Markdown is shown as it is written.
fn faults(block: &Block) -> Vec<String> {
    let language = block.info.split(',').next().unwrap_or_default();
    let mut faults = Vec::new();
    if !LANGUAGES.contains(&language) {
        faults.push(format!("a code block of the language {language:?}"));
    }
    if language == "rust" || language.is_empty() {
        let hidden = |line: &&String| {
            let line = line.trim_start();
            line == "#" || line.starts_with("# ") || line.starts_with("##")
        };
        let lines = block.lines.iter().filter(hidden);
        faults.extend(lines.map(|line| format!("a line for rustdoc alone: {line}")));
    }
    faults
}

#[test]
fn code_is_shown_as_it_is_compiled() {
    for page in pages() {
        for block in &page.blocks {
            let faults = faults(block);
            assert!(faults.is_empty(), "{}: {faults:?}", page.at(block.line));
        }
    }
}

#[test]
fn hidden_lines_and_unnamed_languages_are_found() {
    for text in [
        "```rust\n# use a;\n```\n",
        "```rust,no_run\nlet a = 1;\n#\n```\n",
        "- ```rust\n  # hidden\n  ```\n".trim_start_matches("- "),
        "```no_run\nlet a = 1;\n```\n",
        "```\nlet a = 1;\n```\n",
    ] {
        let page = Page::parse("page.md".into(), text);
        assert!(!faults(&page.blocks[0]).is_empty(), "{text}");
    }
    let clean = "```rust\n#[test]\nfn a() {}\n```\n```sh\n# a comment\n```\n";
    let page = Page::parse("page.md".into(), clean);
    assert!(page.blocks.iter().all(|block| faults(block).is_empty()));
}

#[test]
fn what_is_tested_here_is_what_the_guides_show() {
    for (guide, shown) in [
        (
            "docs/custom-store.md",
            include_str!("shown/custom_query.rs"),
        ),
        (
            "docs/custom-store.md",
            include_str!("shown/custom_registry.rs"),
        ),
        ("docs/embed.md", include_str!("shown/embed.rs")),
        ("docs/embed.md", include_str!("shown/formats.rs")),
        ("docs/embed.md", include_str!("shown/handlers.rs")),
        ("docs/embed.md", include_str!("shown/plan.rs")),
        ("docs/embed.md", include_str!("shown/tonic.rs")),
        ("docs/manage.md", include_str!("shown/customers.rs")),
        ("docs/measure.md", include_str!("shown/measure.rs")),
        ("docs/rotation.md", include_str!("shown/rotation.rs")),
    ] {
        let page = pages()
            .into_iter()
            .find(|page| page.path == Path::new(guide))
            .unwrap();
        let shows = |block: &Block| block.info == "rust" && block.lines.iter().eq(shown.lines());
        assert!(
            page.blocks.iter().any(shows),
            "{guide} does not show the code of its file in tests/guides/shown"
        );
    }
}
