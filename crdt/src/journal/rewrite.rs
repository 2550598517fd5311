//! Rewriting segments: the only way in which records leave the journal. For erasure and compaction.
//!
//! What is kept is first written beside the segments (`NNNNNNNN.new`) and synced; until then nothing has changed. Then the files
//! take the segments' places one after the other, ascending. Records of neighbouring segments are packed together, and only ever
//! move to lower numbers, so at every moment each kept record is in at least one segment; after a crash in between it may be in
//! two, and what was to be dropped may still be there: whoever erases checks at start and erases again.

use std::{
    collections::{BTreeSet, VecDeque},
    fs::{self, File, OpenOptions},
    io::{BufWriter, Write},
};

use super::{
    Journal, JournalError, Position,
    mark::Mark,
    next_segment,
    segment::{self, FIRST_RECORD, MAGIC, before_change, io_error, new_path, segment_path, sync_directory, wipe},
    walk::{Beginning, Step, Walk, beginning},
};

/// What becomes of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// It stays as it is.
    Keep,
    /// It goes.
    Drop,
    /// This takes its place: not empty, at most [`crate::limits::RECORD_BYTES_MAX`].
    Replace(Vec<u8>),
}

/// What a rewrite did. Positions in these segments that are not in `moved` hold nothing any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Where each kept or replaced record stood and where it stands now, in the order of the old positions.
    pub moved: Vec<(Position, Position)>,
    /// Where the dropped records stood.
    pub dropped: Vec<Position>,
    /// Where damage began that is not in the new segments; see [`super::ScanReport::rotten`].
    pub rotten: Vec<Position>,
    /// Bytes of the segments before.
    pub bytes_before: u64,
    /// Bytes of what is left of them.
    pub bytes_after: u64,
}

impl Journal {
    /// Writes `segments` anew with what `decide` keeps of them; numbers that are not there are passed over. What the records stood
    /// in before is overwritten with zeros, as far as the disk lets programs do that. Appends go on in a new segment.
    ///
    /// # Errors
    /// [`JournalError::Halted`] when replacing failed halfway: the journal must be opened again, and the index built anew (which
    /// [`Journal::reaches`] then says). After any other error everything stands where it stood.
    pub fn rewrite(
        &mut self,
        segments: &BTreeSet<u32>,
        decide: &mut dyn FnMut(Position, &[u8]) -> Rewrite,
    ) -> Result<Rewritten, JournalError> {
        self.check_usable()?;
        let present = segment::segments(&self.directory)?;
        let present: Vec<u32> = present.into_iter().filter(|segment| *segment <= self.segment).collect();
        if !present.iter().any(|segment| segments.contains(segment)) {
            return Ok(Rewritten::default());
        }
        let end = self.end();
        // Not only when the active segment is rewritten: no checkpoint of before may reach where this one begins (`mark`).
        self.begin_segment(next_segment(end.segment)?)?;
        let mut plan = Plan {
            journal: self,
            end,
            result: Rewritten::default(),
            sources: Vec::new(),
            targets: BTreeSet::new(),
            output: None,
        };
        let planned = plan.fill(segments, &present, decide);
        let Plan {
            result,
            sources,
            targets,
            ..
        } = plan;
        let marked = planned.and_then(|()| self.mark_begin());
        if let Err(error) = marked {
            for target in &targets {
                let _ = fs::remove_file(new_path(&self.directory, *target));
            }
            return Err(error);
        }
        if let Err(error) = self.install(&sources, &targets) {
            tracing::error!(%error, "a rewrite of the journal failed halfway");
            self.halted = true;
            return Err(JournalError::Halted);
        }
        Ok(result)
    }

    /// Says durably that positions before the active segment may be wrong from now on.
    fn mark_begin(&mut self) -> Result<(), JournalError> {
        let mark = Mark {
            counter: self.mark.counter.wrapping_add(1),
            boundary: self.end(),
        };
        mark.write(&self.directory)?;
        self.mark = mark;
        Ok(())
    }

    /// Puts the new files in the places of the old ones, ascending, each durably before the next.
    fn install(&mut self, sources: &[u32], targets: &BTreeSet<u32>) -> Result<(), JournalError> {
        self.readers.clear();
        for source in sources {
            let path = segment_path(&self.directory, *source);
            let error = |source| io_error(&path, source);
            before_change().map_err(error)?;
            let old = OpenOptions::new().write(true).open(&path).map_err(error)?;
            if targets.contains(source) {
                fs::rename(new_path(&self.directory, *source), &path).map_err(error)?;
            } else {
                fs::remove_file(&path).map_err(error)?;
            }
            sync_directory(&self.directory)?;
            if let Err(error) = wipe(&old) {
                tracing::warn!(%error, segment = source, "an old segment could not be overwritten");
            }
        }
        let mark = Mark {
            counter: self.mark.counter.wrapping_add(1),
            ..self.mark
        };
        mark.write(&self.directory)?;
        self.mark = mark;
        Ok(())
    }
}

