//! Downloads: carries out what the schedule says. One task per source speaks and verifies, one writer puts groups on disk, and this
//! loop owns the schedule. Dropping the download stops all of it; what was written is kept, and the next one goes on there.

mod progress;
mod size;
mod source;
mod writer;

use std::{sync::Arc, time::Duration};

use keys::NodeId;
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, MissedTickBehavior},
};

pub use self::progress::{Progress, SourceProgress, SourceState};
pub(super) use self::source::Checks;
use self::{
    progress::Meter,
    source::{Command, Conversation},
    writer::{News, Report, Writer},
};
use super::{
    BlobError, BlobId, BlobStatus, BlobStore, Pace,
    schedule::{Effect, Elapsed, Event, Schedule},
    store::{Partial, held_bytes},
};
use crate::{
    Mesh,
    limits::{BLOB_ASKS_MAX, BLOB_REPORT_QUEUE, BLOB_SOURCES_MAX, BLOB_TICK},
};

/// A download that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes of the blob.
    pub size: u64,
    /// Of them, already here when it began.
    pub resumed: u64,
    /// Bytes that came and were true.
    pub received: u64,
    /// Of them, those that had come already from another source.
    pub again: u64,
}

/// Brings a blob here from `sources`, several at once, and says how it goes on. Of many sources the first
/// [`BLOB_SOURCES_MAX`] are asked. Drop it to stop; call it again to go on.
///
/// # Errors
/// When nobody can give what is missing, there is no room, or the disk fails.
pub async fn fetch(
    mesh: &Mesh,
    (store, pace): (&BlobStore, &Pace),
    blob: BlobId,
    sources: &[NodeId],
    progress: &watch::Sender<Progress>,
) -> Result<Fetched, BlobError> {
    fetch_with(mesh, (store, pace), blob, sources, progress, Checks::On).await
}

pub(super) async fn fetch_with(
    mesh: &Mesh,
    (store, pace): (&BlobStore, &Pace),
    blob: BlobId,
    sources: &[NodeId],
    progress: &watch::Sender<Progress>,
    checks: Checks,
) -> Result<Fetched, BlobError> {
    let sources = &sources[..sources.len().min(BLOB_SOURCES_MAX)];
    let (size, bad) = match store.have(blob) {
        Some(known) if !matches!(known.status, BlobStatus::Partial { .. }) => {
            let size = known.size;
            return Ok(Fetched {
                size,
                resumed: size,
                received: 0,
                again: 0,
            });
        }
        Some(known) => (known.size, Vec::new()),
        None => size::prove(mesh, blob, sources, checks).await?,
    };
    let filling = store.clone();
    let partial = blocking(move || filling.fill(blob, size)).await?;
    let had = partial.groups();
    let started = Instant::now();
    let mut schedule = Schedule::new(had.clone(), sources.len(), Duration::ZERO);
    bad.into_iter().for_each(|source| schedule.condemn(source));
    let (reports, report_queue) = mpsc::channel(BLOB_REPORT_QUEUE);
    let (writer, news) = Writer::start(partial, report_queue);
    let conversation = Conversation {
        mesh: mesh.clone(),
        pace: pace.clone(),
        blob,
        size,
        checks,
        reports,
    };
    let download = Download {
        schedule,
        sources,
        conversation: Arc::new(conversation),
        tasks: JoinSet::new(),
        talks: sources.iter().map(|_| None).collect(),
        meter: Meter::new(size, held_bytes(&had, size), sources.len()),
        progress,
        started,
    };
    let ended = download.run(news).await;
    // Also after an error: when this returns, the part is free for the next one.
    let partial = writer.end().await?;
    let fetched = ended?;
    blocking(move || Partial::finish(partial)).await?;
    Ok(fetched)
}

/// Runs what waits for the disk where nothing else waits for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| BlobError::Stopped)?
}

/// A conversation under way.
struct Talk {
    commands: mpsc::Sender<Command>,
    task: AbortHandle,
    /// Tells reports of an old conversation from those of the present one.
    number: u64,
}

struct Download<'a> {
    schedule: Schedule,
    sources: &'a [NodeId],
    conversation: Arc<Conversation>,
    tasks: JoinSet<()>,
    talks: Vec<Option<Talk>>,
    meter: Meter,
    progress: &'a watch::Sender<Progress>,
    started: Instant,
}

