//! Where this node met other members, kept over restarts.
//!
//! Without it a node that starts again knows only the member through which it joined, and waits for the others to dial it. When that member is
//! gone nobody would come to a node behind a home router, nor to one with a new key, of which no other node has heard yet.
//!
//! The file has one member a line: its id and an address. It is a help and no record: what cannot be read in it is left out.

use std::{collections::BTreeMap, io, net::SocketAddr, path::Path, time::Duration};

use keys::{NodeId, membership::Roster};
use mesh::Mesh;

use crate::{
    data_directory::{DataDirectory, read_bounded},
    tasks::Tasks,
};

/// Members with an address each.
pub(crate) type Neighbours = BTreeMap<NodeId, SocketAddr>;

/// The name of the task.
const TASK: &str = "neighbours";
/// Members that are kept: enough that some of them are there still after a long time away.
const NEIGHBOURS_MAX: usize = 32;
/// Bytes of the file: an id, the longest address and what is between them for each.
const BYTES_MAX: usize = NEIGHBOURS_MAX * 256;
/// Many links stand at once when a node starts: they are written together.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// Those that were met in earlier runs and are members still.
pub(crate) fn read(directory: &DataDirectory, roster: &Roster, own: &NodeId) -> Neighbours {
    let path = directory.neighbours_path();
    let bytes = match read_bounded(&path, BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(_) if !path.exists() => return Neighbours::new(),
        Err(error) => {
            tracing::warn!(%error, "where other members were met is not known any more");
            return Neighbours::new();
        }
    };
    let mut known = parse(&String::from_utf8_lossy(&bytes), &path);
    known.retain(|node, _| node != own && roster.get(node).is_some());
    known
}

fn parse(text: &str, path: &Path) -> Neighbours {
    let mut known = Neighbours::new();
    for (line, words) in (1..).zip(text.lines()).take(NEIGHBOURS_MAX) {
        let member = words.split_once(' ').and_then(|(node, address)| {
            let address = address.parse().ok()?;
            Some((NodeId::parse(node)?, address))
        });
        match member {
            Some((node, address)) => drop(known.insert(node, address)),
            None => tracing::warn!(path = %path.display(), line, "a line that names no member and address is left out"),
        }
    }
    known
}

fn text(known: &Neighbours) -> String {
    known
        .iter()
        .map(|(node, address)| format!("{node} {address}\n"))
        .collect()
}

/// Those that are linked now, and as many of the earlier ones as there is room for.
fn merged(now: Vec<(NodeId, SocketAddr)>, before: &Neighbours, roster: &Roster) -> Neighbours {
    let mut merged: Neighbours = now.into_iter().take(NEIGHBOURS_MAX).collect();
    for (node, address) in before.iter().filter(|(node, _)| roster.get(node).is_some()) {
        if merged.len() == NEIGHBOURS_MAX {
            break;
        }
        merged.entry(*node).or_insert(*address);
    }
    merged
}

/// Keeps the file until the node stops.
async fn keep(mesh: Mesh, directory: DataDirectory, mut known: Neighbours, tasks: Tasks) {
    let mut view = mesh.view();
    loop {
        let next = merged(mesh.doors().await, &known, &mesh.roster());
        if next != known {
            let (directory, text) = (directory.clone(), text(&next));
            let written = tokio::task::spawn_blocking(move || directory.save_neighbours(&text)).await;
            match written.map_err(io::Error::other) {
                Ok(Ok(())) => known = next,
                Ok(Err(error)) => tasks.note_error(TASK, &error),
                Err(error) => tasks.note_error(TASK, &error),
            }
        }
        tokio::time::sleep(WRITE_EVERY).await;
        if view.changed().await.is_err() {
            return;
        }
    }
}

/// Starts that.
pub(crate) fn start(tasks: &Tasks, mesh: &Mesh, directory: &DataDirectory, known: Neighbours) {
    tasks.spawn(TASK, keep(mesh.clone(), directory.clone(), known, tasks.clone()));
}

#[cfg(test)]
mod tests {
    use keys::{NodeKey, Timestamp, membership::Certificate};

    use super::*;

    fn node(seed: u8) -> NodeId {
        NodeKey::from_seed(&[seed; 32]).id()
    }

    #[test]
    fn what_was_written_is_read_and_what_is_damaged_left_out() {
        let known = Neighbours::from([
            (node(1), "192.0.2.1:4001".parse().unwrap()),
            (node(2), "[2001:db8::1]:4001".parse().unwrap()),
        ]);
        let path = Path::new("neighbours");
        assert_eq!(parse(&text(&known), path), known);
        let damaged = text(&known).replacen("192.0.2.1", "192.0.2.1000", 1) + "\u{fffd}\n\n";
        assert_eq!(
            parse(&damaged, path),
            known.into_iter().filter(|(id, _)| *id == node(2)).collect()
        );
        let many: Neighbours = (0..=255)
            .map(|seed| (node(seed), SocketAddr::from(([127, 0, 0, 1], 1))))
            .collect();
        assert_eq!(parse(&text(&many), path).len(), NEIGHBOURS_MAX);
        assert!(text(&many).len() < BYTES_MAX * many.len() / NEIGHBOURS_MAX);
    }

    #[test]
    fn who_is_linked_goes_before_who_was_and_who_is_no_member_goes() {
        let key = NodeKey::from_seed(&[1; 32]);
        let certificate = Certificate::found(&key, key.id(), "node", [0; 16], Timestamp(1)).unwrap();
        let roster = Roster::new(certificate).unwrap();
        let (old, new): (SocketAddr, SocketAddr) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.1:2".parse().unwrap());
        let before = Neighbours::from([(key.id(), old), (node(2), old)]);
        assert_eq!(merged(vec![], &before, &roster), Neighbours::from([(key.id(), old)]));
        assert_eq!(
            merged(vec![(key.id(), new)], &before, &roster),
            Neighbours::from([(key.id(), new)])
        );
        let many = (10..100).map(|seed| (node(seed), new)).collect();
        let merged = merged(many, &before, &roster);
        assert!(merged.len() == NEIGHBOURS_MAX && !merged.contains_key(&key.id()));
    }
}
