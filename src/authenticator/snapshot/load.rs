//! Loads a snapshot into an empty cache.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed},
        },
    },
    thread,
    time::Duration,
};

use jiff::Timestamp;

use super::{
    PrivateFile, Unusable,
    format::{Block, Blocks, Checker, Parts},
    save::EXPIRES,
    tables::Tables,
    wire::{Input, Malformed},
};
use crate::{
    authenticator::{Shared, entry::Entry, grant::Grant},
    store::Revision,
    time::from_microseconds,
    token::{TokenDigest, TokenId},
};

/// How many threads load a snapshot at most. More would wait for the file.
const MAX_THREADS: usize = 8;

/// A snapshot that belongs to this version and configuration. Its tokens are yet to be read.
#[derive(Debug)]
pub(in crate::authenticator) struct Opened(Parts);

impl Opened {
    /// Opens a file, and checks everything but the tokens.
    pub(in crate::authenticator) fn open(
        file: &PrivateFile,
        shared: &Shared,
    ) -> Result<Self, Unusable> {
        let parts = Parts::read(file.open()?)?;
        if parts.header.formats != shared.cache.grants.labels().fingerprint() {
            return Err(Unusable::OtherFormats);
        }
        // Tokens that had expired when it was written may be live again.
        if shared.clock.precise_now() < parts.header.saved_at {
            return Err(Unusable::ClockSetBack);
        }
        if parts.trailer.tokens > shared.cache.limit() as u64 {
            return Err(Unusable::TooLarge);
        }
        Ok(Self(parts))
    }

    pub(in crate::authenticator) fn revision(&self) -> Revision {
        self.0.header.revision
    }

    pub(in crate::authenticator) fn saved_at(&self) -> Timestamp {
        self.0.header.saved_at
    }

    /// Puts the tokens into the cache, and makes it complete as of the revision of the snapshot. The caller
    /// has cleared the cache and ended its lease, and renews it only once the changes since then are applied.
    /// Returns the number of tokens.
    pub(in crate::authenticator) fn load(
        self,
        shared: &Shared,
        epoch: u64,
    ) -> Result<usize, Unusable> {
        let cache = &shared.cache;
        let Parts {
            trailer,
            tables,
            checker,
            blocks,
            ..
        } = self.0;
        let tables = Tables::decode(&tables, &cache.grants, cache.grants.labels())?;
        let tokens = usize::try_from(trailer.tokens).map_err(|_| Unusable::TooLarge)?;
        if tokens + cache.grants.weights.in_tokens() > cache.limit() {
            return Err(Unusable::TooLarge);
        }
        cache.entries.pin().reserve(tokens);
        let loading = Loading {
            shared,
            epoch,
            current: cache.positions().current_epoch(),
            grants: &tables.grants,
            monotonic: shared.clock.monotonic(),
            checker,
            blocks: Mutex::new(blocks),
            has_failed: AtomicBool::new(false),
        };
        loading.run()?;
        for digest in &tables.pending {
            shared
                .in_flight
                .exclusively(digest, || cache.preload.mark_pending(digest, 0));
        }
        let expired_by = from_microseconds(trailer.expiry_checked_at);
        let positions = cache.positions();
        if !positions.is_current(epoch) {
            return Err(Unusable::Stopped);
        }
        match cache.preload.end_restoring(tables.complete, expired_by) {
            true => Ok(tokens),
            false => Err(Unusable::TooLarge),
        }
    }
}

struct Loading<'a> {
    shared: &'a Shared,
    epoch: u64,
    current: Arc<AtomicU64>,
    grants: &'a [Arc<Grant>],
    monotonic: Duration,
    checker: Checker,
    blocks: Mutex<Blocks>,
    has_failed: AtomicBool,
}

impl Loading<'_> {
    /// Loads all blocks, several at a time.
    fn run(&self) -> Result<(), Unusable> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let others: Vec<_> = (1..threads.min(MAX_THREADS))
                .map(|_| scope.spawn(|| self.read_blocks()))
                .collect();
            let first = self.read_blocks();
            let others = others.into_iter().map(|thread| {
                // A thread only panics by mistake.
                thread.join().unwrap_or(Err(Unusable::Damaged))
            });
            others.fold(first, Result::and)
        })
    }

    fn read_blocks(&self) -> Result<(), Unusable> {
        let mut block = Block::default();
        while !self.has_failed.load(Relaxed) {
            let read = self.next(&mut block).and_then(|is_read| {
                if is_read {
                    let (tokens, bytes) = block.check(self.checker)?;
                    self.insert(tokens, bytes)?;
                }
                Ok(is_read)
            });
            match read {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.has_failed.store(true, Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn next(&self, block: &mut Block) -> Result<bool, Unusable> {
        let blocks = self.blocks.lock();
        blocks.unwrap_or_else(PoisonError::into_inner).read(block)
    }

    fn insert(&self, tokens: u32, bytes: &[u8]) -> Result<(), Unusable> {
        let cache = &self.shared.cache;
        let entries = cache.entries.pin();
        let mut input = Input::new(bytes);
        for _ in 0..tokens {
            let (digest, entry) = self.token(&mut input)?;
            let insert = || {
                // The next follower clears the cache under the same lock.
                if self.current.load(Acquire) != self.epoch {
                    return Err(Unusable::Stopped);
                }
                // A request has looked it up in the meantime.
                if entries.try_insert(digest, entry).is_err() {
                    cache.preload.mark_pending(&digest, 0);
                }
                Ok(())
            };
            self.shared.in_flight.exclusively(&digest, insert)?;
        }
        match input.is_empty() {
            true => Ok(()),
            false => Err(Unusable::Damaged),
        }
    }

    #[inline]
    fn token(&self, input: &mut Input<'_>) -> Result<(TokenDigest, Entry), Malformed> {
        let digest = TokenDigest::from_bytes(input.array()?);
        let id = TokenId::from_bytes(input.array()?);
        let grant = self.grants.get(input.u32()? as usize).ok_or(Malformed)?;
        let head = input.u16()?;
        let expires_at = match head & EXPIRES {
            0 => None,
            _ => Some(from_microseconds(input.i64()?)),
        };
        let name = input.str(usize::from(head & !EXPIRES))?;
        let entry = Entry::restored(id, name, Arc::clone(grant), expires_at, self.monotonic);
        Ok((digest, entry))
    }
}
