//! Finds tokens in streams of bytes, with bounded memory.

use std::{
    collections::HashMap,
    ffi::OsStr,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use tower_api_tokens::{MaskedToken, TokenDigest, TokenFormat, TokenSelection};
use zeroize::Zeroizing;

/// How many bytes are searched at a time.
const PART: usize = 256 * 1024;

/// How many bytes of a part are searched again with the next one: a token may begin in them.
const OVERLAP: usize = TokenFormat::MAX_TOKEN_LEN - 1;

/// How many places of one token are reported.
const MAX_PLACES: usize = 10;

/// A place where a token was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// With masks in place of tokens.
    pub(super) path: Arc<str>,
    /// `None` if the token is in the path itself.
    pub(super) line: Option<u64>,
}

/// A token that was found.
pub(super) struct Leak {
    pub(super) token: Zeroizing<String>,
    /// The first places.
    pub(super) places: Vec<Place>,
    /// How many more places there are.
    pub(super) more_places: u64,
}

/// There are more different tokens than one command handles.
#[derive(Debug)]
pub(super) struct TooMany;

/// The tokens that were found so far.
pub(super) struct Search {
    formats: Vec<TokenFormat>,
    buffer: Zeroizing<Vec<u8>>,
    /// In the order in which they were found.
    leaks: Vec<Leak>,
    known: HashMap<TokenDigest, usize>,
}

