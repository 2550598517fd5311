//! Reads the whole journal once a day, a little at a time, so that a record that rots on the disk is found while other nodes still
//! have it. When everything has been read, documents with a long history of overwriting are put on bases.

use std::time::Duration;

use crdt::Store;
use tokio::time::Instant;

use crate::tasks::Tasks;

/// In this time everything is read once.
const ROUND: Duration = Duration::from_secs(24 * 3600);
/// A part is read this often.
const STEP: Duration = Duration::from_secs(60);
/// The least that is read in one step, so that a small journal is done early.
const BYTES_MIN: u64 = 256 * 1024;

/// Scrubs until the node stops.
pub async fn run(store: Store, tasks: Tasks) {
    let steps = ROUND.as_secs() / STEP.as_secs();
    let mut next = Instant::now() + STEP;
    loop {
        tokio::time::sleep_until(next).await;
        next += STEP;
        let scrubbed = match store.summary().await {
            Ok(summary) => store.scrub((summary.journal_bytes / steps).max(BYTES_MIN)).await,
            Err(error) => Err(error),
        };
        match scrubbed {
            Ok(scrubbed) if scrubbed.damaged > 0 => {
                let found = format!(
                    "{} damaged records found; they are asked of other nodes",
                    scrubbed.damaged
                );
                tasks.note_error("scrub", &found);
            }
            Ok(scrubbed) if scrubbed.finished => {
                tracing::info!("scrub: the whole journal has been read");
                rebase(&store, &tasks).await;
            }
            Ok(_) => {}
            Err(error) => tasks.note_error("scrub", &error),
        }
    }
}

async fn rebase(store: &Store, tasks: &Tasks) {
    match store.rebase_long().await {
        Ok(0) => {}
        Ok(documents) => tracing::info!(documents, "scrub: long documents were put on bases"),
        Err(error) => tasks.note_error("scrub", &error),
    }
}
