//! Texts that are sent over and over.

use std::{
    collections::HashSet,
    sync::{LazyLock, Mutex, PoisonError},
};

use bytes::Bytes;

/// How many are kept. Those of one realm are fewer than thirty.
const MAX_KEPT: usize = 2_000;

/// The text, so that its clones count no references: a number that all threads write whenever they
/// send it makes each wait for the others.
///
/// For that, each distinct text is kept for the life of the program. When there are too many, as when
/// somebody makes realms of what requests say, the others are let go of and counted.
pub(crate) fn kept(text: String) -> Bytes {
    static KEPT: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(text) = kept.get(text.as_str()) {
        return Bytes::from_static(text.as_bytes());
    }
    if kept.len() == MAX_KEPT {
        return text.into();
    }
    let text: &'static str = text.leak();
    kept.insert(text);
    Bytes::from_static(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once_and_no_more_than_so_many_are() {
        let [first, second] = [(), ()].map(|()| kept("a text".to_owned()));
        assert_eq!(first.as_ptr(), second.as_ptr());
        for number in 0..=MAX_KEPT {
            kept(format!("text {number}"));
        }
        let [first, second] = [(), ()].map(|()| kept("one too many".to_owned()));
        assert_ne!(first.as_ptr(), second.as_ptr());
        assert_eq!(first, second);
    }
}
