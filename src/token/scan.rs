//! Finds tokens in text.

use super::TokenFormat;

impl TokenFormat {
    /// Returns the tokens of this format in a text, such as a log or a commit, each with its position in
    /// bytes. The text does not have to be UTF-8.
    ///
    /// Every result has a valid checksum, so look it up with
    /// [`ApiTokens::find_token`](crate::ApiTokens::find_token) to find out whether it works. A token that
    /// was imported from another system has no format, and cannot be found in this way.
    ///
    /// To search a stream in parts, let each part begin with the last
    /// [`MAX_TOKEN_LEN`](Self::MAX_TOKEN_LEN) − 1 bytes of the one before. A shorter token may lie wholly within
    /// these bytes, and is then found twice: ignore a result that ends within them.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_api_tokens::{SystemEntropy, TokenFormat};
    ///
    /// let format = TokenFormat::new("acme_live")?;
    /// let token = format.generate(&SystemEntropy::default())?;
    /// let log = format!("GET /invoices?key={} 200", token.expose());
    ///
    /// let found: Vec<_> = format.find_in(log.as_bytes()).collect();
    /// assert_eq!(found, [(18, token.expose())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn find_in<'t>(&self, text: &'t [u8]) -> impl Iterator<Item = (usize, &'t str)> {
        let first = self.prefix().as_bytes().first().copied();
        text.windows(self.token_len())
            .enumerate()
            // Most positions are ruled out by one byte.
            .filter(move |(_, window)| window.first().copied() == first && self.accepts(window))
            .filter_map(|(at, window)| Some((at, str::from_utf8(window).ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::SystemEntropy;

    fn format() -> TokenFormat {
        TokenFormat::new("acme_live").unwrap()
    }

    fn token(format: &TokenFormat) -> String {
        let token = format.generate(&SystemEntropy).unwrap();
        token.expose().to_owned()
    }

    #[test]
    fn tokens_are_found_wherever_they_are() {
        let (one, other) = (token(&format()), token(&format()));
        let mut text = vec![0xff, b'a'];
        text.extend(format!("{one}{one}x{other}\nacme_live_{other}").bytes());
        let found: Vec<_> = format().find_in(&text).collect();
        let texts = [&*one, &one, &other, &other];
        assert_eq!(
            found.iter().map(|(_, text)| *text).collect::<Vec<_>>(),
            texts
        );
        for (at, token) in found {
            assert_eq!(&text[at..at + token.len()], token.as_bytes());
        }
    }

    #[test]
    fn tokens_of_other_formats_and_with_typos_are_not_found() {
        let other = TokenFormat::new("acme").unwrap();
        let token = token(&format());
        assert_eq!(other.find_in(token.as_bytes()).count(), 0);
        for typo in [
            &token[1..],
            &token[..token.len() - 1],
            &token.to_uppercase(),
        ] {
            assert_eq!(format().find_in(typo.as_bytes()).count(), 0);
        }
    }

    proptest! {
        #[test]
        fn a_token_is_found_between_any_bytes(before: Vec<u8>, after: Vec<u8>) {
            let token = token(&format());
            let text = [&before, token.as_bytes(), &after].concat();
            let found: Vec<_> = format().find_in(&text).collect();
            prop_assert_eq!(found, [(before.len(), &*token)]);
        }
    }
}
