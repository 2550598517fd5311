//! Every change of the breakers before nodes, in a file of this node: a restart does not forget what went wrong before it.
//!
//! The file holds the last [`BREAKER_EVENTS_MAX`] changes and is written whole, beside itself and then in its place. One that cannot be
//! read is begun anew: it explains, and nothing depends on it.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
};

use keys::{Timestamp, versioned};
use tokio::sync::watch;

use super::routing::Routing;
use crate::{limits::BREAKER_EVENTS_MAX, swarm::router::BreakerEvent};

/// First byte of the file.
const VERSION: u8 = 1;
/// Bytes of the file: each event names a node and a model.
const BYTES_MAX: usize = BREAKER_EVENTS_MAX * 1024;

/// Changes with the times at which they happened, oldest first.
pub(super) type Events = VecDeque<(Timestamp, BreakerEvent)>;

/// The bytes of a file with these changes.
#[must_use]
pub fn encode(events: &[(Timestamp, BreakerEvent)]) -> Vec<u8> {
    versioned::encode(VERSION, &events, BYTES_MAX).unwrap_or_default()
}

/// What [`encode`] wrote; nothing where that is none.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Vec<(Timestamp, BreakerEvent)>> {
    versioned::decode(VERSION, bytes, BYTES_MAX).ok()
}

/// Reads what was kept, and keeps what happens from now on, until the desk is gone.
pub(super) async fn keep(routing: Routing, path: PathBuf, mut changed: watch::Receiver<u64>) {
    match tokio::fs::read(&path).await {
        Ok(bytes) => match decode(&bytes) {
            Some(before) => routing.recall(before),
            None => tracing::warn!("the changes of breakers that were kept cannot be read; they are begun anew"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, "the changes of breakers that were kept cannot be read"),
    }
    while changed.changed().await.is_ok() {
        let events = routing.breaker_events();
        if let Err(error) = write(&path, &encode(&events)).await {
            // The next change writes them all.
            tracing::warn!(%error, "the changes of breakers cannot be kept");
        }
    }
}

async fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    tokio::fs::write(&partial, bytes).await?;
    tokio::fs::File::open(&partial).await?.sync_all().await?;
    tokio::fs::rename(&partial, path).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use keys::NodeId;

    use super::*;
    use crate::swarm::router::{
        Operation,
        breaker::{BreakerState, Transition},
    };

    fn event(number: u8) -> BreakerEvent {
        BreakerEvent {
            node: NodeId([number; 32]),
            model: "built-in".into(),
            operation: Operation::Continue,
            transition: Transition {
                from: BreakerState::Closed,
                to: BreakerState::Open,
                pause: Some(Duration::from_secs(5)),
            },
        }
    }

    #[tokio::test]
    async fn what_happened_before_a_restart_is_there_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("breakers");
        for round in 1..=3_u8 {
            let routing = Routing::default();
            let keeping = tokio::spawn(keep(routing.clone(), path.clone(), routing.changed()));
            // Until it has read what was kept.
            while routing.breaker_events().len() + 1 < round.into() {
                tokio::task::yield_now().await;
            }
            routing.note(Timestamp(round.into()), event(round));
            let written = async {
                loop {
                    let kept = tokio::fs::read(&path).await.ok().and_then(|bytes| decode(&bytes));
                    if kept.is_some_and(|kept| kept.len() == usize::from(round)) {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), written)
                .await
                .expect("it is kept");
            let events = routing.breaker_events();
            let expected: Vec<_> = (1..=round)
                .map(|number| (Timestamp(number.into()), event(number)))
                .collect();
            assert_eq!(events, expected);
            keeping.abort();
        }
    }

    #[tokio::test]
    async fn a_damaged_file_is_begun_anew_and_the_newest_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("breakers");
        tokio::fs::write(&path, [9, 9, 9]).await.unwrap();
        let routing = Routing::default();
        for number in 0..=BREAKER_EVENTS_MAX {
            routing.note(Timestamp(number as u64), event(1));
        }
        let keeping = tokio::spawn(keep(routing.clone(), path.clone(), routing.changed()));
        routing.note(Timestamp(1000), event(2));
        let written = async {
            loop {
                let bytes = tokio::fs::read(&path).await.unwrap();
                if let Some(kept) = decode(&bytes) {
                    return kept;
                }
                tokio::task::yield_now().await;
            }
        };
        let kept = tokio::time::timeout(Duration::from_secs(20), written)
            .await
            .expect("it is kept");
        assert_eq!((kept.len(), kept[0].0), (BREAKER_EVENTS_MAX, Timestamp(2)));
        assert_eq!(kept.last().unwrap().0, Timestamp(1000));
        keeping.abort();
    }
}
