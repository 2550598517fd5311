//! `mesh/PROTOCOL.md` says of each protocol what the code does: the limit of a frame and the deadlines, figure by figure.

use std::time::Duration;

use crdt::limits as documents;
use inference::limits as inference;
use mesh::{Protocol, limits as mesh_limits};

const DOCUMENT: &str = include_str!("../../mesh/PROTOCOL.md");

/// A size as the document writes it.
fn size(bytes: usize) -> String {
    const KIB: usize = 1024;
    const MIB: usize = 1024 * KIB;
    match bytes {
        _ if bytes >= MIB && bytes.is_multiple_of(MIB) => format!("{} MiB", bytes / MIB),
        _ if bytes >= KIB && bytes.is_multiple_of(KIB) => format!("{} KiB", bytes / KIB),
        _ => format!("{bytes} B"),
    }
}

/// A time as the document writes it.
fn time(time: Duration) -> String {
    match time.as_millis() {
        millis if millis.is_multiple_of(1000) => format!("{} s", millis / 1000),
        millis => format!("{millis} ms"),
    }
}

/// The last two columns of a protocol's row: its limit and its deadlines.
fn columns(protocol: Protocol) -> (String, String) {
    let beginning = format!("| `{protocol}` |");
    let rows: Vec<&str> = DOCUMENT.lines().filter(|line| line.starts_with(&beginning)).collect();
    let [row] = rows[..] else {
        panic!("{} rows about {protocol}", rows.len())
    };
    let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
    let [_, _, _, limit, deadline] = cells[..] else {
        panic!("{row}")
    };
    (limit.to_owned(), deadline.to_owned())
}

/// What the code says: the size of a frame, and times that the row names.
fn figures(protocol: Protocol) -> (Option<usize>, Vec<Duration>) {
    use mesh_limits as mesh;
    let (size, times): (usize, Vec<Duration>) = match protocol {
        Protocol::JOIN => (mesh::JOIN_FRAME_BYTES_MAX, vec![mesh::JOIN_TIMEOUT]),
        Protocol::TRUST => (
            mesh::TRUST_FRAME_BYTES_MAX,
            vec![mesh::TRUST_FIRST, mesh::TRUST_WRITE_TIMEOUT],
        ),
        Protocol::CONTROL => (mesh::CONTROL_FRAME_BYTES_MAX, vec![mesh::LINK_SILENCE_MAX]),
        Protocol::LINKS => (mesh::LINK_STATE_FRAME_BYTES_MAX, vec![]),
        Protocol::LIVENESS => (mesh::LIVENESS_FRAME_BYTES_MAX, vec![mesh::LIVENESS_WRITE_TIMEOUT]),
        Protocol::HINTS => (
            mesh::HINTS_FRAME_BYTES_MAX,
            vec![mesh::HINTS_SILENCE_MAX, mesh::HINTS_WRITE_TIMEOUT],
        ),
        Protocol::PUNCH => (mesh::PUNCH_FRAME_BYTES_MAX, vec![mesh::PUNCH_TALK_TIMEOUT]),
        Protocol::DIALBACK => (
            mesh::DIALBACK_FRAME_BYTES_MAX,
            vec![mesh::DIALBACK_TIMEOUT, mesh::DIALBACK_TRY_TIMEOUT],
        ),
        Protocol::RECONCILE => (documents::RECONCILE_FRAME_BYTES_MAX, vec![documents::FRAME_TIMEOUT]),
        Protocol::KEYS => (documents::KEY_FRAME_BYTES_MAX, vec![documents::FRAME_TIMEOUT]),
        Protocol::FETCH => (documents::FETCH_FRAME_BYTES_MAX, vec![documents::FRAME_TIMEOUT]),
        Protocol::GENERATE => (inference::GENERATE_FRAME_BYTES_MAX, vec![inference::SILENCE_MAX]),
        Protocol::COMPUTE => (
            inference::COMPUTE_FRAME_BYTES_MAX,
            vec![inference::COMPUTE_SILENCE_MAX, inference::EMBEDDING_TIMEOUT],
        ),
        Protocol::STATE => (
            inference::STATE_FRAME_BYTES_MAX,
            vec![inference::STATE_SILENCE_MAX, inference::STATE_TIME_MAX],
        ),
        Protocol::BLOB => (
            mesh::BLOB_FRAME_BYTES_MAX,
            vec![mesh::BLOB_FRAME_TIMEOUT, mesh::BLOB_IDLE],
        ),
        // The same frames as those of blobs.
        Protocol::BULK => return (None, vec![]),
        other => panic!("{other} is new: what are its limits?"),
    };
    (Some(size), times)
}

// Red when: a limit or a deadline is changed in the code or in the document alone, or a protocol is added without them.
#[test]
fn the_document_says_the_limits_and_deadlines_of_every_protocol() {
    for protocol in Protocol::ALL {
        let (limit, deadline) = columns(protocol);
        let (frame, times) = figures(protocol);
        if let Some(frame) = frame {
            assert!(
                limit.starts_with(&size(frame)),
                "{protocol}: {limit:?} is not {}",
                size(frame)
            );
        }
        for one in times {
            let said = time(one);
            let is_said = deadline.match_indices(&said).any(|(at, _)| {
                // Not the end of a larger number.
                !deadline[..at].ends_with(|before: char| before.is_ascii_digit())
            });
            assert!(is_said, "{protocol}: {said} is not in {deadline:?}");
        }
    }
}

#[test]
fn the_document_says_the_limit_of_gossip_and_a_change_fits_it() {
    let limit = size(mesh_limits::GOSSIP_BYTES_MAX);
    let rows = |beginning: &str| {
        DOCUMENT
            .lines()
            .filter(|line| line.starts_with(beginning))
            .collect::<Vec<_>>()
    };
    for beginning in ["| `/meshsub/", "| gossip topic `starling/changes/"] {
        let rows = rows(beginning);
        assert!(rows.len() == 1 && rows[0].contains(&format!("| {limit} |")), "{rows:?}");
    }
    // What gossip puts around a message: the topic, and lengths.
    const { assert!(documents::ENVELOPE_BYTES_MAX + 256 <= mesh_limits::GOSSIP_BYTES_MAX) };
}

#[test]
fn figures_are_written_as_people_read_them() {
    assert_eq!([size(64), size(20 * 1024), size(2 << 20)], ["64 B", "20 KiB", "2 MiB"]);
    assert_eq!(
        [time(Duration::from_millis(250)), time(Duration::from_secs(300))],
        ["250 ms", "300 s"]
    );
}
