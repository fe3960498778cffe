//! The values of fields as text in forms.

use std::collections::{BTreeMap, HashSet};

use tower_api_tokens::{Metadata, MetadataPatch, Network, Networks, ScopeSet, normalize_name};

use super::{
    errors,
    names::{excerpt, visible},
    text::sentence,
};

/// Parses the name of an app or a token.
pub(super) fn read_name(text: &str) -> Result<String, &'static str> {
    normalize_name(text).map_err(|_| errors::invalid_name(text))
}

/// Parses scopes that are separated by white space.
pub(super) fn read_scopes(text: &str) -> Result<ScopeSet, String> {
    let scopes: Vec<&str> = text.split_whitespace().collect();
    let scopes = scopes.join(" ").parse();
    scopes.map_err(|_| errors::invalid_scopes(text))
}

/// Parses scopes that are separated by commas or white space.
pub(super) fn read_scope_list(text: &str) -> Result<ScopeSet, String> {
    ScopeSet::parse_list(text).map_err(|_| errors::invalid_scopes(text))
}

/// Returns the entries as lines `key=value`. Entries that no line can contain are left out.
pub(super) fn of_metadata(metadata: &Metadata) -> String {
    let entries = metadata.iter().filter(|(key, value)| fits_line(key, value));
    let lines: Vec<String> = entries
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    lines.join("\n")
}

/// Returns the keys of the entries that no line can contain, as shown to people. They stay as they
/// are when a form is submitted.
pub(super) fn kept_keys(metadata: &Metadata) -> Option<String> {
    let kept = metadata
        .iter()
        .filter(|(key, value)| !fits_line(key, value));
    let keys: Vec<String> = kept.map(|(key, _)| format!("“{}”", visible(key))).collect();
    (!keys.is_empty()).then(|| keys.join(", "))
}

fn fits_line(key: &str, value: &str) -> bool {
    let line = format!("{key}={value}");
    !line.contains(['\n', '\r']) && split(&line) == Some((key, value))
}

fn split(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    Some((key.trim(), value.trim()))
}

fn entries(text: &str) -> Result<BTreeMap<&str, &str>, String> {
    let (mut entries, mut keys) = (BTreeMap::new(), HashSet::new());
    for line in text.split(['\n', '\r']).map(str::trim) {
        if line.is_empty() {
            continue;
        }
        let (key, value) = split(line).ok_or_else(|| {
            let shown = excerpt(line);
            format!("Write each line as key=value. This one has no equals sign: {shown}")
        })?;
        if !keys.insert(key) {
            return Err(format!(
                "Use each key once. This one is repeated: {}",
                visible(key)
            ));
        }
        entries.insert(key, value);
    }
    Ok(entries)
}

/// Parses lines `key=value`.
pub(super) fn read_metadata(text: &str) -> Result<Metadata, String> {
    Metadata::new(entries(text)?).map_err(|error| sentence(&error.to_string()))
}

/// Returns what the lines change in the metadata.
pub(super) fn metadata_patch(text: &str, old: &Metadata) -> Result<MetadataPatch, String> {
    let new = entries(text)?;
    let mut patch = MetadataPatch::default();
    for (key, value) in old.iter() {
        if fits_line(key, value) && !new.contains_key(key) {
            patch = patch.remove(key);
        }
    }
    for (key, value) in new {
        if old.get(key) != Some(value) {
            patch = patch.set(key, value);
        }
    }
    let checked = patch.apply(old);
    checked.map_err(|error| sentence(&error.to_string()))?;
    Ok(patch)
}

/// Parses networks that are separated by commas, spaces or line breaks. Empty text means none.
pub(super) fn read_networks(text: &str) -> Result<Option<Networks>, String> {
    let parts = text.split(|c: char| c == ',' || c.is_whitespace());
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Ok(None);
    }
    let read = |part: &&str| {
        part.parse::<Network>()
            .map_err(|error| format!("{}: {}", excerpt(part), sentence(&error.to_string())))
    };
    let networks: Result<Vec<Network>, String> = parts.iter().map(read).collect();
    let networks = Networks::new(networks?);
    networks
        .map(Some)
        .map_err(|error| sentence(&error.to_string()))
}

/// Returns networks as a form shows them.
pub(super) fn of_networks(networks: Option<&Networks>) -> String {
    let networks = networks.into_iter().flat_map(Networks::as_slice);
    let shown: Vec<String> = networks.map(ToString::to_string).collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_were_not_touched_change_nothing() {
        let odd = [
            ("a=b", "1"),
            ("note", "two\nlines"),
            ("pad", " x "),
            ("cr", "a\rb"),
        ];
        let plain = [("plan", "pro"), ("empty", ""), ("url", "https://a/?b=c")];
        let metadata = Metadata::new(odd.into_iter().chain(plain)).unwrap();
        let text = of_metadata(&metadata);
        assert_eq!(text, "empty=\nplan=pro\nurl=https://a/?b=c");
        // Browsers submit lines with carriage returns.
        let sent = text.replace('\n', "\r\n");
        assert!(metadata_patch(&sent, &metadata).unwrap().is_empty());
        let kept = kept_keys(&metadata).unwrap();
        assert_eq!(kept, "“a=b”, “cr”, “note”, “pad”");
        assert_eq!(kept_keys(&Metadata::new(plain).unwrap()), None);
    }

    #[test]
    fn lines_are_added_changed_and_removed_and_other_entries_stay() {
        let old = Metadata::new([("note", "two\nlines"), ("plan", "free"), ("trial", "yes")]);
        let old = old.unwrap();
        let patch = metadata_patch("plan = pro\n\nteam=a", &old).unwrap();
        let new = patch.apply(&old).unwrap();
        let expected = [("note", "two\nlines"), ("plan", "pro"), ("team", "a")];
        assert_eq!(new, Metadata::new(expected).unwrap());
    }

    #[test]
    fn a_faulty_line_is_quoted() {
        for (text, part) in [
            ("a=1\nplain words", "no equals sign: plain words"),
            ("a=1\na=2", "repeated: a"),
            ("=1", "Invalid metadata key"),
        ] {
            let error = read_metadata(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let long = "é".repeat(5_000);
        assert!(read_metadata(&long).unwrap_err().len() < 250);
    }

    #[test]
    fn networks_may_be_separated_in_any_way() {
        let networks = read_networks(" 10.0.0.0/8,192.0.2.7\r\n2001:db8::/32 ").unwrap();
        let shown = of_networks(networks.as_ref());
        assert_eq!(shown, "10.0.0.0/8, 192.0.2.7/32, 2001:db8::/32");
        assert_eq!(read_networks(&shown), Ok(networks));
        assert_eq!(read_networks(" \n "), Ok(None));
        let error = read_networks("10.0.0.0/8 10.0.0.1/8").unwrap_err();
        assert!(
            error.starts_with("10.0.0.1/8: The network has host bits set"),
            "{error}"
        );
        assert!(error.contains("“10.0.0.0/8”"), "{error}");
    }
}
