//! The tests that the guides name as proof.

use std::path::Path;

use regex::Regex;

use crate::{
    items::{Sources, rust_files},
    pages::{Page, guides, root},
};

/// Whether a function of a file is a test: it has an attribute that says so, or a harness names it in
/// a list, here or in another file.
fn is_test(text: &str, name: &str, everywhere: &Sources) -> bool {
    if !text.contains(name) {
        return false;
    }
    let declared = Regex::new(&format!(r"\bfn {name}\b")).unwrap();
    let Some(found) = declared.find(text) else {
        return false;
    };
    let before = text[..found.start()].trim_end();
    let mut attributes = before
        .lines()
        .rev()
        .take(4)
        .take_while(|line| !line.trim().is_empty());
    let is_marked =
        attributes.any(|line| line.trim_start().starts_with("#[") && line.contains("test"));
    let listed = format!(
        r#"(?m)^\s*"?{name}"?,?$|push\(\("{name}",|(?:tests!|case!)[\[(][^\])]*\b{name}\b"#
    );
    let listed = Regex::new(&listed).unwrap();
    is_marked || everywhere.iter().any(|(_, text)| listed.is_match(text))
}

/// The names of tests, each with the file that it stands in if that is named too.
fn named(page: &Page) -> Vec<(usize, Option<String>, String)> {
    let with_file =
        Regex::new(r"`((?:(?:crates|examples)/[\w-]+/)?(?:tests|src|benches)/[\w/.-]+)::(\w+)`")
            .unwrap();
    // In brackets, a name of at least four words is that of a test.
    let bracketed = Regex::new(r"\(((?:`[a-z0-9_]+`(?:, )?)+)").unwrap();
    let alone = Regex::new(r"`([a-z0-9]+(?:_[a-z0-9]+){3,})`").unwrap();
    let mut names = Vec::new();
    for (line, text) in (1..).zip(&page.prose) {
        for found in with_file.captures_iter(text) {
            names.push((line, Some(found[1].to_owned()), found[2].to_owned()));
        }
        for group in bracketed.captures_iter(text) {
            for found in alone.captures_iter(&group[1]) {
                names.push((line, None, found[1].to_owned()));
            }
        }
    }
    names
}

fn faults(page: &Page, everywhere: &Sources) -> Vec<String> {
    let mut faults = Vec::new();
    for (line, file, name) in named(page) {
        let is_there = |path: &Path| file.as_ref().is_none_or(|file| path == root().join(file));
        let mut files = everywhere.iter().filter(|(path, _)| is_there(path));
        if !files.any(|(_, text)| is_test(text, &name, everywhere)) {
            let file = file.unwrap_or_else(|| "any file".to_owned());
            faults.push(format!("{}: no test {name} in {file}", page.at(line)));
        }
    }
    faults
}

/// The files of the tests, of the packages and of the examples, which hold unit tests and the conformance suite. What
/// this file says does not count.
fn everywhere() -> Sources {
    let mut files = rust_files(&root().join("tests"));
    files.extend(rust_files(&root().join("src")));
    files.extend(rust_files(&root().join("crates")));
    files.extend(rust_files(&root().join("examples")));
    files.retain(|(path, _)| !path.ends_with(file!()));
    files
}

#[test]
fn every_test_that_a_guide_names_exists() {
    let everywhere = everywhere();
    for page in guides() {
        let faults = faults(&page, &everywhere);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

#[test]
fn every_threat_has_a_test() {
    let pages = guides();
    let model = pages
        .iter()
        .find(|page| page.path.ends_with("threat-model.md"));
    let model = model.unwrap();
    let rows = (1..)
        .zip(&model.prose)
        .filter(|(_, text)| text.starts_with("| ") && !text.starts_with("| threat |"));
    let mut count = 0;
    for (line, text) in rows {
        let proof = text.rsplit(" | ").next().unwrap();
        let names_one = proof.contains(".rs::") || proof.contains("`cargo bench --bench timing`");
        assert!(names_one, "{}: no test is named", model.at(line));
        count += 1;
    }
    assert!(count > 40, "the table is read: {count}");
}

#[test]
fn a_name_of_no_test_is_found() {
    let everywhere = everywhere();
    for text in [
        "so it is (`nothing_of_this_is_true`)",
        "| threat | answer | `tests/guides/links.rs::a_name_that_is_not_there` |",
        "| threat | answer | `tests/guides/links.rs::picture_faults` |",
        "| threat | answer | `tests/guides/links.rs::code_is_shown_as_it_is_compiled` |",
        "| threat | answer | `tests/guides/pages.rs::anchor` |",
        "| threat | answer | `tests/nowhere.rs::code_is_shown_as_it_is_compiled` |",
    ] {
        let page = Page::parse("page.md".into(), text);
        assert_eq!(faults(&page, &everywhere).len(), 1, "{text}");
    }
    let text =
        "`tests/guides/code.rs::code_is_shown_as_it_is_compiled` (`thousands_have_separators`)";
    let page = Page::parse("page.md".into(), text);
    assert_eq!(faults(&page, &everywhere), [""; 0]);
}