/// How the schedule ended.
enum Outcome {
    Finished,
    GaveUp,
}

impl Download<'_> {
    async fn run(mut self, mut news: mpsc::Receiver<News>) -> Result<Fetched, BlobError> {
        let mut ticks = tokio::time::interval(BLOB_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let outcome = loop {
            let outcome = tokio::select! {
                biased;
                arrived = news.recv() => match arrived {
                    Some(News::Report(report)) => self.handle_report(report),
                    Some(News::Written { source, group, bytes, new }) => {
                        self.meter.received(source, bytes, new);
                        self.handle(Event::Arrived { source, group })
                    }
                    Some(News::Failed(error)) => return Err(error),
                    // The writer ends after us.
                    None => Some(Outcome::GaveUp),
                },
                _ = ticks.tick() => {
                    let outcome = self.handle(Event::Tick);
                    self.publish();
                    outcome
                }
            };
            if let Some(outcome) = outcome {
                break outcome;
            }
        };
        self.publish();
        match outcome {
            Outcome::Finished => Ok(self.meter.fetched()),
            Outcome::GaveUp => Err(self.no_source()),
        }
    }

    fn handle_report(&mut self, report: Report) -> Option<Outcome> {
        let (source, talk) = (report.source, report.talk);
        let present = self.talks.get(source).and_then(Option::as_ref);
        if present.is_some_and(|present| present.number == talk) {
            self.handle(report.event)
        } else {
            None
        }
    }

    fn handle(&mut self, event: Event) -> Option<Outcome> {
        let effects = self.schedule.handle(event, self.elapsed());
        let mut outcome = None;
        for effect in effects {
            match effect {
                Effect::Connect(source) => self.connect(source),
                Effect::Query(source) => self.command(source, Command::Query),
                Effect::Ask { source, ask, range } => self.command(source, Command::Ask { ask, range }),
                Effect::Keep { source, ask, count } => self.command(source, Command::Keep { ask, count }),
                Effect::Drop(source) => self.drop_talk(source),
                Effect::Finished => outcome = Some(Outcome::Finished),
                Effect::GiveUp => outcome = Some(Outcome::GaveUp),
            }
        }
        outcome
    }

    fn elapsed(&self) -> Elapsed {
        self.started.elapsed()
    }

    fn connect(&mut self, source: usize) {
        self.drop_talk(source);
        // As many as a source may be told before it has heard any of it: its questions, and the taking back of each.
        let (commands, queue) = mpsc::channel(4 * BLOB_ASKS_MAX);
        let number = self.meter.next_talk();
        let (conversation, node) = (self.conversation.clone(), self.sources[source]);
        while self.tasks.try_join_next().is_some() {}
        let task = self.tasks.spawn(async move {
            conversation.run((source, number), node, queue).await;
        });
        self.talks[source] = Some(Talk { commands, task, number });
    }

    fn command(&mut self, source: usize, command: Command) {
        let talk = self.talks.get(source).and_then(Option::as_ref);
        if talk.is_some_and(|talk| talk.commands.try_send(command).is_err()) {
            // It does not take what it is told: its silence will be noticed, and its ranges go to others.
            tracing::debug!(source, "a source does not listen");
        }
    }

    fn drop_talk(&mut self, source: usize) {
        if let Some(talk) = self.talks.get_mut(source).and_then(Option::take) {
            talk.task.abort();
        }
    }

    fn publish(&mut self) {
        let states = self
            .sources
            .iter()
            .enumerate()
            .map(|(index, node)| (*node, SourceState::from(self.schedule.standing(index))));
        let progress = self.meter.progress(states, self.started.elapsed());
        self.progress.send_replace(progress);
    }

    fn no_source(&self) -> BlobError {
        let had = self.schedule.had();
        let size = self.conversation.size;
        BlobError::NoSource {
            blob: self.conversation.blob,
            missing: size - held_bytes(had, size),
            tried: self
                .sources
                .iter()
                .enumerate()
                .map(|(index, node)| (*node, SourceState::from(self.schedule.standing(index))))
                .collect(),
        }
    }
}
