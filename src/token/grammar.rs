//! The grammar of bearer tokens.

/// Whether a text is a `b64token`: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`
/// (RFC 6750 section 2.1).
pub(crate) fn is_b64token(text: &[u8]) -> bool {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &text[..text.len() - padding];
    // Sixteen bytes without a branch compile to a few instructions. The remainder is checked as the
    // last sixteen bytes of the text.
    let fits = |bytes: &[u8; 16]| {
        bytes
            .iter()
            .fold(true, |fits, byte| fits & in_b64token(*byte))
    };
    match body.last_chunk() {
        Some(last) => fits(last) && body.as_chunks().0.iter().all(fits),
        None => !body.is_empty() && body.iter().all(|byte| in_b64token(*byte)),
    }
}

/// Whether a byte may occur in a `b64token` before its padding.
#[inline]
fn in_b64token(byte: u8) -> bool {
    (byte | 0x20).is_ascii_lowercase()
        | (b'-'..=b'9').contains(&byte) // "-", ".", "/" and the digits
        | (byte == b'_')
        | (byte == b'~')
        | (byte == b'+')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_b64token_has_its_padding_at_the_end() {
        for good in ["a", "AZaz09-._~+/", "a=", "a==", "a======"] {
            assert!(is_b64token(good.as_bytes()), "{good:?}");
        }
        for bad in [
            "", "=", "=a", "a=b", "a b", "a,b", "a\t", "a%62", "ä", "a\0",
        ] {
            assert!(!is_b64token(bad.as_bytes()), "{bad:?}");
        }
    }

    fn almost_a_b64token() -> impl Strategy<Value = Vec<u8>> {
        let good = proptest::sample::select(b"AMZamz059-._~+/".as_slice());
        let byte = prop_oneof![30 => good, 1 => any::<u8>()];
        let padding = proptest::collection::vec(Just(b'='), 0..3);
        let body = proptest::collection::vec(byte, 0..60);
        (body, padding).prop_map(|(body, padding)| [body, padding].concat())
    }

    proptest! {
        #[test]
        fn the_grammar_is_that_of_rfc_6750(text in almost_a_b64token()) {
            let grammar = regex::bytes::Regex::new(r"(?-u)\A[A-Za-z0-9\-._~+/]+=*\z").unwrap();
            prop_assert_eq!(is_b64token(&text), grammar.is_match(&text));
        }
    }
}
