//! Interns texts that are sent or shown again and again.

use std::{
    collections::{HashMap, HashSet},
    sync::{LazyLock, Mutex, PoisonError},
};

use bytes::Bytes;

/// The maximum number of interned texts. One realm needs fewer than thirty.
const MAX_INTERNED: usize = 2_000;

/// Returns the text as static bytes. Cloning them does not touch a reference count, which all
/// threads would contend for with every response.
///
/// Each distinct text is leaked once. Above the limit, for example if realms are made from
/// requests, texts are reference-counted instead.
pub(crate) fn intern(text: String) -> Bytes {
    static INTERNED: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);
    let mut interned = INTERNED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(text) = interned.get(text.as_str()) {
        return Bytes::from_static(text.as_bytes());
    }
    if interned.len() == MAX_INTERNED {
        return text.into();
    }
    let text: &'static str = text.leak();
    interned.insert(text);
    Bytes::from_static(text.as_bytes())
}

/// A configured text, such as the label of a format. Copying it touches no reference count, and it is
/// one pointer wide, because every principal has one.
///
/// Each distinct text is leaked once, so texts of requests must not become labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Label(&'static &'static str);

impl Label {
    pub(crate) fn new(text: &str) -> Self {
        static LABELS: LazyLock<Mutex<HashMap<&'static str, Label>>> =
            LazyLock::new(Mutex::default);
        let mut labels = LABELS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(label) = labels.get(text) {
            return *label;
        }
        let text: &'static str = text.to_owned().leak();
        let label = Self(Box::leak(Box::new(text)));
        labels.insert(text, label);
        label
    }

    pub(crate) fn as_str(self) -> &'static str {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_configured_texts_are_leaked_once() {
        let [first, second] = ["a label", "a label"].map(Label::new);
        assert!(std::ptr::eq(first.0, second.0));
        assert_eq!(first.as_str(), "a label");
        assert_ne!(first, Label::new("another label"));
    }

    #[test]
    fn equal_texts_share_their_bytes_up_to_a_limit() {
        let [first, second] = [(), ()].map(|()| intern("a text".to_owned()));
        assert_eq!(first.as_ptr(), second.as_ptr());
        for number in 0..=MAX_INTERNED {
            intern(format!("text {number}"));
        }
        let [first, second] = [(), ()].map(|()| intern("one too many".to_owned()));
        assert_ne!(first.as_ptr(), second.as_ptr());
        assert_eq!(first, second);
    }
}
