//! Loads a snapshot into an empty cache.
//!
//! Most of the time would be spent on waiting for memory, because each token goes to a random place of the table. So many
//! tokens are read first, and then inserted in the order of their places.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed},
        },
        mpsc::{self, Receiver, Sender},
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
const MAX_THREADS: usize = 4;

/// How many blocks there are for each thread, so that the next ones are read meanwhile.
const BLOCKS_OF_THREAD: usize = 3;

/// Into how many parts a thread divides the table. The tokens of a part are inserted together.
const PARTS: usize = 256;

/// The size of the tokens of a part, which fit into the cache of a processor. Longer than any token.
const PART: usize = 256 << 10;

/// The sizes of the identifier of a token, and of the number of its grant.
const ID_LEN: usize = 16;
const GRANT_LEN: usize = 4;

/// How long an expiry is.
const EXPIRY_LEN: usize = 8;

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
        let tables = Tables::decode(&tables, cache.grants.labels(), |app, terms, sample| {
            // A follower that starts later clears the grants after it has taken this lock.
            let positions = cache.positions();
            match positions.is_current(epoch) {
                true => Ok(cache.grants.restore(app, terms, sample)),
                false => Err(Unusable::Stopped),
            }
        })?;
        let tokens = usize::try_from(trailer.tokens).map_err(|_| Unusable::TooLarge)?;
        if tokens + cache.grants.weights.in_tokens() > cache.limit() {
            return Err(Unusable::TooLarge);
        }
        cache.entries.pin().reserve(tokens);
        let places = (tokens * 4 / 3).next_power_of_two().max(PARTS);
        let loading = Loading {
            shared,
            epoch,
            current: cache.positions().current_epoch(),
            grants: &tables.grants,
            monotonic: shared.clock.monotonic(),
            places: places - 1,
            part_bits: (places / PARTS).trailing_zeros(),
            checker,
            has_failed: AtomicBool::new(false),
        };
        loading.run(blocks)?;
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

/// Tokens that were read, by the first bits of their places in the table.
struct Sorted {
    /// One allocation, so that its memory is given back: between those of the entries, it would not be.
    bytes: Vec<u8>,
    lens: [usize; PARTS],
    /// The places of the tokens of a part, and where the bytes of each begin.
    order: Vec<(usize, usize)>,
}

impl Sorted {
    fn new() -> Self {
        Self {
            // Memory that is not used is not touched.
            bytes: vec![0; PARTS * PART],
            lens: [0; PARTS],
            order: Vec::new(),
        }
    }

    /// Adds a token to a part, if there is room.
    fn add(&mut self, part: usize, token: &[u8]) -> bool {
        let begin = part * PART + self.lens[part];
        let end = begin + token.len();
        if end > (part + 1) * PART {
            return false;
        }
        self.bytes[begin..end].copy_from_slice(token);
        self.lens[part] += token.len();
        true
    }

    /// Empties a part. Returns its tokens, and room for their order.
    fn take(&mut self, part: usize) -> (&[u8], &mut Vec<(usize, usize)>) {
        let begin = part * PART;
        let len = std::mem::take(&mut self.lens[part]);
        (&self.bytes[begin..begin + len], &mut self.order)
    }
}

struct Loading<'a> {
    shared: &'a Shared,
    epoch: u64,
    current: Arc<AtomicU64>,
    grants: &'a [Arc<Grant>],
    monotonic: Duration,
    /// A mask of the bits of a hash that decide the place in the table.
    places: usize,
    /// How many of these bits differ within a part.
    part_bits: u32,
    checker: Checker,
    has_failed: AtomicBool,
}

