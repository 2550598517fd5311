//! How many operations a change claims, counted without decoding it.
//!
//! automerge 0.12 learns the number of operations only by making each of them, and its columns are run-length encoded: 70 bytes can
//! claim 2^60 operations, or one operation with 2^60 predecessors, and decoding them would stop the store's thread for ever or take
//! all memory. A compressed change can unfold to a thousand times its size. So the lengths of the runs are added up before automerge
//! sees the bytes.
//!
//! The format: <https://automerge.org/automerge-binary-format-spec/>, sections "Chunk", "Change chunk" and "Column storage".

use super::Rejection;
use crate::limits::OPERATIONS_PER_CHANGE_MAX;

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
/// The chunk is an uncompressed change: what [`automerge::Change::raw_bytes`] gives.
const CHANGE_CHUNK: u8 = 1;
/// Flag of a column that is compressed; changes have none.
const COMPRESSED_COLUMN: u64 = 8;

/// Refuses a change of which a column has more entries than a change may have operations.
///
/// # Errors
/// [`Rejection::TooManyOperations`], or [`Rejection::Malformed`] when the bytes are not one uncompressed change.
pub(super) fn check(change: &[u8]) -> Result<(), Rejection> {
    let columns = columns(change).ok_or(Rejection::Malformed)?;
    for (specification, data) in columns {
        let entries = entries(specification, data).ok_or(Rejection::Malformed)?;
        if entries > OPERATIONS_PER_CHANGE_MAX as u64 {
            return Err(Rejection::TooManyOperations);
        }
    }
    Ok(())
}

/// The columns of a change, each with its specification (id, compression flag and type).
fn columns(change: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut reader = Reader(change);
    let is_change = reader.take(4)? == MAGIC && reader.take(4).is_some() && reader.take(1)? == [CHANGE_CHUNK];
    if !is_change || reader.unsigned()? != reader.0.len() as u64 {
        return None;
    }
    let dependencies = reader.unsigned()?;
    reader.take(dependencies.checked_mul(32)?)?;
    reader.bytes()?; // the actor
    reader.unsigned()?; // its sequence number
    reader.unsigned()?; // the counter of the first operation
    reader.signed()?; // the time
    reader.bytes()?; // the message
    for _ in 0..reader.unsigned()? {
        reader.bytes()?; // another actor
    }
    let mut lengths = Vec::new();
    for _ in 0..reader.unsigned()? {
        lengths.push((reader.unsigned()?, reader.unsigned()?));
    }
    lengths
        .into_iter()
        .map(|(specification, length)| Some((specification, reader.take(length)?)))
        .collect()
}

/// How many entries a column has. The counts saturate: a hostile one may claim more than there are numbers.
fn entries(specification: u64, data: &[u8]) -> Option<u64> {
    if specification & COMPRESSED_COLUMN != 0 {
        return None;
    }
    let mut reader = Reader(data);
    let mut entries = 0_u64;
    let kind = specification & 7;
    // Raw bytes of values: bounded by the length of the change.
    if kind == 7 {
        return Some(0);
    }
    while !reader.0.is_empty() {
        // Booleans: lengths of the runs alone, of one value and the other in turn.
        if kind == 4 {
            entries = entries.saturating_add(reader.unsigned()?);
            continue;
        }
        let value = |reader: &mut Reader| match kind {
            3 => reader.signed().map(drop),
            5 => reader.bytes().map(drop),
            _ => reader.unsigned().map(drop),
        };
        let run = reader.signed()?;
        let length = match run {
            0 => reader.unsigned()?, // of absent values
            1.. => {
                value(&mut reader)?;
                run.unsigned_abs()
            }
            // Single values one after the other: they end with the data, whatever their number.
            _ => {
                for _ in 0..run.unsigned_abs() {
                    value(&mut reader)?;
                }
                run.unsigned_abs()
            }
        };
        entries = entries.saturating_add(length);
    }
    Some(entries)
}

