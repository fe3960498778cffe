//! Whether a page of docs.rs will exist, judged by the sources. The pages themselves are looked at
//! once they are made, by a test that is ignored where they are not.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex::Regex;

use crate::pages::{Documented, anchor, root};

/// Files with their texts.
pub(crate) type Sources = Vec<(PathBuf, String)>;

/// What is wrong with the address of an item below that of its package, if anything is.
pub(crate) fn fault(package: Documented, address: &str) -> Option<String> {
    let (page, fragment) = address.split_once('#').unwrap_or((address, ""));
    let (module, file) = page.rsplit_once('/').unwrap_or(("", page));
    let Some(source) = source_of(package, module) else {
        return Some(format!("there is no module {module:?}"));
    };
    if file == "index.html" {
        return heading_fault(&source, fragment);
    }
    let mut parts = file.split('.');
    let (Some(kind), Some(name), Some("html"), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Some("this is no page of rustdoc".to_owned());
    };
    let keyword = match kind {
        "struct" | "enum" | "trait" | "fn" => format!(r"pub (?:async )?{kind} {name}\b"),
        "macro" => format!(r"macro_rules! {name}\b"),
        _ => return Some(format!("unknown kind of item {kind:?}")),
    };
    let keyword = Regex::new(&keyword).unwrap();
    if !with(package, name).any(|text| keyword.is_match(text)) {
        return Some(format!("there is no {kind} {name}"));
    }
    // A macro is at the root wherever it is written.
    let word = Regex::new(&format!(r"\b{name}\b")).unwrap();
    let mut code = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    if kind != "macro" && !code.any(|line| word.is_match(line)) {
        return Some(format!("the module {module:?} does not export {name}"));
    }
    if !has_page(&source, name) {
        return Some(format!(
            "the page of {name} is in its own module; use `#[doc(inline)]`"
        ));
    }
    member_fault(package, name, fragment)
}

/// Whether an item has a page in a module: not if it is re-exported from a public module, unless that
/// is asked for.
fn has_page(source: &str, name: &str) -> bool {
    let exports = r"(?m)^((?:#\[.*\]\n)*)pub use (\w+)(?:::\w+)*::(?:\{([^}]*)\}|(\w+));";
    let exports = Regex::new(exports).unwrap();
    let mut exports = exports.captures_iter(source);
    let export = exports.find(|export| {
        let names = export.get(3).or(export.get(4)).unwrap().as_str();
        names.split(',').any(|exported| exported.trim() == name)
    });
    let Some(export) = export else {
        return true;
    };
    let is_public = source.contains(&format!("pub mod {};", &export[2]));
    !is_public || export[1].contains("#[doc(inline)]")
}

/// Whether the documentation of a module has a heading.
fn heading_fault(source: &str, fragment: &str) -> Option<String> {
    let headings = source.lines().filter_map(|line| line.strip_prefix("//! #"));
    let exists = fragment.is_empty() || headings.map(anchor).any(|heading| heading == fragment);
    (!exists).then(|| format!("there is no heading {fragment:?}"))
}

/// Whether an item has a method or field.
fn member_fault(package: Documented, item: &str, fragment: &str) -> Option<String> {
    let member = match fragment.split_once('.') {
        Some(("method" | "tymethod", name)) => format!(r"\bfn {name}\b"),
        Some(("structfield", name)) => format!(r"\bpub {name}:"),
        None if fragment.is_empty() => return None,
        _ => return Some(format!("unknown kind of member {fragment:?}")),
    };
    let of_item = format!(r"\b(?:impl(?:<.*>)?|trait|struct) {item}\b");
    let (of_item, member) = (Regex::new(&of_item).unwrap(), Regex::new(&member).unwrap());
    let found = with(package, item).any(|text| of_item.is_match(text) && member.is_match(text));
    (!found).then(|| format!("{item} has no {fragment}"))
}

/// The source of a module, such as `testing/conformance`.
fn source_of(package: Documented, module: &str) -> Option<String> {
    let source = root().join(package.sources);
    let path = match module {
        "" => source.join("lib.rs"),
        _ if source.join(module).is_dir() => source.join(module).join("mod.rs"),
        _ => source.join(format!("{module}.rs")),
    };
    if let Ok(text) = fs::read_to_string(path) {
        return Some(text);
    }
    // A module in the file of the one around it.
    let (outer, inner) = module.rsplit_once('/')?;
    let text = source_of(package, outer)?;
    let found = text.contains(&format!("pub mod {inner} {{"));
    found.then_some(text)
}

/// The files of the packages.
fn sources() -> &'static Sources {
    static SOURCES: LazyLock<Sources> = LazyLock::new(|| {
        let folders = ["src", "crates/admin/src", "crates/sqlx/src"];
        let folders = folders.into_iter().map(|folder| root().join(folder));
        folders.flat_map(|folder| rust_files(&folder)).collect()
    });
    &SOURCES
}

/// The texts of a package's files that contain a name.
fn with(package: Documented, name: &str) -> impl Iterator<Item = &'static str> {
    let folder = root().join(package.sources);
    let of_package = sources()
        .iter()
        .filter(move |(path, _)| path.starts_with(&folder));
    let texts = of_package.map(|(_, text)| text.as_str());
    texts.filter(move |text| text.contains(name))
}

/// The files below a folder that are Rust.
pub(crate) fn rust_files(folder: &Path) -> Sources {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            files.push((path, text));
        }
    }
    files
}
