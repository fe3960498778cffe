//! The Markdown that people read in the repository, on docs.rs and on the package's page.

use std::{
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

/// Where docs.rs shows the latest version of the library.
pub(crate) const DOCS: &str = "https://docs.rs/tower-api-tokens/latest/tower_api_tokens/";
pub(crate) const DOCS_OF_ADMIN: &str =
    "https://docs.rs/tower-api-tokens-admin/latest/tower_api_tokens_admin/";
pub(crate) const DOCS_OF_SQLX: &str =
    "https://docs.rs/tower-api-tokens-sqlx/latest/tower_api_tokens_sqlx/";

/// What docs.rs has of a package.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Documented {
    /// The name of its library.
    pub(crate) name: &'static str,
    /// Where its sources are.
    pub(crate) sources: &'static str,
}

/// The package that an address on docs.rs leads to, and the rest of the address.
pub(crate) fn documented(address: &str) -> Option<(Documented, &str)> {
    let packages = [
        (DOCS, "tower_api_tokens", "src"),
        (DOCS_OF_ADMIN, "tower_api_tokens_admin", "crates/admin/src"),
        (DOCS_OF_SQLX, "tower_api_tokens_sqlx", "crates/sqlx/src"),
    ];
    packages.into_iter().find_map(|(docs, name, sources)| {
        let rest = address.strip_prefix(docs)?;
        Some((Documented { name, sources }, rest))
    })
}

#[derive(Debug)]
pub(crate) struct Page {
    /// The path in the repository.
    pub(crate) path: PathBuf,
    /// The text outside of code blocks, line by line; lines of code blocks are empty.
    pub(crate) prose: Vec<String>,
    pub(crate) blocks: Vec<Block>,
}

#[derive(Debug, Default)]
pub(crate) struct Block {
    /// The line of its fence.
    pub(crate) line: usize,
    /// What stands behind the fence, such as `rust,no_run`.
    pub(crate) info: String,
    pub(crate) lines: Vec<String>,
}

/// A link or a picture.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) line: usize,
    pub(crate) label: String,
    pub(crate) target: String,
    pub(crate) is_picture: bool,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The guides, which are pages of the crate's documentation too.
pub(crate) fn guides() -> Vec<Page> {
    let mut guides: Vec<Page> = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| Path::new("docs").join(entry.unwrap().file_name()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(Page::read)
        .collect();
    guides.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(guides.len() > 5, "there are guides");
    guides
}

/// The guides and the packages' pages.
pub(crate) fn pages() -> Vec<Page> {
    let mut pages = guides();
    let readmes = [
        "README.md",
        "crates/admin/README.md",
        "crates/cli/README.md",
        "crates/sqlx/README.md",
    ];
    pages.extend(readmes.map(|readme| Page::read(readme.into())));
    pages
}

/// What is read in the repository alone.
pub(crate) fn pages_of_the_repository() -> Vec<Page> {
    let files = [
        "benches/README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ];
    files.map(|file| Page::read(file.into())).into()
}

impl Page {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        Self::parse(path, &text)
    }

    pub(crate) fn parse(path: PathBuf, text: &str) -> Self {
        let (mut prose, mut blocks) = (Vec::new(), Vec::<Block>::new());
        let mut inside = false;
        for (number, line) in (1..).zip(text.lines()) {
            let fence = line.trim_start().strip_prefix("```");
            match (fence, inside) {
                (Some(info), false) => blocks.push(Block {
                    line: number,
                    info: info.to_owned(),
                    lines: Vec::new(),
                }),
                (None, true) => blocks.last_mut().unwrap().lines.push(line.to_owned()),
                _ => {}
            }
            let is_code = inside || fence.is_some();
            prose.push(if is_code {
                String::new()
            } else {
                line.to_owned()
            });
            inside ^= fence.is_some();
        }
        assert!(!inside, "{}: a code block has no end", path.display());
        Self {
            path,
            prose,
            blocks,
        }
    }

    /// Where a line is, for messages.
    pub(crate) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    /// Every link with its target, and every definition of one as a link to itself.
    pub(crate) fn links(&self) -> Vec<Link> {
        let inline = Regex::new(r"(!?)\[([^\[\]]*)\]\(([^()\s]*)\)").unwrap();
        let definition = Regex::new(r"^\[([^\[\]]+)\]: *(\S+)$").unwrap();
        let mut links = Vec::new();
        for (line, text) in (1..).zip(&self.prose) {
            for found in inline.captures_iter(text) {
                links.push(Link {
                    line,
                    label: found[2].to_owned(),
                    target: found[3].to_owned(),
                    is_picture: !found[1].is_empty(),
                });
            }
            if let Some(found) = definition.captures(text) {
                links.push(Link {
                    line,
                    label: found[1].to_owned(),
                    target: found[2].to_owned(),
                    is_picture: self.shows(&found[1]),
                });
            }
        }
        links
    }

    /// Whether a picture has this label.
    fn shows(&self, label: &str) -> bool {
        let picture = Regex::new(r"!\[[^\[\]]*\]\[([^\[\]]+)\]").unwrap();
        let mut pictures = self
            .prose
            .iter()
            .flat_map(|line| picture.captures_iter(line));
        pictures.any(|found| &found[1] == label)
    }

    /// The headings, as a link within the page names them.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let headings = self.prose.iter().filter(|line| line.starts_with('#'));
        headings.map(|line| anchor(line)).collect()
    }
}

/// What a heading is called in a link.
pub(crate) fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches(['#', ' ']).to_lowercase();
    let letters = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    letters.collect::<String>().replace(' ', "-")
}
