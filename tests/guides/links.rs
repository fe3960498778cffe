//! The links of the guides, which lead somewhere wherever they are read.

use std::{env, fs, path::PathBuf};

use regex::Regex;

use crate::{
    items,
    pages::{
        DOCS, DOCS_OF_ADMIN, Link, Page, documented, guides, pages, pages_of_the_repository, root,
    },
};

/// What is wrong with a link, if anything is.
fn fault(page: &Page, link: &Link) -> Option<String> {
    let target = link.target.as_str();
    if let Some((package, item)) = documented(target) {
        return items::fault(package, item);
    }
    if let Some(anchor) = target.strip_prefix('#') {
        let exists = page.anchors().iter().any(|heading| heading == anchor);
        return (!exists).then(|| "there is no such heading".to_owned());
    }
    if target.starts_with("https://") {
        return None;
    }
    if target.contains("::") || target == "crate" {
        return Some("only rustdoc resolves this; link to docs.rs".to_owned());
    }
    // The README is shown by the repository and by crates.io, which resolves its links there. Without a
    // published version, docs.rs has nothing to show.
    if !link.is_picture && page.path.as_os_str() == "README.md" {
        let exists = root().join(target).is_file();
        return (!exists).then(|| "there is no such file".to_owned());
    }
    if !link.is_picture {
        return Some("a relative link leads nowhere on docs.rs; link to docs.rs".to_owned());
    }
    picture_fault(page, link)
}

/// A picture has a path in the repository, is part of the package, and in a guide has an address on
/// docs.rs as well.
fn picture_fault(page: &Page, link: &Link) -> Option<String> {
    let path = page.path.parent().unwrap().join(&link.target);
    if !root().join(&path).is_file() {
        return Some(format!("there is no file {}", path.display()));
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let include = Regex::new("(?m)^include = .*\"/docs\"").unwrap();
    if !path.starts_with("docs") || !include.is_match(&manifest) {
        return Some(format!("{} is not in the package", path.display()));
    }
    let is_guide = page.path.starts_with("docs");
    let on_docs_rs = format!("#[doc = picture!(\"{}\")]", link.label);
    if is_guide && !include_str!("../../src/guide.rs").contains(&on_docs_rs) {
        return Some(format!("src/guide.rs lacks `{on_docs_rs}`"));
    }
    let same_file = link.target == format!("images/{}", link.label);
    (is_guide && !same_file).then(|| "a picture is labelled with the name of its file".to_owned())
}

fn faults(page: &Page) -> Vec<String> {
    let links = page.links();
    let mut faults: Vec<String> = links
        .iter()
        .filter_map(|link| {
            let fault = fault(page, link)?;
            Some(format!("{}: {}: {fault}", page.at(link.line), link.target))
        })
        .collect();
    // A name in code within brackets, or a picture, that has no target.
    let reference = Regex::new(r"(?:\[(`[^`\[\]]+`)\]|!\[[^\[\]]*\]\[([^\[\]]+)\])").unwrap();
    for (line, text) in (1..).zip(&page.prose) {
        for found in reference.captures_iter(text) {
            let label = found.get(1).or(found.get(2)).unwrap().as_str();
            if !links.iter().any(|link| link.label == label) {
                faults.push(format!("{}: [{label}] has no target", page.at(line)));
            }
        }
    }
    faults
}

#[test]
fn every_link_resolves_on_docs_rs_and_in_the_repository() {
    for page in pages() {
        let faults = faults(&page);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

#[test]
fn every_link_of_a_page_of_the_repository_leads_somewhere() {
    for page in pages_of_the_repository() {
        for link in page.links() {
            let folder = root().join(page.path.parent().unwrap());
            let leads = match documented(&link.target) {
                Some((package, item)) => items::fault(package, item).is_none(),
                None if link.target.starts_with("https://") => true,
                None if link.target.starts_with('#') => {
                    page.anchors().contains(&link.target[1..].to_owned())
                }
                None => folder.join(&link.target).exists(),
            };
            assert!(leads, "{}: {}", page.at(link.line), link.target);
        }
    }
}

#[test]
fn links_that_lead_nowhere_are_found() {
    for text in [
        "[`rotate`](crate::ApiTokens::rotate)",
        "[the events](crate#what-it-logs)",
        "[the guide](embed.md)",
        "[the guide][embed]\n\n[embed]: embed.md",
        "[there](#nowhere)",
        "![a picture](images/tokens.png)",
        "![a picture](images/nothing.png)",
        "![a picture][nothing.png]\n\n[nothing.png]: images/nothing.png",
        "![a picture][tokens.png]",
        "[`rotate`] has no target",
        &format!("[`rotate`]({DOCS}struct.ApiTokens.html#method.rotated)"),
        &format!("[`rotate`]: {DOCS}trait.ApiTokens.html#method.rotate"),
        &format!("[`Admin`]({DOCS}struct.Admin.html)"),
        &format!("[a guide]({DOCS}guide/nothing/index.html)"),
    ] {
        let page = Page::parse("docs/page.md".into(), text);
        assert!(!faults(&page).is_empty(), "{text}");
    }
    let text = format!(
        "# A title\n\n[`Admin`] [here](#a-title) ![a picture][tokens.png]\n\n\
         [`Admin`]: {DOCS_OF_ADMIN}struct.Admin.html\n[tokens.png]: images/tokens.png"
    );
    let page = Page::parse("docs/page.md".into(), &text);
    assert_eq!(faults(&page), [""; 0]);
}

#[test]
fn every_guide_is_a_page_of_the_documentation() {
    for guide in guides() {
        let include = format!("#[doc = include_str!(\"../{}\")]", guide.path.display());
        let path = guide.path.display();
        assert!(
            include_str!("../../src/guide.rs").contains(&include),
            "{path}"
        );
    }
}

/// Where `cargo doc` writes.
fn documentation() -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    target.parent().unwrap().join("doc")
}

#[test]
#[ignore = "reads what `cargo doc --no-deps --all-features` has written"]
fn every_page_that_a_guide_links_is_in_the_documentation() {
    for page in pages() {
        for link in page.links() {
            let Some((package, item)) = documented(&link.target) else {
                continue;
            };
            let (file, anchor) = item.split_once('#').unwrap_or((item, ""));
            let html = fs::read_to_string(documentation().join(package.name).join(file));
            let html = html.unwrap_or_else(|error| panic!("{item}: {error}"));
            let is_there = anchor.is_empty() || html.contains(&format!("id=\"{anchor}\""));
            assert!(is_there, "{}: {item}", page.at(link.line));
        }
    }
}