/// Reads from the front of what is left; `None` when that is too short.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    /// A length, and as many bytes.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.unsigned()?;
        self.take(length)
    }

    /// The bits of a LEB128 number and how many they are; longer ones than 64 bits take are refused.
    fn bits(&mut self) -> Option<(u64, u32)> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            // The tenth byte has room for the last bit, and its copies where there is a sign.
            if shift == 63 && !matches!(byte, 0 | 1 | 0x7f) {
                return None;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((number, shift + 7));
            }
        }
        None
    }

    fn unsigned(&mut self) -> Option<u64> {
        Some(self.bits()?.0)
    }

    fn signed(&mut self) -> Option<i64> {
        let (number, bits) = self.bits()?;
        let unused = 64_u32.saturating_sub(bits);
        // Shifted up and back: the sign fills the bits that were not there.
        Some((number.cast_signed() << unused) >> unused)
    }
}

#[cfg(test)]
mod tests {
    use automerge::Change;

    use super::*;

    fn unsigned(mut number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number > 0x7f {
            bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }

    /// A positive number as a signed one: with room for the sign.
    fn run(length: u64, value: &[u8]) -> Vec<u8> {
        let mut bytes = unsigned(length);
        if bytes.last().is_some_and(|last| last & 0x40 != 0) {
            *bytes.last_mut().unwrap() |= 0x80;
            bytes.push(0);
        }
        bytes.extend(value);
        bytes
    }

    /// A change that sets the key `a` of the root as often as told, with as many predecessors each.
    fn change(operations: u64, predecessors: u64) -> Vec<u8> {
        let all = operations.saturating_mul(predecessors);
        let columns = [
            (0x15, run(operations, b"\x01a")),
            (0x34, unsigned(operations)),
            (0x42, run(operations, &[1])),
            (0x56, run(operations, &[0])),
            (0x70, run(operations, &unsigned(predecessors))),
            (0x71, run(all, &[0])),
            (0x73, run(all, &[1])),
        ];
        let columns: Vec<_> = columns.into_iter().filter(|(_, data)| data[0] != 0).collect();
        let mut body = [&[0, 16][..], &[1; 16], &[1, 1, 0, 0, 0, columns.len() as u8]].concat();
        for (specification, data) in &columns {
            body.extend(unsigned(*specification));
            body.extend(unsigned(data.len() as u64));
        }
        columns.iter().for_each(|(_, data)| body.extend(data));
        [
            &MAGIC[..],
            &[0; 4],
            &[CHANGE_CHUNK],
            &unsigned(body.len() as u64),
            &body,
        ]
        .concat()
    }

    #[test]
    fn the_count_is_automerges() {
        for operations in [2, 63, 64, 127, 128, 5000, 10_000] {
            let change = change(operations, 0);
            assert_eq!(check(&change), Ok(()), "{operations}");
            assert_eq!(Change::from_bytes(change).unwrap().len() as u64, operations);
        }
    }

    #[test]
    fn a_small_change_that_claims_too_much_is_refused_before_it_is_decoded() {
        for exponent in 14..62 {
            let bombs = [
                change(1 << exponent, 0),
                change(1, 1 << exponent),
                change(2, 1 << exponent),
            ];
            for bomb in bombs {
                assert!(bomb.len() < 130);
                assert_eq!(check(&bomb), Err(Rejection::TooManyOperations), "2^{exponent}");
            }
        }
        assert_eq!(check(&change(10_001, 0)), Err(Rejection::TooManyOperations));
    }

    #[test]
    fn what_is_not_an_uncompressed_change_is_refused() {
        let whole = change(3, 0);
        for length in 0..whole.len() {
            assert_eq!(check(&whole[..length]), Err(Rejection::Malformed), "cut at {length}");
        }
        let mut compressed = whole.clone();
        compressed[8] = 2;
        assert_eq!(check(&compressed), Err(Rejection::Malformed));
        let mut column = whole.clone();
        let first = column.iter().position(|byte| *byte == 0x15).unwrap();
        column[first] |= COMPRESSED_COLUMN as u8;
        assert_eq!(check(&column), Err(Rejection::Malformed));
        assert_eq!(check(&[whole, vec![0]].concat()), Err(Rejection::Malformed));
    }
}
