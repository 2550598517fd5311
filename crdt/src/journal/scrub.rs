//! Reading everything again, a little at a time: what rots unread is found while other nodes still hold it.

use std::{fs::File, io};

use super::{
    Journal, JournalError, Position,
    segment::{FIRST_RECORD, io_error, segment_path, segments},
    walk::{Beginning, Step, Walk, beginning},
};

/// Where a scrub stands. A new one begins at the beginning, and so does one whose round is finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubCursor {
    /// The next byte to look at; segment 0 before the first step. Offset 0: the segment has not been looked at.
    segment: u32,
    offset: u64,
    /// Whether it lies in a damaged region that was told already.
    in_damage: bool,
    /// Counter of the journal's mark when it was set.
    counter: u64,
}

/// What one step of a scrub found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubStep {
    /// Whole records.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Where damage begins; see [`super::ScanReport::rotten`].
    pub rotten: Vec<Position>,
    /// Whether this step reached the end of the journal; the next one begins again.
    pub finished: bool,
}

impl Journal {
    /// Reads and verifies on from `cursor`, about `bytes_max` bytes (more by at most one read of half a megabyte), and moves the
    /// cursor. Segments that were rewritten since the last step are read from their beginning, removed ones are passed over.
    ///
    /// # Errors
    /// When a file cannot be read; the cursor stays.
    pub fn scrub_step(&self, cursor: &mut ScrubCursor, bytes_max: u64) -> Result<ScrubStep, JournalError> {
        let mut at = cursor.clone();
        if at.counter != self.mark.counter {
            at = ScrubCursor {
                segment: at.segment,
                ..self.first_cursor()
            };
        }
        let mut found = ScrubStep::default();
        for segment in segments(&self.directory)? {
            if segment < at.segment || segment > self.segment {
                continue;
            }
            if segment > at.segment {
                at = ScrubCursor {
                    segment,
                    ..self.first_cursor()
                };
            }
            let is_through = self
                .scrub_segment(&mut at, bytes_max, &mut found)
                .map_err(|source| io_error(&segment_path(&self.directory, segment), source))?;
            if !is_through {
                *cursor = at;
                return Ok(found);
            }
        }
        *cursor = self.first_cursor();
        found.finished = true;
        Ok(found)
    }

    fn first_cursor(&self) -> ScrubCursor {
        ScrubCursor {
            counter: self.mark.counter,
            ..ScrubCursor::default()
        }
    }

    /// Reads on in one segment; returns whether its end was reached.
    fn scrub_segment(&self, cursor: &mut ScrubCursor, bytes_max: u64, found: &mut ScrubStep) -> io::Result<bool> {
        let segment = cursor.segment;
        let file = File::open(segment_path(&self.directory, segment))?;
        let length = file.metadata()?.len();
        let limit = if segment == self.segment { self.length } else { length };
        if cursor.offset == 0 {
            cursor.offset = FIRST_RECORD;
            // A segment that became something else is damaged as a whole.
            if beginning(&file, length)? != Beginning::Whole {
                found.rotten.push(Position { segment, offset: 0 });
            }
        }
        let limit_read = limit.min(length);
        let mut walk = if cursor.in_damage {
            Walk::begin_damaged(&file, cursor.offset, limit_read)
        } else {
            Walk::begin(&file, cursor.offset, limit_read)
        }
        .reading(bytes_max);
        loop {
            let before = walk.offset();
            let step = walk.step()?;
            found.bytes += walk.offset() - before;
            match step {
                Step::Record(_) => found.records += 1,
                Step::Damage(offset) => found.rotten.push(Position { segment, offset }),
                Step::Searching => {}
                Step::End => {
                    // The end of the active segment was cut off from outside.
                    if length < limit {
                        found.rotten.push(Position {
                            segment,
                            offset: length,
                        });
                    }
                    return Ok(true);
                }
            }
            if found.bytes >= bytes_max {
                (cursor.offset, cursor.in_damage) = (walk.offset(), walk.in_damage());
                return Ok(false);
            }
        }
    }
}
