//! The layout of the file: a header, blocks of tokens, the tables that these refer to, and a trailer.
//!
//! Each part has a SHA-256 checksum, which includes that of the header and the number of the part. So a part of
//! another file, or one in another place, does not pass either. The trailer is written last: a file without
//! one is incomplete.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{Unusable, wire::Input};
use crate::{
    store::Revision,
    time::{from_microseconds, microseconds},
};

/// The last byte is the version of the layout.
const MAGIC: [u8; 8] = *b"\x89APITOK\x01";

/// The version of the library decides which tokens are cached, so that another one may need others.
const VERSION: &str = env!("CARGO_PKG_VERSION");
const VERSION_LEN: usize = 32;

const CHECKSUM: usize = 32;
const HEADER: usize = MAGIC.len() + VERSION_LEN + 32 + 3 * 8 + CHECKSUM;
const BLOCK_HEADER: usize = 8;
const TRAILER: usize = 4 * 8 + CHECKSUM;

/// The size from which on a block is written. It fits into the cache of a processor.
pub(super) const BLOCK: usize = 256 << 10;

/// The maximum size of a block, so that a damaged length does not allocate more.
const MAX_BLOCK: usize = 2 * BLOCK;

/// The numbers of the parts that are not blocks.
const TABLES: u64 = u64::MAX;
const END: u64 = u64::MAX - 1;

type Checksum = [u8; CHECKSUM];

#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// A digest of the configured formats.
    pub(super) formats: [u8; 32],
    pub(super) revision: Revision,
    /// The wall clock when the file was begun.
    pub(super) saved_at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Trailer {
    tables_at: u64,
    blocks: u64,
    pub(super) tokens: u64,
    /// The wall clock, in microseconds, up to which expired tokens are left out.
    pub(super) expiry_checked_at: i64,
}

fn version() -> [u8; VERSION_LEN] {
    let mut version = [0; VERSION_LEN];
    for (to, from) in version.iter_mut().zip(VERSION.bytes()) {
        *to = from;
    }
    version
}

fn checksum(header: &Checksum, number: u64, parts: &[&[u8]]) -> Checksum {
    let mut hash = Sha256::new();
    hash.update(header);
    hash.update(number.to_le_bytes());
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

impl Header {
    fn encode(&self) -> ([u8; HEADER], Checksum) {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&version());
        bytes.extend_from_slice(&self.formats);
        bytes.extend_from_slice(&self.revision.number.to_le_bytes());
        bytes.extend_from_slice(&self.revision.mark.to_le_bytes());
        bytes.extend_from_slice(&microseconds(self.saved_at).to_le_bytes());
        let checksum: Checksum = Sha256::digest(&bytes).into();
        bytes.extend_from_slice(&checksum);
        let mut header = [0; HEADER];
        header.copy_from_slice(&bytes);
        (header, checksum)
    }

    fn decode(bytes: &[u8; HEADER]) -> Result<(Self, Checksum), Unusable> {
        let mut input = Input::new(bytes);
        if input.array()? != MAGIC {
            return Err(Unusable::NotASnapshot);
        }
        if input.array()? != version() {
            return Err(Unusable::OtherVersion);
        }
        let header = Self {
            formats: input.array()?,
            revision: Revision::new(input.u64()?, input.u64()?),
            saved_at: from_microseconds(input.i64()?),
        };
        let (encoded, checksum) = header.encode();
        (encoded == *bytes)
            .then_some((header, checksum))
            .ok_or(Unusable::Damaged)
    }
}

impl Trailer {
    fn fields(&self) -> [u8; 4 * 8] {
        let fields = [self.tables_at, self.blocks, self.tokens];
        let mut bytes = [0; 4 * 8];
        let (chunks, _) = bytes.as_chunks_mut::<8>();
        let fields = fields.into_iter().map(u64::to_le_bytes);
        let fields = fields.chain([self.expiry_checked_at.to_le_bytes()]);
        for (chunk, field) in chunks.iter_mut().zip(fields) {
            *chunk = field;
        }
        bytes
    }
}

/// Writes a file.
pub(super) struct Writer<W> {
    to: W,
    header: Checksum,
    written: u64,
    blocks: u64,
    tokens: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(mut to: W, header: &Header) -> std::io::Result<Self> {
        let (bytes, header) = header.encode();
        to.write_all(&bytes)?;
        Ok(Self {
            to,
            header,
            written: HEADER as u64,
            blocks: 0,
            tokens: 0,
        })
    }

    /// Writes a block with a number of tokens.
    pub(super) fn block(&mut self, tokens: u32, bytes: &[u8]) -> std::io::Result<()> {
        let mut head = [0; BLOCK_HEADER];
        let len = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
        head[..4].copy_from_slice(&len.to_le_bytes());
        head[4..].copy_from_slice(&tokens.to_le_bytes());
        let checksum = checksum(&self.header, self.blocks, &[&head, bytes]);
        for part in [&head[..], bytes, &checksum] {
            self.to.write_all(part)?;
            self.written += part.len() as u64;
        }
        self.blocks += 1;
        self.tokens += u64::from(tokens);
        Ok(())
    }

