//! Header names that a service may confuse with the identity fields: CGI and its successors map all
//! names that differ only in case and punctuation to one variable.

pub(crate) const FIELDS: [&str; 4] = [
    "X-Api-App-Id",
    "X-Api-App-Name",
    "X-Api-Token-Id",
    "X-Api-Scopes",
];

/// The characters of a field name besides letters and digits (RFC 9110 section 5.6.2).
const PUNCTUATION: &str = "!#$%&'*+-.^_`|~";

/// The common form of names that are confused with each other.
pub(crate) fn fold(name: &str) -> String {
    let fold = |character: char| match character {
        character if character.is_ascii_alphanumeric() => character.to_ascii_lowercase(),
        _ => '-',
    };
    name.chars().map(fold).collect()
}

/// Every name that is confused with this one, except for case.
pub(crate) fn aliases(name: &str) -> Vec<String> {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(vec![first], |heads, word| {
        let join = |head: &String| {
            let head = head.clone();
            PUNCTUATION
                .chars()
                .map(move |mark| format!("{head}{mark}{word}"))
        };
        heads.iter().flat_map(join).collect()
    })
}
