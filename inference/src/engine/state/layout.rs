//! How llama.cpp lays out the state of one sequence: pure. What is known of it is learned from a state of our own engine, and a state that
//! came from elsewhere must be laid out in the same way, before llama.cpp's parser sees it.
//!
//! | bytes | what |
//! |---|---|
//! | 4, 4, 4 | magic, number of the sequence (not read), streams |
//! | for each stream: 4 | its cells; nothing more where there are none |
//! | for each cell: 4, 4, 4 | position, 1, number of the sequence (not read) |
//! | 4, 4, 4, 4 | whether values are transposed, layers, rotations of keys and of values |
//! | for each layer: 12, and the cells' | type and size of the keys; the keys |
//! | for each layer: 12, and the cells' | the same of the values |

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

use super::StateError;

/// Streams of a context: one for each sequence, of which there are at most 64 slots and a few cards.
const STREAMS_MAX: u32 = 256;
/// Layers of a model.
const LAYERS_MAX: u32 = 1024;

/// A field of a state that can differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Field {
    /// Magic and number of streams.
    Head,
    /// Number of cells, and in how many streams they are.
    Cells,
    /// Positions: each exactly once.
    Positions,
    /// Transposition, number of layers, rotations.
    Tensors,
    /// Type or size of a layer's keys or values.
    Rows,
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Head => "magic or streams",
            Self::Cells => "cells",
            Self::Positions => "positions",
            Self::Tensors => "tensors",
            Self::Rows => "types or sizes of keys and values",
        })
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    magic: u32,
    streams: u32,
    tensors: [u8; 16],
    /// Of keys and then of values, layer by layer: what stands before them, and bytes for each cell.
    rows: Vec<([u8; 12], u64)>,
}

/// Bytes from the first to the last.
struct Reader<'bytes>(&'bytes [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_ne_bytes)
    }

    fn skip(&mut self, bytes: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }
}

/// Bytes for each cell behind such a head: rows have a type and a size of 8 bytes, transposed values a type, the size of an element and how
/// many there are.
fn row_bytes(head: [u8; 12], is_transposed: bool) -> u64 {
    let [_, _, _, _, a, b, c, d, e, f, g, h] = head;
    if is_transposed {
        let (element, count) = (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]));
        u64::from(element) * u64::from(count)
    } else {
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }
}

impl Layout {
    /// Learned from a state of our own with one cell, at position 0. Nothing where the model's state is laid out in another way.
    pub(crate) fn learn(state: &[u8]) -> Option<Self> {
        let mut reader = Reader(state);
        let magic = reader.number()?;
        reader.number()?;
        let streams = reader.number().filter(|streams| (1..=STREAMS_MAX).contains(streams))?;
        let mut learned = None;
        for _ in 0..streams {
            match reader.number()? {
                0 => {}
                1 if learned.is_none() => learned = Some(Self::learn_rows(&mut reader, streams)?),
                _ => return None,
            }
        }
        let (tensors, rows) = learned?;
        reader.0.is_empty().then_some(Self {
            magic,
            streams,
            tensors,
            rows,
        })
    }

    #[expect(clippy::type_complexity, reason = "two fields of the layout, as they are read")]
    fn learn_rows(reader: &mut Reader<'_>, streams: u32) -> Option<([u8; 16], Vec<([u8; 12], u64)>)> {
        let (position, sequences) = (reader.number()?, reader.number()?);
        reader.number()?;
        if (position, sequences) != (0, 1) {
            return None;
        }
        let tensors: [u8; 16] = reader.take()?;
        let mut parts = Reader(&tensors);
        let (transposed, layers) = (parts.number()?, parts.number()?);
        if transposed > 1 || !(1..=LAYERS_MAX).contains(&layers) {
            return None;
        }
        let mut rows = Vec::new();
        for layer in 0..2 * layers {
            // A model without values ends here; then only the counts of streams follow, each 0.
            let left = reader.0.len() as u64;
            if layer >= layers && left < 12 && left <= u64::from(streams) * 4 {
                break;
            }
            let head = reader.take()?;
            let bytes = row_bytes(head, layer >= layers && transposed == 1);
            reader.skip(bytes)?;
            rows.push((head, bytes));
        }
        Some((tensors, rows))
    }

    /// Bytes of a state besides its cells.
    pub(crate) fn fixed_bytes(&self) -> u64 {
        12 + 4 * u64::from(self.streams) + 16 + 12 * self.rows.len() as u64
    }

    /// Bytes of a state for each cell.
    pub(crate) fn cell_bytes(&self) -> u64 {
        let rows = self.rows.iter().map(|(_, bytes)| *bytes);
        12 + rows.fold(0, u64::saturating_add)
    }

