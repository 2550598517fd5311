//! Bytes as a segment of the journal: no record is ever handed out whose hash does not match, and no damage hides a whole record
//! that stands beside it.

use std::{fs, path::Path};

use crdt::journal::{Journal, Position, ScanReport};
use tempfile::TempDir;

use crate::script::{Script, piece};

const MAGIC: &[u8] = b"STARJNL1";

/// First byte of an input: what follows is a script of steps, or the segment itself.
const SCRIPT: u8 = 0;
const VERBATIM: u8 = 1;

/// Steps of a script. A search cannot find a hash, so whole records are made here.
const RECORD: u8 = 0;
const GARBAGE: u8 = 1;
const ROTTEN: u8 = 2;
const CUT: u8 = 3;

/// A record with its place.
type Record = (Position, Vec<u8>);

pub fn run(bytes: &[u8]) {
    thread_local! {
        // In memory where the system has such a place: each input writes, scans and syncs a file.
        static DIRECTORY: TempDir = tempfile::tempdir().expect("a temporary directory");
    }
    let mut script = Script::new(bytes);
    let (segment, whole): (_, Vec<Record>) = if script.byte() % 2 == VERBATIM {
        (script.rest().to_vec(), Vec::new())
    } else {
        written(script)
    };
    DIRECTORY.with(|directory| {
        clear(directory.path());
        check(directory.path(), &segment, &whole);
    });
}

/// What a script writes, with the places of its whole records.
fn written(mut script: Script) -> (Vec<u8>, Vec<Record>) {
    let mut segment = MAGIC.to_vec();
    let mut whole = Vec::new();
    while !script.is_empty() {
        match script.byte() % 4 {
            RECORD => {
                let body = script.piece();
                // An empty record is never written.
                if !body.is_empty() {
                    let position = Position {
                        segment: 1,
                        offset: segment.len() as u64,
                    };
                    whole.push((position, body.to_vec()));
                    segment.extend(record(body));
                }
            }
            GARBAGE => segment.extend_from_slice(script.piece()),
            ROTTEN => {
                let place = script.number();
                let mut record = record(script.piece());
                let place = place % (record.len() * 8);
                record[place / 8] ^= 1 << (place % 8);
                segment.extend(record);
            }
            // A crash in the middle of a write is the last thing that a segment sees.
            _ => {
                let record = record(script.piece());
                segment.extend_from_slice(&record[..script.number() % record.len()]);
                break;
            }
        }
    }
    (segment, whole)
}

fn record(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a piece is short");
    [&length.to_le_bytes()[..], blake3::hash(body).as_bytes(), body].concat()
}

fn check(directory: &Path, segment: &[u8], whole: &[Record]) {
    let path = directory.join("00000001.log");
    fs::write(&path, segment).expect("a file can be written");
    let Some((found, report)) = open(directory) else {
        assert!(!segment.starts_with(MAGIC), "a segment was refused");
        assert_eq!(fs::read(&path).unwrap(), segment, "a foreign file was touched");
        return;
    };
    for (position, body) in &found {
        let offset = usize::try_from(position.offset).unwrap();
        assert!(
            segment[offset..].starts_with(&record(body)),
            "a record that is not in the file"
        );
    }
    for record in whole {
        assert!(
            found.contains(record),
            "a whole record is lost at {:?}: {report:?}",
            record.0
        );
    }
    assert_eq!(report.records, found.len() as u64);
    let kept = fs::read(&path).unwrap();
    if segment.starts_with(MAGIC) {
        assert_eq!(
            kept,
            &segment[..segment.len() - usize::try_from(report.torn_bytes).unwrap()]
        );
    }

    // What was cut is cut once, and the journal goes on.
    let (mut journal, again) = Journal::open(directory, None, |_, _| {}).expect("it opens a second time");
    assert_eq!(
        (again.records, again.torn_bytes, &again.rotten),
        (report.records, 0, &report.rotten)
    );
    let position = journal.append(&[b"afterwards"]).expect("it can be written to")[0];
    for (position, body) in &found {
        assert_eq!(&journal.read(*position).expect("a record that was found"), body);
    }
    for position in &report.rotten {
        assert!(journal.read(*position).is_err(), "a rotten record was read");
    }
    let (after, _) = open(directory).expect("it opens a third time");
    assert_eq!(after[..found.len()], found[..], "what was found stays");
    assert!(
        after.ends_with(&[(position, b"afterwards".to_vec())]),
        "what was written after the damage is lost"
    );
}

fn open(directory: &Path) -> Option<(Vec<Record>, ScanReport)> {
    let mut found = Vec::new();
    let (_, report) = Journal::open(directory, None, |position, body| found.push((position, body.to_vec()))).ok()?;
    Some((found, report))
}

fn clear(directory: &Path) {
    for file in fs::read_dir(directory).expect("the directory is there") {
        fs::remove_file(file.expect("it can be listed").path()).expect("a file can be removed");
    }
}

pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let step = |kind: u8, content: &[u8]| [&[kind][..], &piece(content)].concat();
    let rotten = |bit: u16, content: &[u8]| [&[ROTTEN][..], &bit.to_le_bytes(), &piece(content)].concat();
    let script = |steps: &[Vec<u8>]| [&[SCRIPT][..], &steps.concat()].concat();
    let whole = step(RECORD, b"one");
    let last = step(RECORD, b"three");
    let nested = record(&record(b"inner"));
    let seeds = [
        ("records", script(&[whole.clone(), step(RECORD, b"two"), last.clone()])),
        (
            "garbage",
            script(&[whole.clone(), step(GARBAGE, &[0xfe; 40]), last.clone()]),
        ),
        ("zeros", script(&[whole.clone(), step(GARBAGE, &[0; 80]), last.clone()])),
        (
            "rotten-body",
            script(&[whole.clone(), rotten(300, b"two"), last.clone()]),
        ),
        (
            "rotten-length",
            script(&[whole.clone(), rotten(3, b"two"), last.clone()]),
        ),
        (
            "rotten-hash",
            script(&[whole.clone(), rotten(40, b"two"), last.clone()]),
        ),
        ("rotten-nested", script(&[rotten(1, &record(b"inner")), last])),
        (
            "torn",
            script(&[whole, [&[CUT][..], &piece(b"two"), &[37, 0]].concat()]),
        ),
        ("verbatim", [&[VERBATIM][..], MAGIC, &record(b"one"), &nested].concat()),
        ("foreign", [&[VERBATIM][..], b"STARJNL2", &record(b"one")].concat()),
    ];
    seeds.map(|(name, input)| (name.to_owned(), input)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_damage_of_every_script_is_noticed() {
        for (name, input) in seeds() {
            let mut script = Script::new(&input);
            if script.byte() != SCRIPT {
                continue;
            }
            let directory = tempfile::tempdir().unwrap();
            let (segment, whole) = written(script);
            assert!(!whole.is_empty(), "{name}");
            fs::write(directory.path().join("00000001.log"), segment).unwrap();
            let (_, report) = open(directory.path()).unwrap();
            let damaged = !report.rotten.is_empty() || report.torn_bytes > 0;
            assert_eq!(damaged, name != "records", "{name}: {report:?}");
        }
    }

    #[test]
    #[should_panic(expected = "a whole record is lost")]
    fn a_lost_record_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let segment = [MAGIC, &record(b"one")].concat();
        let position = |offset| Position { segment: 1, offset };
        check(
            directory.path(),
            &segment,
            &[(position(8), b"one".to_vec()), (position(47), b"two".to_vec())],
        );
    }
}
