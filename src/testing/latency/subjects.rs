//! The tokens that are presented.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

use super::{
    kind::Kind,
    plan::{Counts, Step},
};
use crate::{EntropyError, SystemEntropy, TokenFormat};

/// A token as it is presented.
pub(super) type Presented = Zeroizing<Vec<u8>>;

/// How many texts that are no tokens are presented in turn.
const GARBAGE: usize = 1024;

/// The tokens that the store holds.
#[derive(Default)]
pub(super) struct Known {
    pub(super) live: Vec<Presented>,
    pub(super) revoked: Vec<Presented>,
}

/// The tokens of one measurement, by kind.
pub(super) struct Subjects {
    known: Arc<Known>,
    unknown: Vec<Presented>,
    garbage: Vec<Presented>,
}

impl Subjects {
    /// Makes tokens that nobody issued, as many as will be presented, and what is no token.
    pub(super) fn new(
        known: Arc<Known>,
        counts: &Counts,
        format: Option<&TokenFormat>,
    ) -> Result<Self, EntropyError> {
        let unknown = (0..counts[Kind::Unknown as usize]).map(|_| stranger(format));
        let garbage = counts[Kind::Garbage as usize].min(GARBAGE);
        let garbage = (0..garbage).map(|_| stranger(format).map(|text| spoilt(text, format)));
        Ok(Self {
            known,
            unknown: unknown.collect::<Result<_, _>>()?,
            garbage: garbage.collect::<Result<_, _>>()?,
        })
    }

    /// How many tokens there are of each kind.
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

/// A token that nobody issued.
fn stranger(format: Option<&TokenFormat>) -> Result<Presented, EntropyError> {
    // Without a format every text of RFC 6750 is looked up; a token of some format is one.
    let some = TokenFormat::new("stranger").ok();
    let format = format.or(some.as_ref());
    let token = format.map(|format| format.generate(&SystemEntropy));
    let text = token.transpose()?.map(|token| token.expose().into());
    Ok(Zeroizing::new(text.unwrap_or_default()))
}

/// Makes a token one that is refused by its looks.
fn spoilt(mut text: Presented, format: Option<&TokenFormat>) -> Presented {
    if format.is_none() {
        text.push(b' ');
    } else if let Some(last) = text.last_mut() {
        // The checksum no longer fits.
        *last = if *last == b'0' { b'1' } else { b'0' };
    }
    text
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known")
            .field("live", &self.live.len())
            .field("revoked", &self.revoked.len())
            .finish()
    }
}