    /// Hash of it, and of what else in the engine process must match: the kind of processor, and whether a graphics card computes.
    pub(crate) fn digest(&self, has_gpu: bool) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("starling kv layout 1");
        hasher.update(std::env::consts::ARCH.as_bytes());
        hasher.update(&[u8::from(has_gpu), u8::from(cfg!(target_endian = "big"))]);
        for number in [self.magic, self.streams] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(&self.tensors);
        for (head, _) in &self.rows {
            hasher.update(head);
        }
        *hasher.finalize().as_bytes()
    }

    /// Whether a state is laid out like this and has exactly these positions, each once. What it says of itself is not believed anywhere: what is
    /// read is compared with what is known.
    ///
    /// # Errors
    /// With the first thing that differs.
    pub(crate) fn check(&self, state: &[u8], positions: Range<u32>) -> Result<(), StateError> {
        let cells = positions.len() as u64;
        let expected = self
            .cell_bytes()
            .saturating_mul(cells)
            .saturating_add(self.fixed_bytes());
        let bytes = state.len() as u64;
        if cells == 0 || bytes != expected {
            return Err(StateError::Length { bytes, expected });
        }
        self.compare(&mut Reader(state), positions).map_err(StateError::Layout)
    }

    fn compare(&self, reader: &mut Reader<'_>, positions: Range<u32>) -> Result<(), Field> {
        let magic = reader.number();
        reader.number();
        if (magic, reader.number()) != (Some(self.magic), Some(self.streams)) {
            return Err(Field::Head);
        }
        let mut is_found = false;
        for _ in 0..self.streams {
            match reader.number() {
                Some(0) => {}
                Some(cells) if !is_found && cells as usize == positions.len() => {
                    is_found = true;
                    self.compare_cells(reader, &positions)?;
                }
                _ => return Err(Field::Cells),
            }
        }
        if !is_found || !reader.0.is_empty() {
            return Err(Field::Cells);
        }
        Ok(())
    }

    fn compare_cells(&self, reader: &mut Reader<'_>, positions: &Range<u32>) -> Result<(), Field> {
        let mut is_there = vec![false; positions.len()];
        for _ in 0..positions.len() {
            let position = reader.number().ok_or(Field::Positions)?;
            let sequences = reader.number();
            reader.number().ok_or(Field::Positions)?;
            let index = position.checked_sub(positions.start).ok_or(Field::Positions)? as usize;
            let is_new = is_there
                .get_mut(index)
                .is_some_and(|known| !std::mem::replace(known, true));
            if !is_new || sequences != Some(1) {
                return Err(Field::Positions);
            }
        }
        if reader.take() != Some(self.tensors) {
            return Err(Field::Tensors);
        }
        for (head, bytes) in &self.rows {
            if reader.take() != Some(*head) {
                return Err(Field::Rows);
            }
            let all = bytes.saturating_mul(positions.len() as u64);
            reader.skip(all).ok_or(Field::Rows)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state as llama.cpp writes it: of two layers, with keys of 6 and values of 4 bytes a cell, in the second of so many streams.
    fn state(streams: u32, positions: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |numbers: &[u32]| numbers.iter().for_each(|number| bytes.extend(number.to_ne_bytes()));
        put(&[0x5eed, 7, streams]);
        let full = streams.min(2) - 1;
        put(&vec![0; full as usize]);
        put(&[positions.len() as u32]);
        for position in positions {
            put(&[*position, 1, 7]);
        }
        put(&[0, 2, 0, 0]);
        for row in [6u64, 6, 4, 4] {
            bytes.extend(1i32.to_ne_bytes());
            bytes.extend(row.to_ne_bytes());
            bytes.extend(vec![0xaa; row as usize * positions.len()]);
        }
        bytes.extend(vec![0; 4 * (streams - 1 - full) as usize]);
        bytes
    }

    #[test]
    fn what_is_learned_from_one_cell_tells_the_others() {
        for streams in [1, 2, 6] {
            let layout = Layout::learn(&state(streams, &[0])).unwrap();
            let whole = state(streams, &[5, 3, 4]);
            assert_eq!(layout.fixed_bytes() + 3 * layout.cell_bytes(), whole.len() as u64);
            assert_eq!(layout.check(&whole, 3..6), Ok(()));
            let other = Layout::learn(&state(streams + 1, &[0])).unwrap();
            assert_ne!(layout.digest(false), other.digest(false));
            assert_ne!(layout.digest(false), layout.digest(true));
            assert!(other.check(&whole, 3..6).is_err());
        }
        for strange in [
            state(1, &[1]),
            state(1, &[0, 1]),
            state(1, &[0])[..60].to_vec(),
            Vec::new(),
        ] {
            assert_eq!(Layout::learn(&strange), None);
        }
    }

    #[test]
    fn a_state_that_is_cut_or_says_something_else_is_refused() {
        let layout = Layout::learn(&state(2, &[0])).unwrap();
        let whole = state(2, &[3, 4, 5]);
        for length in 0..whole.len() {
            let cut = layout.check(&whole[..length], 3..6);
            assert!(matches!(cut, Err(StateError::Length { .. })), "{length}: {cut:?}");
        }
        for positions in [3..5, 2..6, 4..7, 3..3] {
            assert!(layout.check(&whole, positions).is_err());
        }
        assert_eq!(
            layout.check(&state(2, &[3, 3, 5]), 3..6),
            Err(StateError::Layout(Field::Positions))
        );
        // Whatever byte is changed: it is refused, or it is a number of the tensors or the sequence's, which nobody reads.
        let mut free = 0;
        for index in 0..whole.len() {
            let mut changed = whole.clone();
            changed[index] ^= 0x40;
            free += usize::from(layout.check(&changed, 3..6).is_ok());
        }
        assert_eq!(free, 3 * (6 + 6 + 4 + 4) + 4 + 3 * 4);
    }
}
