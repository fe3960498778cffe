//! Interns response texts that are sent again and again.

use std::{
    collections::HashSet,
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

#[cfg(test)]
mod tests {
    use super::*;

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
