//! The tokens that the test uses.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

use super::{
    kind::Kind,
    plan::{Counts, Step},
};
use crate::{EntropyError, SystemEntropy, TokenFormat};

/// A token as a client sends it.
pub(super) type Presented = Zeroizing<Vec<u8>>;

/// How many malformed tokens to use.
const GARBAGE: usize = 1024;

/// The tokens in the store.
#[derive(Default)]
pub(super) struct StoredTokens {
    pub(super) live: Vec<Presented>,
    pub(super) revoked: Vec<Presented>,
}

/// The tokens of one measurement, by kind.
pub(super) struct Subjects {
    known: Arc<StoredTokens>,
    unknown: Vec<Presented>,
    garbage: Vec<Presented>,
}

impl Subjects {
    /// Generates as many unknown tokens as requests need, and the malformed ones.
    pub(super) fn new(
        known: Arc<StoredTokens>,
        counts: &Counts,
        format: Option<&TokenFormat>,
    ) -> Result<Self, EntropyError> {
        let unknown = (0..counts[Kind::Unknown as usize]).map(|_| unknown_token(format));
        let garbage = counts[Kind::Garbage as usize].min(GARBAGE);
        let garbage =
            (0..garbage).map(|_| unknown_token(format).map(|text| make_malformed(text, format)));
        Ok(Self {
            known,
            unknown: unknown.collect::<Result<_, _>>()?,
            garbage: garbage.collect::<Result<_, _>>()?,
        })
    }

    /// The number of tokens of each kind.
    pub(super) fn counts(&self) -> Counts {
        Kind::ALL.map(|kind| self.of(kind).len())
    }

    pub(super) fn get(&self, step: Step) -> &[u8] {
        &self.of(step.kind)[step.subject as usize]
    }

    fn of(&self, kind: Kind) -> &[Presented] {
        match kind {
            Kind::Hit | Kind::Miss => &self.known.live,
            Kind::Unknown => &self.unknown,
            Kind::Garbage => &self.garbage,
            Kind::Revoked => &self.known.revoked,
        }
    }
}

/// A token that was never issued.
fn unknown_token(format: Option<&TokenFormat>) -> Result<Presented, EntropyError> {
    // Without a format, every `b64token` of RFC 6750 is looked up, and a token of any format is
    // one.
    let some = TokenFormat::new("stranger").ok();
    let format = format.or(some.as_ref());
    let token = format.map(|format| format.generate(&SystemEntropy));
    let text = token.transpose()?.map(|token| token.expose().into());
    Ok(Zeroizing::new(text.unwrap_or_default()))
}

/// Makes a token malformed.
fn make_malformed(mut text: Presented, format: Option<&TokenFormat>) -> Presented {
    if format.is_none() {
        text.push(b' ');
    } else if let Some(last) = text.last_mut() {
        // Invalidates the checksum.
        *last = if *last == b'0' { b'1' } else { b'0' };
    }
    text
}

impl fmt::Debug for StoredTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredTokens")
            .field("live", &self.live.len())
            .field("revoked", &self.revoked.len())
            .finish()
    }
}
