//! Writes a snapshot.

use std::{fs::File, io, sync::atomic::Ordering::Acquire};

use super::{
    PrivateFile,
    format::{BLOCK, Header, Writer},
    tables::Collected,
};
use crate::{
    authenticator::{Shared, entry::Entry, positions::COVERED},
    store::Revision,
    time::microseconds,
    token::TokenDigest,
};

/// How many tokens of a snapshot may have to be read from the store. With more, it is not worth its space.
const MAX_PENDING: usize = 1 << 18;

/// The bit of the length of a name that shows that an expiry follows.
pub(super) const EXPIRES: u16 = 1 << 15;

/// Why no snapshot was written.
#[derive(Debug, thiserror::Error)]
pub(in crate::authenticator) enum NotSaved {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("another process writes the file")]
    Busy,
    /// The cache is not complete, or too much is changing.
    #[error("the cache is not complete")]
    Incomplete,
}

/// A snapshot that was written.
#[derive(Clone, Copy, Debug)]
pub(in crate::authenticator) struct Saved {
    pub(in crate::authenticator) revision: Revision,
    pub(in crate::authenticator) tokens: u64,
    pub(in crate::authenticator) bytes: u64,
}

/// Writes the cache of a follower to a file.
pub(in crate::authenticator) fn save(
    shared: &Shared,
    epoch: u64,
    file: &PrivateFile,
) -> Result<Saved, NotSaved> {
    let preload = &shared.cache.preload;
    // Everything up to the revision is applied, and what is pending now is missing later only because it has
    // changed after the revision.
    let version = preload.complete_version().ok_or(NotSaved::Incomplete)?;
    let revision = shared.cache.positions().settled(epoch);
    let header = Header {
        formats: shared.cache.grants.labels().fingerprint(),
        revision: revision.ok_or(NotSaved::Incomplete)?,
        saved_at: shared.clock.precise_now(),
    };
    let complete = preload.complete_apps();
    let pending = preload.all_pending();
    let mut saved = Saved {
        revision: header.revision,
        tokens: 0,
        bytes: 0,
    };
    file.replace(|file| {
        let mut body = Body::new(Writer::new(file, &header)?, pending);
        body.write(shared, epoch)?;
        let expired_by = microseconds(shared.clock.precise_now());
        let expiry_checked_at = preload.expiry_checked_at().max(expired_by);
        let tables = body.collected.encode(&complete, &body.pending);
        (saved.tokens, saved.bytes) = body.writer.finish(&tables, expiry_checked_at)?;
        // Otherwise tokens may have been evicted while the others were written.
        match preload.complete_version() == Some(version) {
            true => Ok(()),
            false => Err(NotSaved::Incomplete),
        }
    })?;
    Ok(saved)
}

struct Body<'a> {
    writer: Writer<&'a mut File>,
    block: Vec<u8>,
    tokens: u32,
    collected: Collected,
    pending: Vec<TokenDigest>,
}

impl<'a> Body<'a> {
    fn new(writer: Writer<&'a mut File>, pending: Vec<TokenDigest>) -> Self {
        Self {
            writer,
            block: Vec::with_capacity(BLOCK + 1024),
            tokens: 0,
            collected: Collected::default(),
            pending,
        }
    }

    fn write(&mut self, shared: &Shared, epoch: u64) -> Result<(), NotSaved> {
        let cache = &shared.cache;
        let current = cache.positions().current_epoch();
        for (digest, entry) in &cache.entries.pin() {
            self.token(shared, digest, entry);
            if self.block.len() >= BLOCK {
                self.flush()?;
                if current.load(Acquire) != epoch || self.pending.len() > MAX_PENDING {
                    return Err(NotSaved::Incomplete);
                }
            }
        }
        self.flush()?;
        Ok(())
    }

    fn token(&mut self, shared: &Shared, digest: &TokenDigest, entry: &Entry) {
        // Its revocation, or what ends the other reasons for which it is refused, is in the change log.
        if !entry.may_be_admitted(&*shared.clock) {
            return;
        }
        let grant = match entry.grant.is_evicted() {
            false => Some((entry.grant.clone(), COVERED)),
            // Its app has changed since the token was last used.
            true => shared
                .cache
                .grants
                .revive(&entry.grant)
                .map(|(grant, app)| (grant, app.coverage)),
        };
        let (Some((grant, COVERED)), COVERED) = (grant, entry.freshness().coverage) else {
            self.pending.push(*digest);
            return;
        };
        let (id, name, expires_at) = entry.saved();
        let len = u16::try_from(name.len()).ok().filter(|len| *len < EXPIRES);
        let Some(len) = len else {
            self.pending.push(*digest);
            return;
        };
        let number = self.collected.number(&grant, digest);
        let block = &mut self.block;
        block.extend_from_slice(digest.as_bytes());
        block.extend_from_slice(id.as_bytes());
        block.extend_from_slice(&number.to_le_bytes());
        let expires = if expires_at.is_some() { EXPIRES } else { 0 };
        block.extend_from_slice(&(len | expires).to_le_bytes());
        if let Some(expires_at) = expires_at {
            block.extend_from_slice(&expires_at.to_le_bytes());
        }
        block.extend_from_slice(name.as_bytes());
        self.tokens += 1;
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.tokens > 0 {
            self.writer.block(self.tokens, &self.block)?;
            self.block.clear();
            self.tokens = 0;
        }
        Ok(())
    }
}
