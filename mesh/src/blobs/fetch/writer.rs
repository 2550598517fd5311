//! The one writer of a download: a thread that may wait for the disk. Everything that sources report passes through it in order, so
//! that the end of a range never overtakes its groups.

use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    blobs::{BlobError, schedule::Event, store::Partial, tree::VerifiedGroup},
    limits::BLOB_REPORT_QUEUE,
};

/// What happened in a conversation.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) source: usize,
    pub(super) talk: u64,
    pub(super) event: Event,
}

/// What goes to the writer.
#[derive(Debug)]
pub(super) enum Work {
    Write { source: usize, group: VerifiedGroup },
    Pass(Report),
}

/// What comes from the writer.
#[derive(Debug)]
pub(super) enum News {
    Report(Report),
    Written {
        source: usize,
        group: u64,
        bytes: u64,
        new: bool,
    },
    Failed(BlobError),
}

pub(super) struct Writer(JoinHandle<Partial>);

impl Writer {
    pub(super) fn start(partial: Partial, work: mpsc::Receiver<Work>) -> (Self, mpsc::Receiver<News>) {
        let (news, queue) = mpsc::channel(BLOB_REPORT_QUEUE);
        (
            Self(tokio::task::spawn_blocking(move || run(partial, work, &news))),
            queue,
        )
    }

    /// Waits until everything is written; the sources must be gone.
    pub(super) async fn end(self) -> Result<Partial, BlobError> {
        self.0.await.map_err(|_| BlobError::Stopped)
    }
}

fn run(mut partial: Partial, mut work: mpsc::Receiver<Work>, news: &mpsc::Sender<News>) -> Partial {
    while let Some(work) = work.blocking_recv() {
        let told = match work {
            Work::Pass(report) => News::Report(report),
            Work::Write { source, group } => match partial.write(&group) {
                Ok(new) => News::Written {
                    source,
                    group: group.group,
                    bytes: group.data().len() as u64,
                    new,
                },
                Err(error) => News::Failed(error),
            },
        };
        // Nobody listens any more: the download was dropped or is at its end.
        if news.blocking_send(told).is_err() {
            break;
        }
    }
    partial
}