    /// Writes the tables and the trailer. Returns the number of tokens and bytes.
    pub(super) fn finish(
        mut self,
        tables: &[u8],
        expiry_checked_at: i64,
    ) -> std::io::Result<(u64, u64)> {
        let trailer = Trailer {
            tables_at: self.written,
            blocks: self.blocks,
            tokens: self.tokens,
            expiry_checked_at,
        };
        let of_tables = checksum(&self.header, TABLES, &[tables]);
        let fields = trailer.fields();
        let of_trailer = checksum(&self.header, END, &[&of_tables, &fields]);
        for part in [tables, &of_tables, &fields, &of_trailer] {
            self.to.write_all(part)?;
            self.written += part.len() as u64;
        }
        Ok((self.tokens, self.written))
    }
}

/// Reads the blocks of a file, one after another.
#[derive(Debug)]
pub(super) struct Blocks {
    file: File,
    at: u64,
    number: u64,
    trailer: Trailer,
    tokens: u64,
}

/// A block that was read, and is yet to be checked.
#[derive(Debug, Default)]
pub(super) struct Block {
    number: u64,
    bytes: Vec<u8>,
}

/// What checks a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checker(Checksum);

/// The parts of a file apart from its blocks.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) header: Header,
    pub(super) trailer: Trailer,
    pub(super) tables: Vec<u8>,
    pub(super) checker: Checker,
    pub(super) blocks: Blocks,
}

impl Parts {
    /// Reads and checks everything but the blocks.
    pub(super) fn read(mut file: File) -> Result<Self, Unusable> {
        let len = file.metadata()?.len();
        if len < (HEADER + CHECKSUM + TRAILER) as u64 {
            let mut magic = Vec::new();
            (&mut file)
                .take(MAGIC.len() as u64)
                .read_to_end(&mut magic)?;
            return Err(match MAGIC.starts_with(&magic) {
                true => Unusable::Damaged,
                false => Unusable::NotASnapshot,
            });
        }
        let mut header = [0; HEADER];
        file.read_exact(&mut header)?;
        let (header, of_header) = Header::decode(&header)?;
        let trailer_at = len - TRAILER as u64;
        file.seek(SeekFrom::Start(trailer_at))?;
        let mut bytes = [0; TRAILER];
        file.read_exact(&mut bytes)?;
        let mut input = Input::new(&bytes);
        let trailer = Trailer {
            tables_at: input.u64()?,
            blocks: input.u64()?,
            tokens: input.u64()?,
            expiry_checked_at: input.i64()?,
        };
        let of_trailer: Checksum = input.array()?;
        let tables_end = trailer_at - CHECKSUM as u64;
        if trailer.tables_at < HEADER as u64 || trailer.tables_at > tables_end {
            return Err(Unusable::Damaged);
        }
        file.seek(SeekFrom::Start(trailer.tables_at))?;
        let mut tables = Vec::new();
        let tables_len = trailer_at - trailer.tables_at;
        (&mut file).take(tables_len).read_to_end(&mut tables)?;
        let of_tables = tables.split_off(tables.len().saturating_sub(CHECKSUM));
        let is_sound = of_tables == checksum(&of_header, TABLES, &[&tables])
            && of_trailer == checksum(&of_header, END, &[&of_tables, &trailer.fields()]);
        if !is_sound {
            return Err(Unusable::Damaged);
        }
        file.seek(SeekFrom::Start(HEADER as u64))?;
        Ok(Self {
            header,
            trailer,
            tables,
            checker: Checker(of_header),
            blocks: Blocks {
                file,
                at: HEADER as u64,
                number: 0,
                trailer,
                tokens: 0,
            },
        })
    }
}

impl Blocks {
    /// Reads the next block. Returns `false` after the last one.
    pub(super) fn read(&mut self, block: &mut Block) -> Result<bool, Unusable> {
        if self.number == self.trailer.blocks {
            let is_all = self.at == self.trailer.tables_at && self.tokens == self.trailer.tokens;
            return is_all.then_some(false).ok_or(Unusable::Damaged);
        }
        let mut head = [0; BLOCK_HEADER];
        self.file.read_exact(&mut head)?;
        let mut input = Input::new(&head);
        let (len, tokens) = (input.u32()? as usize, input.u32()?);
        let rest = len + CHECKSUM;
        if len > MAX_BLOCK {
            return Err(Unusable::Damaged);
        }
        block.number = self.number;
        block.bytes.resize(BLOCK_HEADER + rest, 0);
        block.bytes[..BLOCK_HEADER].copy_from_slice(&head);
        self.file.read_exact(&mut block.bytes[BLOCK_HEADER..])?;
        self.number += 1;
        self.at += (BLOCK_HEADER + rest) as u64;
        self.tokens += u64::from(tokens);
        Ok(true)
    }
}

impl Block {
    /// Returns the number of tokens and their bytes, if the checksum is right.
    pub(super) fn check(&self, checker: Checker) -> Result<(u32, &[u8]), Unusable> {
        let (bytes, sum) = self
            .bytes
            .split_last_chunk::<CHECKSUM>()
            .ok_or(Unusable::Damaged)?;
        if checksum(&checker.0, self.number, &[bytes]) != *sum {
            return Err(Unusable::Damaged);
        }
        let mut input = Input::new(bytes);
        input.u32()?;
        let tokens = input.u32()?;
        Ok((tokens, &bytes[BLOCK_HEADER..]))
    }
}
