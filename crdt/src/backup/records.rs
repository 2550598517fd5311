//! The journal's records, on their way into an archive: read beside the node that writes them, with files of its own.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use super::{BackupError, ContentWriter, Part};
use crate::journal::{Journal, JournalError, Position};

/// What was found on the way into a file of a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Records of the journal that are in it.
    pub records: u64,
    /// Damaged places of the journal, or damaged key files. What was there is left out, and comes again from other nodes.
    pub damaged: usize,
}

/// Writes every record that the journal in `directory` holds now, statements first. The journal may be written to meanwhile; what
/// comes later is left out.
///
/// # Errors
/// When the journal cannot be read or the archive not be written. After [`JournalError::Rewritten`] the archive must be begun anew.
pub fn write_records<W: Write>(
    writer: &mut ContentWriter<W>,
    directory: &Path,
    is_statement: impl Fn(&[u8]) -> bool,
) -> Result<Survey, BackupError> {
    let Some(end) = present_end(directory)? else {
        return Ok(Survey::default());
    };
    let mut survey = Survey::default();
    // Twice, because statements lie between the changes, and are too many to hold when many were erased.
    for statements in [true, false] {
        let found = visit_records(directory, end, |body| {
            if is_statement(body) != statements {
                return Ok(());
            }
            survey.records += 1;
            writer.write(&if statements {
                Part::Statement(body)
            } else {
                Part::Envelope(body)
            })
        })?;
        survey.damaged = found;
    }
    Ok(survey)
}

/// Writes every statement that the journal in `directory` holds now; returns how many.
///
/// # Errors
/// As [`write_records`].
pub(super) fn write_statements<W: Write>(
    writer: &mut ContentWriter<W>,
    directory: &Path,
    is_statement: impl Fn(&[u8]) -> bool,
) -> Result<u64, BackupError> {
    let Some(end) = present_end(directory)? else {
        return Ok(0);
    };
    let mut written = 0;
    visit_records(directory, end, |body| {
        if !is_statement(body) {
            return Ok(());
        }
        written += 1;
        writer.write(&Part::Statement(body))
    })?;
    Ok(written)
}

/// Hands every whole record before `end` to `visit`, until it fails. Returns in how many places the journal is damaged; what is
/// being written right now is not.
fn visit_records(
    directory: &Path,
    end: Position,
    mut visit: impl FnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<usize, BackupError> {
    let mut failure = None;
    let mut last = None;
    let report = Journal::read_up_to(directory, end, |position, body| {
        last = Some(position);
        if failure.is_none() {
            failure = visit(body).err();
        }
    })?;
    if let Some(error) = failure {
        return Err(error);
    }
    let is_unfinished = |position: &Position| position.segment == end.segment && Some(*position) > last;
    Ok(report.rotten.iter().filter(|position| !is_unfinished(position)).count())
}

/// Where the journal ends now, by its files: `NNNNNNNN.log`. The last record before that may be half written.
fn present_end(directory: &Path) -> Result<Option<Position>, BackupError> {
    let error = |path: PathBuf| move |source| BackupError::Journal(JournalError::Io { path, source });
    let mut last: Option<(u32, PathBuf)> = None;
    for entry in fs::read_dir(directory).map_err(error(directory.to_owned()))? {
        let path = entry.map_err(error(directory.to_owned()))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_suffix(".log").and_then(|stem| stem.parse().ok());
        if let Some(number) = number.filter(|number| last.as_ref().is_none_or(|(last, _)| number > last)) {
            last = Some((number, path));
        }
    }
    let Some((segment, path)) = last else {
        return Ok(None);
    };
    let offset = fs::metadata(&path).map_err(error(path))?.len();
    Ok(Some(Position { segment, offset }))
}

#[cfg(test)]
mod tests {
    use keys::{ContentId, NodeId, Timestamp};

    use super::super::{ContentKind, Origin, read};
    use super::*;

    fn origin() -> Origin {
        Origin {
            mesh: ContentId([1; 32]),
            node: NodeId([2; 32]),
            created: Timestamp(3),
        }
    }

    fn backed_up(directory: &Path) -> (Vec<String>, Survey) {
        let mut writer = ContentWriter::new(Vec::new(), ContentKind::Memory, origin()).unwrap();
        let survey = write_records(&mut writer, directory, |body| body.starts_with(b"S")).unwrap();
        let (bytes, summary) = writer.finish().unwrap();
        assert_eq!(summary.statements + summary.envelopes, survey.records);
        let mut records = Vec::new();
        read::<BackupError>(&bytes[..], ContentKind::Memory, |part| {
            records.push(match part {
                Part::Statement(body) => format!("statement {}", String::from_utf8_lossy(body)),
                Part::Envelope(body) => format!("envelope {}", String::from_utf8_lossy(body)),
                other => panic!("{other:?}"),
            });
            Ok(())
        })
        .unwrap();
        (records, survey)
    }

    #[test]
    fn statements_come_first_and_what_is_being_written_is_neither_lost_nor_touched() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(directory.path(), None, |_, _| {}).unwrap();
        assert_eq!(backed_up(directory.path()), (Vec::new(), Survey::default()));
        journal.append(&[b"one", b"S1", b"two", b"S2"]).unwrap();
        let whole = (
            vec![
                "statement S1".into(),
                "statement S2".into(),
                "envelope one".into(),
                "envelope two".into(),
            ],
            Survey { records: 4, damaged: 0 },
        );
        assert_eq!(backed_up(directory.path()), whole);

        // The node is in the middle of its next write, at every byte of it: the archive has what was there, the file stays.
        let path = directory.path().join("00000001.log");
        let before = fs::read(&path).unwrap();
        journal.append(&[b"three"]).unwrap();
        let after = fs::read(&path).unwrap();
        for length in before.len()..after.len() {
            fs::write(&path, &after[..length]).unwrap();
            assert_eq!(backed_up(directory.path()), whole, "{length}");
            assert_eq!(fs::read(&path).unwrap(), after[..length]);
        }
        fs::write(&path, &after).unwrap();
        assert_eq!(backed_up(directory.path()).1.records, 5, "the control");
    }

    #[test]
    fn a_damaged_record_is_left_out_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(directory.path(), None, |_, _| {}).unwrap();
        let positions = journal.append(&[b"one", b"two", b"three"]).unwrap();
        let path = directory.path().join("00000001.log");
        let mut bytes = fs::read(&path).unwrap();
        bytes[usize::try_from(positions[2].offset).unwrap() - 1] ^= 1;
        fs::write(&path, bytes).unwrap();
        let (records, survey) = backed_up(directory.path());
        assert_eq!(records, ["envelope one", "envelope three"]);
        assert_eq!(survey, Survey { records: 2, damaged: 1 });
    }

    #[test]
    fn a_full_disk_ends_it() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                // Room for the header only.
                if bytes.len() == 81 {
                    Ok(81)
                } else {
                    Err(std::io::ErrorKind::StorageFull.into())
                }
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(directory.path(), None, |_, _| {}).unwrap();
        journal.append(&[b"one"]).unwrap();
        let mut writer = ContentWriter::new(Full, ContentKind::Memory, origin()).unwrap();
        let error = write_records(&mut writer, directory.path(), |_| false).unwrap_err();
        assert!(
            matches!(error, BackupError::Archive(keys::archive::ArchiveError::Io(_))),
            "{error:?}"
        );
        assert!(write_records(&mut writer, &directory.path().join("none"), |_| false).is_err());
    }
}