impl Search {
    pub(super) fn new(formats: Vec<TokenFormat>) -> Self {
        let mut distinct: Vec<TokenFormat> = Vec::new();
        for format in formats {
            if distinct
                .iter()
                .all(|other| other.prefix() != format.prefix())
            {
                distinct.push(format);
            }
        }
        Self {
            formats: distinct,
            buffer: Zeroizing::new(vec![0; OVERLAP + PART]),
            leaks: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// Searches everything that `input` yields. After an error, the tokens before it are found.
    ///
    /// Bytes with the value zero are skipped, so that tokens in UTF-16 are found as well.
    pub(super) fn read(
        &mut self,
        mut input: impl Read,
        path: &Arc<str>,
    ) -> io::Result<Result<(), TooMany>> {
        let (mut kept, mut line) = (0, 1);
        loop {
            let read = match input.read(&mut self.buffer[kept..]) {
                Ok(0) => return Ok(Ok(())),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let filled = kept + drop_zeros(&mut self.buffer[kept..kept + read]);
            if self.search(kept, filled, line, path).is_err() {
                return Ok(Err(TooMany));
            }
            let searched = filled.saturating_sub(OVERLAP);
            line += lines(&self.buffer[..searched]);
            self.buffer.copy_within(searched..filled, 0);
            kept = filled - searched;
        }
    }

    /// Searches the new part of a path for tokens. Returns the whole path with masks in their place.
    pub(super) fn name(&mut self, path: &Path, part: &OsStr) -> Result<Arc<str>, TooMany> {
        let shown: Arc<str> = self.masked(path).into();
        let part = Zeroizing::new(part.to_string_lossy().into_owned());
        for format in &self.formats {
            for (_, token) in format.find_in(part.as_bytes()) {
                let place = Place {
                    path: Arc::clone(&shown),
                    line: None,
                };
                add(&mut self.leaks, &mut self.known, token, place)?;
            }
        }
        Ok(shown)
    }

    /// Returns a path for display, with masks in place of the tokens.
    fn masked(&self, path: &Path) -> String {
        let mut shown = path.display().to_string();
        for format in &self.formats {
            let tokens = format.find_in(shown.as_bytes());
            let tokens: Vec<_> = tokens
                .map(|(_, token)| Zeroizing::new(token.to_owned()))
                .collect();
            for token in tokens {
                shown = shown.replace(&**token, &mask(format, &token));
            }
        }
        shown
    }

    pub(super) fn leaks(self) -> Vec<Leak> {
        self.leaks
    }

    /// Searches the buffer for tokens that end after `kept`, up to which it was searched before.
    fn search(
        &mut self,
        kept: usize,
        filled: usize,
        first_line: u64,
        path: &Arc<str>,
    ) -> Result<(), TooMany> {
        let text = &self.buffer[..filled];
        for format in &self.formats {
            let (mut counted, mut line) = (0, first_line);
            for (at, token) in format.find_in(text) {
                line += lines(&text[counted..at]);
                counted = at;
                if at + token.len() <= kept {
                    continue;
                }
                let place = Place {
                    path: Arc::clone(path),
                    line: Some(line),
                };
                add(&mut self.leaks, &mut self.known, token, place)?;
            }
        }
        Ok(())
    }
}

fn add(
    leaks: &mut Vec<Leak>,
    known: &mut HashMap<TokenDigest, usize>,
    token: &str,
    place: Place,
) -> Result<(), TooMany> {
    let next = leaks.len();
    let index = *known
        .entry(TokenDigest::of(token.as_bytes()))
        .or_insert(next);
    if let Some(leak) = leaks.get_mut(index) {
        if leak.places.len() < MAX_PLACES {
            leak.places.push(place);
        } else {
            leak.more_places += 1;
        }
        return Ok(());
    }
    if next == TokenSelection::MAX_COUNT {
        return Err(TooMany);
    }
    leaks.push(Leak {
        token: Zeroizing::new(token.to_owned()),
        places: vec![place],
        more_places: 0,
    });
    Ok(())
}

/// The form of a token that may be shown.
fn mask(format: &TokenFormat, token: &str) -> String {
    let tail = &token[token.len() - MaskedToken::MAX_TAIL_LEN..];
    format!("{}_…{tail}", format.prefix())
}

/// Moves the bytes other than zero to the start, and returns their number.
fn drop_zeros(bytes: &mut [u8]) -> usize {
    // Most text has none.
    if !bytes.contains(&0) {
        return bytes.len();
    }
    let mut end = 0;
    for at in 0..bytes.len() {
        if bytes[at] != 0 {
            bytes[end] = bytes[at];
            end += 1;
        }
    }
    end
}

fn lines(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use tower_api_tokens::SystemEntropy;

    use super::*;

    fn format(prefix: &str) -> TokenFormat {
        TokenFormat::new(prefix).unwrap()
    }

    fn token(prefix: &str) -> String {
        let token = format(prefix).generate(&SystemEntropy::default()).unwrap();
        token.expose().to_owned()
    }

    /// A reader that returns a few bytes at a time.
    struct Slow<'t>(&'t [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let end = self.1.min(buffer.len());
            self.0.read(&mut buffer[..end])
        }
    }

    fn places(search: Search) -> Vec<(String, Vec<u64>, u64)> {
        let leaks = search.leaks().into_iter();
        leaks
            .map(|leak| {
                let lines = leak.places.iter().filter_map(|place| place.line).collect();
                (leak.token.to_string(), lines, leak.more_places)
            })
            .collect()
    }

    fn found(input: impl Read) -> Vec<(String, Vec<u64>, u64)> {
        let mut search = Search::new(vec![format("acme_live"), format("acme_test")]);
        search.read(input, &"log".into()).unwrap().unwrap();
        places(search)
    }

    #[test]
    fn a_token_is_found_once_wherever_the_parts_are_cut() {
        let (live, test) = (token("acme_live"), token("acme_test"));
        let text = format!("a\nb {live}\r\n\n{test}{live}");
        let expected = vec![(live, vec![2, 4], 0), (test, vec![4], 0)];
        for size in [1, 2, 7, 46, 47, 48, 1000] {
            assert_eq!(found(Slow(text.as_bytes(), size)), expected, "{size}");
        }
    }

    #[test]
    fn a_token_is_found_across_the_end_of_the_buffer() {
        let token = token("acme_live");
        for before in PART - 60..PART + 60 {
            let text = [&vec![b'\n'; before][..], token.as_bytes()].concat();
            let expected = vec![(token.clone(), vec![before as u64 + 1], 0)];
            assert_eq!(found(&text[..]), expected, "{before}");
        }
    }

    #[test]
    fn a_token_in_utf_16_is_found() {
        let token = token("acme_live");
        let text = format!("key\n= {token}\n");
        for bytes in [
            text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            text.encode_utf16()
                .flat_map(u16::to_be_bytes)
                .collect::<Vec<_>>(),
        ] {
            assert_eq!(found(&bytes[..]), [(token.clone(), vec![2], 0)]);
        }
    }

    #[test]
    fn only_the_first_places_of_a_token_are_kept() {
        let token = token("acme_live");
        let text = format!("{token}\n").repeat(1_000);
        let lines = (1..=MAX_PLACES as u64).collect();
        let more = 1_000 - MAX_PLACES as u64;
        assert_eq!(found(text.as_bytes()), [(token, lines, more)]);
    }

    #[test]
    fn tokens_before_a_read_error_are_found() {
        struct Broken(bool, String);
        impl Read for Broken {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    return Err(io::ErrorKind::Other.into());
                }
                self.1.as_bytes().read(buffer)
            }
        }
        let token = token("acme_live");
        let mut search = Search::new(vec![format("acme_live")]);
        let read = search.read(Broken(false, token.clone()), &"log".into());
        assert!(read.is_err());
        assert_eq!(places(search), [(token, vec![1], 0)]);
    }
}
