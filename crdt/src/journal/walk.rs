//! Walking over the records of one segment, also where it is damaged, with bounded memory and work.
//!
//! A record that does not match its hash, or whose length is impossible, begins a damaged region. The records behind it are found
//! again by looking at every offset for a header whose body matches its hash. Hashing wherever a length looks possible could take
//! hours in 64 MiB of the wrong bytes, so an offset is hashed only when its hash field looks like a hash, and all hashing in a
//! segment together stays within a fixed multiple of the bytes searched. Hostile bytes can use that up and hide a few kilobytes of
//! records behind them (they come again from other nodes); they cannot hide more, and they cannot stop the walk.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt};

use super::segment::{FIRST_RECORD, Header, MAGIC, RECORD_HEADER};
use crate::limits::{RECORD_BYTES_MAX, SEARCH_HASH_BYTES_START, SEARCH_HASHED_PER_BYTE};

/// Bytes read from disk at once.
const WINDOW_BYTES: usize = 512 * 1024;
/// Bytes read at once where the disk refuses larger reads: the unit in which disks lose data.
const SECTOR_BYTES: usize = 4096;
/// The largest record and the length of the one behind it: what the search must see from an offset on.
const SEARCH_MARGIN: usize = RECORD_HEADER as usize + RECORD_BYTES_MAX + 4;
/// `EIO`: the disk cannot read these bytes.
const UNREADABLE: i32 = 5;

/// Where bytes come from; a file, or in tests a disk with bad sectors.
pub(super) trait ReadAt {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }
}

/// What the walk came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A whole record at this offset; its body is in [`Walk::body`].
    Record(u64),
    /// From this offset on something is damaged. It may have been several records; the next [`Step::Record`] ends it.
    Damage(u64),
    /// A part of a damaged region was searched in vain.
    Searching,
    /// Everything up to the limit has been seen.
    End,
}

/// How a segment begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// As it should.
    Whole,
    /// Its first bytes are damaged.
    Damaged,
    /// It belongs to something else, or to another version of this program.
    Foreign,
}

/// Reads the first bytes of a segment that is `limit` bytes long.
pub(super) fn beginning(source: &impl ReadAt, limit: u64) -> io::Result<Beginning> {
    let mut first = [0; MAGIC.len()];
    if limit < FIRST_RECORD {
        return Ok(Beginning::Damaged);
    }
    read_or_zeros(source, &mut first, 0)?;
    if &first == MAGIC {
        return Ok(Beginning::Whole);
    }
    let version = MAGIC.len() - 1;
    if first[..version] == MAGIC[..version] {
        return Ok(Beginning::Foreign);
    }
    // A flipped bit must not cost a segment: whole records in it show whose it is. Zeros belong to nobody, and where nothing follows,
    // nothing can be spoilt.
    let mut walk = Walk::begin_damaged(source, FIRST_RECORD, limit);
    let is_ours = first == [0; MAGIC.len()] || limit == FIRST_RECORD || walk.has_record()?;
    Ok(if is_ours {
        Beginning::Damaged
    } else {
        Beginning::Foreign
    })
}

/// A walk over the records from an offset up to a limit. It can be put aside as ([`Walk::offset`], [`Walk::in_damage`]) and taken
/// up again.
pub(super) struct Walk<'a, R> {
    source: &'a R,
    /// Bytes from here on are not looked at.
    limit: u64,
    offset: u64,
    in_damage: bool,
    /// Whether the record at which the last damage begins has a possible length and ends within the limit.
    damage_fits: bool,
    /// Bytes that may still be hashed while searching.
    allowance: u64,
    /// Bytes read from the source at once.
    window_bytes: usize,
    /// Bytes of the source from `window_start` on.
    window: Vec<u8>,
    window_start: u64,
    body: Range<usize>,
}

impl<'a, R: ReadAt> Walk<'a, R> {
    pub(super) fn begin(source: &'a R, offset: u64, limit: u64) -> Self {
        Self {
            source,
            limit,
            offset,
            in_damage: false,
            damage_fits: false,
            allowance: SEARCH_HASH_BYTES_START,
            window_bytes: WINDOW_BYTES,
            window: Vec::new(),
            window_start: 0,
            body: 0..0,
        }
    }

    /// Goes on inside a damaged region that was told already.
    pub(super) fn begin_damaged(source: &'a R, offset: u64, limit: u64) -> Self {
        Self {
            in_damage: true,
            ..Self::begin(source, offset, limit)
        }
    }

    /// Reads no more at once than about `bytes`, for a walk that ends there.
    pub(super) fn reading(mut self, bytes: u64) -> Self {
        self.window_bytes = usize::try_from(bytes).map_or(WINDOW_BYTES, |bytes| bytes.min(WINDOW_BYTES));
        self
    }