impl Loading<'_> {
    /// Loads all blocks, several at a time, while another thread reads the next ones.
    fn run(&self, blocks: Blocks) -> Result<(), Unusable> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(MAX_THREADS);
        let (to_loaders, read) = mpsc::channel();
        let (to_reader, free) = mpsc::channel();
        // The buffers are used again and again, because between the entries their memory would not be given back.
        for _ in 0..threads * BLOCKS_OF_THREAD {
            drop(to_reader.send(Block::default()));
        }
        let read = Mutex::new(read);
        thread::scope(|scope| {
            let reader = scope.spawn(move || self.read(blocks, &free, &to_loaders));
            let loaders: Vec<_> = (0..threads)
                .map(|_| {
                    let (read, to_reader) = (&read, to_reader.clone());
                    scope.spawn(move || self.load_blocks(read, &to_reader))
                })
                .collect();
            drop(to_reader);
            let done = [reader].into_iter().chain(loaders).map(|thread| {
                // A thread only panics by mistake.
                thread.join().unwrap_or(Err(Unusable::Damaged))
            });
            done.fold(Ok(()), Result::and)
        })
    }

    /// Reads all blocks, unless one cannot be loaded.
    fn read(
        &self,
        mut blocks: Blocks,
        free: &Receiver<Block>,
        to_loaders: &Sender<Block>,
    ) -> Result<(), Unusable> {
        while let Ok(mut block) = free.recv() {
            if self.has_failed.load(Relaxed) || !blocks.read(&mut block)? {
                break;
            }
            drop(to_loaders.send(block));
        }
        Ok(())
    }

    /// Loads blocks until all are read. After a failure, it only returns them.
    fn load_blocks(
        &self,
        read: &Mutex<Receiver<Block>>,
        to_reader: &Sender<Block>,
    ) -> Result<(), Unusable> {
        let (mut sorted, mut done) = (Sorted::new(), Ok(()));
        loop {
            let block = read.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(block) = block else {
                break;
            };
            if done.is_ok() && !self.has_failed.load(Relaxed) {
                done = self.load_block(&block, &mut sorted);
            }
            if done.is_err() {
                self.has_failed.store(true, Relaxed);
            }
            drop(to_reader.send(block));
        }
        done?;
        (0..PARTS).try_for_each(|part| self.insert(&mut sorted, part))
    }

    fn load_block(&self, block: &Block, sorted: &mut Sorted) -> Result<(), Unusable> {
        let (tokens, bytes) = block.check(self.checker)?;
        let mut input = Input::new(bytes);
        for _ in 0..tokens {
            let (place, token) = self.skip(&mut input)?;
            let part = place >> self.part_bits;
            if !sorted.add(part, token) {
                self.insert(sorted, part)?;
                sorted.add(part, token);
            }
        }
        match input.is_empty() {
            true => Ok(()),
            false => Err(Unusable::Damaged),
        }
    }

    /// Reads past a token. Returns its place in the table, and its bytes.
    #[inline]
    fn skip<'a>(&self, input: &mut Input<'a>) -> Result<(usize, &'a [u8]), Malformed> {
        let mut ahead = *input;
        let digest = TokenDigest::from_bytes(ahead.array()?);
        ahead.bytes(ID_LEN + GRANT_LEN)?;
        let head = ahead.u16()?;
        let expiry = if head & EXPIRES == 0 { 0 } else { EXPIRY_LEN };
        ahead.bytes(expiry + usize::from(head & !EXPIRES))?;
        let token = input.bytes(input.len() - ahead.len())?;
        #[expect(clippy::cast_possible_truncation, reason = "only the low bits matter")]
        let place = self.shared.cache.hash(&digest) as usize & self.places;
        Ok((place, token))
    }

    /// Inserts the tokens of a part, and empties it.
    fn insert(&self, sorted: &mut Sorted, part: usize) -> Result<(), Unusable> {
        let (bytes, order) = sorted.take(part);
        order.clear();
        let mut input = Input::new(bytes);
        while !input.is_empty() {
            let at = bytes.len() - input.len();
            let (place, _) = self.skip(&mut input)?;
            order.push((place, at));
        }
        order.sort_unstable();
        self.insert_part(bytes, order)
    }

    fn insert_part(&self, bytes: &[u8], order: &[(usize, usize)]) -> Result<(), Unusable> {
        let cache = &self.shared.cache;
        let entries = cache.entries.pin();
        for (_, at) in order {
            let token = bytes.get(*at..).ok_or(Malformed)?;
            let (digest, entry) = self.token(&mut Input::new(token))?;
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
        Ok(())
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