/// The new files, while they are written.
struct Plan<'a> {
    journal: &'a Journal,
    /// Where the journal ended before.
    end: Position,
    result: Rewritten,
    /// Segments that are replaced or removed, ascending.
    sources: Vec<u32>,
    /// Those of them that get new content.
    targets: BTreeSet<u32>,
    output: Option<Output>,
}

struct Output {
    /// The segment whose place it takes.
    segment: u32,
    file: BufWriter<File>,
    length: u64,
}

impl Plan<'_> {
    fn fill(
        &mut self,
        wanted: &BTreeSet<u32>,
        present: &[u32],
        decide: &mut dyn FnMut(Position, &[u8]) -> Rewrite,
    ) -> Result<(), JournalError> {
        // The places that this run of neighbouring segments leaves for what it keeps.
        let mut places = VecDeque::new();
        for segment in present {
            let was_empty = *segment == self.end.segment && self.end.offset == FIRST_RECORD;
            if !wanted.contains(segment) && !was_empty {
                // Records never pass one that stays: their order is kept.
                self.finish()?;
                places.clear();
                continue;
            }
            places.push_back(*segment);
            self.sources.push(*segment);
            self.copy(*segment, &mut places, decide)?;
        }
        self.finish()
    }

    fn copy(
        &mut self,
        segment: u32,
        places: &mut VecDeque<u32>,
        decide: &mut dyn FnMut(Position, &[u8]) -> Rewrite,
    ) -> Result<(), JournalError> {
        let path = segment_path(&self.journal.directory, segment);
        let error = |source| io_error(&path, source);
        let file = File::open(&path).map_err(error)?;
        let length = file.metadata().map_err(error)?.len();
        self.result.bytes_before += length;
        let limit = if segment == self.end.segment {
            length.min(self.end.offset)
        } else {
            length
        };
        match beginning(&file, length).map_err(error)? {
            Beginning::Whole => {}
            Beginning::Damaged => self.result.rotten.push(Position { segment, offset: 0 }),
            Beginning::Foreign => return Err(JournalError::NotASegment(path)),
        }
        let mut walk = Walk::begin(&file, FIRST_RECORD, limit);
        loop {
            match walk.step().map_err(error)? {
                Step::Record(offset) => {
                    let position = Position { segment, offset };
                    match decide(position, walk.body()) {
                        Rewrite::Keep => self.keep(position, walk.body(), places)?,
                        Rewrite::Replace(body) => self.keep(position, &body, places)?,
                        Rewrite::Drop => self.result.dropped.push(position),
                    }
                }
                Step::Damage(offset) => self.result.rotten.push(Position { segment, offset }),
                Step::Searching => {}
                Step::End => return Ok(()),
            }
        }
    }

    /// Writes a record to the first place that has room for it.
    fn keep(&mut self, from: Position, body: &[u8], places: &mut VecDeque<u32>) -> Result<(), JournalError> {
        let mut record = Vec::new();
        segment::encode(body, &mut record)?;
        let has_room = self
            .output
            .as_ref()
            .is_some_and(|output| output.length + record.len() as u64 <= self.journal.segment_bytes);
        if !has_room {
            // Without a further place the last one grows over the limit: a replacement may be longer than what it replaces.
            if let Some(place) = places.pop_front() {
                self.finish()?;
                self.begin(place)?;
            }
        }
        if let Some(output) = &mut self.output {
            let error = |source| io_error(&new_path(&self.journal.directory, output.segment), source);
            output.file.write_all(&record).map_err(error)?;
            let to = Position {
                segment: output.segment,
                offset: output.length,
            };
            output.length += record.len() as u64;
            self.result.moved.push((from, to));
        }
        Ok(())
    }

    fn begin(&mut self, segment: u32) -> Result<(), JournalError> {
        let path = new_path(&self.journal.directory, segment);
        self.targets.insert(segment);
        let error = |source| io_error(&path, source);
        let created = before_change().and_then(|()| File::create(&path));
        let mut file = BufWriter::new(created.map_err(error)?);
        file.write_all(MAGIC).map_err(error)?;
        self.output = Some(Output {
            segment,
            file,
            length: FIRST_RECORD,
        });
        Ok(())
    }

    fn finish(&mut self) -> Result<(), JournalError> {
        let Some(mut output) = self.output.take() else {
            return Ok(());
        };
        self.result.bytes_after += output.length;
        let written = before_change().and_then(|()| output.file.flush());
        let synced = written.and_then(|()| output.file.get_ref().sync_all());
        synced.map_err(|source| io_error(&new_path(&self.journal.directory, output.segment), source))
    }
}