    /// Where the next record begins, or the search goes on.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn in_damage(&self) -> bool {
        self.in_damage
    }

    pub(super) fn damage_fits(&self) -> bool {
        self.damage_fits
    }

    /// The body of the record that was found last.
    pub(super) fn body(&self) -> &[u8] {
        &self.window[self.body.clone()]
    }

    /// Goes on to the next record, the next damage, or a good part of a search further.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        if self.offset >= self.limit {
            return Ok(Step::End);
        }
        if self.in_damage {
            return self.search();
        }
        let offset = self.offset;
        let mut start = self.load(offset, RECORD_HEADER as usize, self.window_bytes)?;
        if let Some(header) = Header::parse(&self.window[start..]).filter(Header::is_possible) {
            start = self.load(offset, RECORD_HEADER as usize + header.size, self.window_bytes)?;
        }
        match record(&self.window[start..]) {
            Some((header, body)) if header.matches(body) => Ok(self.found(offset, start, &header)),
            other => {
                self.damage_fits = other.is_some();
                self.in_damage = true;
                self.offset += 1;
                Ok(Step::Damage(offset))
            }
        }
    }

    fn found(&mut self, offset: u64, start: usize, header: &Header) -> Step {
        let body = start + RECORD_HEADER as usize;
        self.body = body..body + header.size;
        self.offset = offset + RECORD_HEADER + header.size as u64;
        self.in_damage = false;
        Step::Record(offset)
    }

    /// Looks for the next record in one window.
    fn search(&mut self) -> io::Result<Step> {
        let from = self.offset;
        let start = self.load(from, SEARCH_MARGIN + 1, WINDOW_BYTES)?;
        // A record that begins in the last part of a full window may end outside it: that part belongs to the next window.
        let reaches_limit = self.window_start + self.window.len() as u64 >= self.limit;
        let margin = if reaches_limit { 0 } else { SEARCH_MARGIN };
        let end = self.window.len() - margin;
        for at in start..end {
            self.allowance += SEARCH_HASHED_PER_BYTE;
            let Some((header, body)) = candidate(&self.window[at..]) else {
                continue;
            };
            // Half of the first allowance is kept for candidates that another header seems to follow. Without that, the three bytes
            // before a header would use it up: together with its first byte, they look like the header of a longer record.
            let reserve = if is_followed(&self.window[at..], &header) {
                0
            } else {
                SEARCH_HASH_BYTES_START / 2
            };
            let size = header.size as u64;
            if size + reserve > self.allowance {
                continue;
            }
            self.allowance -= size;
            if header.matches(body) {
                return Ok(self.found(from + (at - start) as u64, at, &header));
            }
        }
        self.offset = from + (end - start) as u64;
        Ok(Step::Searching)
    }

    fn has_record(&mut self) -> io::Result<bool> {
        loop {
            match self.step()? {
                Step::Record(_) => return Ok(true),
                Step::End => return Ok(false),
                Step::Damage(_) | Step::Searching => {}
            }
        }
    }

    /// Makes the window hold `wanted` bytes from `offset` on, or all up to the limit; returns where they begin in it. If it must
    /// read, it reads `read` bytes.
    fn load(&mut self, offset: u64, wanted: usize, read: usize) -> io::Result<usize> {
        let end = (offset + wanted as u64).min(self.limit);
        let window_end = self.window_start + self.window.len() as u64;
        if offset < self.window_start || end > window_end || self.window.is_empty() {
            let left = usize::try_from(self.limit - offset).unwrap_or(usize::MAX);
            // What the window still holds is read again: simpler than moving it, and at most a third of the reading.
            self.window.resize(left.min(read.max(wanted)), 0);
            self.window_start = offset;
            read_or_zeros(self.source, &mut self.window, offset)?;
        }
        Ok(usize::try_from(offset - self.window_start).unwrap_or(0))
    }
}

/// A header with a possible length, and the body behind it.
fn record(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let header = Header::parse(bytes).filter(Header::is_possible)?;
    let body = bytes[RECORD_HEADER as usize..].get(..header.size)?;
    Some((header, body))
}

/// What may be a record where one is looked for. An empty one would be found in any run of zeros with a lucky hash; none is ever
/// written.
fn candidate(bytes: &[u8]) -> Option<(Header, &[u8])> {
    // The upper bytes of the length: almost every offset is done with after this.
    if !matches!(bytes, [_, _, 0..=2, 0, ..]) {
        return None;
    }
    record(bytes).filter(|(header, _)| header.size > 0 && header.looks_hashed())
}

/// Whether this record would end where the segment does, or where another seems to begin.
fn is_followed(bytes: &[u8], header: &Header) -> bool {
    let behind = &bytes[RECORD_HEADER as usize + header.size..];
    match behind.first_chunk::<4>() {
        Some(size) => (1..=RECORD_BYTES_MAX).contains(&(u32::from_le_bytes(*size) as usize)),
        None => behind.is_empty(),
    }
}

/// Reads bytes; those that the disk cannot read any more are zeros, so that they count as damaged and what is around them is kept.
fn read_or_zeros(source: &impl ReadAt, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    let is_unreadable = |error: &io::Error| error.raw_os_error() == Some(UNREADABLE);
    match source.read_at(bytes, offset) {
        Err(error) if is_unreadable(&error) => {}
        other => return other,
    }
    // Whole sectors, so that one bad sector costs no byte of its neighbours.
    let mut done = 0;
    while done < bytes.len() {
        let at = offset + done as u64;
        let to_boundary = SECTOR_BYTES - (at % SECTOR_BYTES as u64) as usize;
        let part = to_boundary.min(bytes.len() - done);
        let sector = &mut bytes[done..done + part];
        match source.read_at(sector, at) {
            Err(error) if is_unreadable(&error) => sector.fill(0),
            other => other?,
        }
        done += part;
    }
    Ok(())
}
