//! Generations for other nodes, and asking other nodes: the two ends of `/starling/generate/1`.

use std::sync::Arc;

use crdt::Store;
use keys::NodeId;
use mesh::{
    Mesh, OpenError, Protocol, Stream,
    frame::{FrameError, read_frame, write_frame},
};
use tokio::{
    io::AsyncWriteExt,
    sync::{Notify, broadcast, mpsc, oneshot},
};

use crate::{
    desk::{AnswerEvent, AnswerNotice},
    engine::{Engine, GenerationError},
    generate,
    limits::{ASK_OPEN_TIMEOUT, FOLLOW_EVERY, GENERATE_FRAME_BYTES_MAX, PROGRESS_EVERY, SILENCE_MAX, WRITE_TIMEOUT},
    live::{Cursor, End, Lease, Live, Lives, Sayer},
    swarm::{FromAsker, FromGenerator, Request, decode, encode},
};

/// Reports that wait for the network; the generation then waits, and with it the engine's queue for it.
const REPORT_QUEUE: usize = 64;

/// Everything that generations of this node need.
#[derive(Clone)]
pub(crate) struct Generator {
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    pub(crate) mesh: Mesh,
    pub(crate) lives: Lives,
    /// Where what others asked for is told to whoever is here.
    pub(crate) notices: broadcast::Sender<AnswerNotice>,
}

impl Generator {
    /// Begins to generate, or finds what is under way already. It goes on when whoever asked is gone: another gateway takes it up,
    /// and it ends by itself.
    pub(crate) fn begin(&self, request: Request) -> Live {
        if request.said.is_some() {
            self.lives.forget_finished(request.answer);
        }
        match self.lives.generate(request.lease()) {
            Ok(live) => {
                tokio::spawn(self.clone().generate(request, live.clone()));
                live
            }
            Err(live) => live,
        }
    }

    async fn generate(self, request: Request, live: Live) {
        let writes = generate::writes_answers(&self.mesh);
        let (answer, node) = (request.answer, self.mesh.node());
        // What this node asked for itself its desk tells.
        let is_foreign = request.gateway != node;
        if is_foreign {
            self.tell(&live, AnswerEvent::Started(live.clone()));
        }
        let (report, mut reports) = mpsc::channel(REPORT_QUEUE);
        let run = async {
            generate::run(&self.engine, (&self.store, writes), request, &report, live.stopped()).await;
            drop(report);
        };
        let note = async {
            while let Some(report) = reports.recv().await {
                live.take(&report, |run, model| Sayer {
                    run,
                    node: Some(node),
                    model: model.into(),
                    choice: None,
                });
            }
        };
        tokio::join!(run, note);
        if !live.is_over() {
            live.end(End::Failed(GenerationError::Died));
        }
        self.lives.close(answer);
        if is_foreign && let Some(End::Finished { message, .. }) = live.since(Cursor::default()).end {
            self.tell(&live, AnswerEvent::Finished(message));
        }
    }

    fn tell(&self, live: &Live, event: AnswerEvent) {
        let Lease { session, account, .. } = *live.lease();
        // Nobody listening is usual.
        let _ = self.notices.send(AnswerNotice {
            session,
            account,
            event,
        });
    }

    /// Serves generations until the mesh stops.
    pub(crate) async fn serve(self, mut streams: mpsc::Receiver<(NodeId, Stream)>) {
        while let Some((node, stream)) = streams.recv().await {
            let generator = self.clone();
            tokio::spawn(async move {
                if let Err(error) = generator.serve_one(stream).await {
                    tracing::debug!(node = %node.short(), %error, "a stream of an answer ended early");
                }
            });
        }
    }

    async fn serve_one(self, stream: Stream) -> Result<(), FrameError> {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let first = tokio::time::timeout(SILENCE_MAX, read_frame(&mut reader, GENERATE_FRAME_BYTES_MAX)).await;
        let frame = first.map_err(|_| FrameError::Timeout(SILENCE_MAX))??;
        let (live, bytes) = match frame.as_deref().and_then(decode) {
            Some(FromAsker::Generate(request)) => (Some(self.begin(request)), 0),
            Some(FromAsker::Follow { answer, bytes }) => (self.lives.get(answer), bytes),
            Some(FromAsker::Stop) | None => return Err(FrameError::Io(std::io::Error::other("not a question"))),
        };
        let (report, mut reports) = mpsc::channel(REPORT_QUEUE);
        // A stream that breaks is no stop.
        let stop = async {
            match read_frame(&mut reader, GENERATE_FRAME_BYTES_MAX).await {
                Ok(Some(frame)) if matches!(decode(&frame), Some(FromAsker::Stop)) => {}
                _ => std::future::pending().await,
            }
        };
        let write = async {
            while let Some(message) = reports.recv().await {
                // A reader that does not read is given up; the generation goes on.
                let frame = encode(&message);
                let written = write_frame(&mut writer, &frame, GENERATE_FRAME_BYTES_MAX);
                tokio::time::timeout(WRITE_TIMEOUT, written)
                    .await
                    .map_err(|_| FrameError::Timeout(WRITE_TIMEOUT))??;
            }
            writer.shutdown().await.map_err(FrameError::Io)
        };
        let tell = async {
            match live {
                Some(live) => relay(&live, bytes as usize, &report, stop).await,
                None => drop(report.send(FromGenerator::Unknown).await),
            }
            drop(report);
        };
        tokio::pin!(write);
        tokio::select! {
            // The last report is still to be written.
            () = tell => write.await,
            result = &mut write => result,
        }
    }
}

/// Reports an answer from so many bytes on, as far as it is said and then as it is said, until it is over or nobody listens.
pub(crate) async fn relay(
    live: &Live,
    bytes: usize,
    report: &mpsc::Sender<FromGenerator>,
    stop: impl Future<Output = ()>,
) {
    let news = Arc::new(Notify::new());
    live.listen(&news);
    let mut cursor = Cursor { run: 0, bytes };
    let mut stopped = false;
    let mut alive = tokio::time::interval(PROGRESS_EVERY);
    tokio::pin!(stop);
    loop {
        let before = cursor;
        if relay_news(live, &mut cursor, report).await.is_none() {
            return;
        }
        if cursor.bytes > before.bytes {
            // What comes within this moment goes together; a stop does not wait for it.
            tokio::select! {
                () = &mut stop, if !stopped => {
                    stopped = true;
                    live.stop();
                }
                () = tokio::time::sleep(FOLLOW_EVERY) => {}
            }
        }
        tokio::select! {
            biased;
            () = &mut stop, if !stopped => {
                stopped = true;
                live.stop();
            }
            () = news.notified() => {}
            _ = alive.tick() => if report.send(FromGenerator::Progress).await.is_err() { return },
        }
    }
}

/// Reports what is new; `None` when that was the last or nobody listens.
async fn relay_news(live: &Live, cursor: &mut Cursor, report: &mpsc::Sender<FromGenerator>) -> Option<()> {
    let Some(sayer) = live.sayer() else {
        // Nothing was said yet, and it may have failed before it began.
        return match live.since(*cursor).end {
            Some(End::Failed(error)) => {
                let _ = report.send(FromGenerator::Failed(error)).await;
                None
            }
            _ => Some(()),
        };
    };
    if cursor.run != sayer.run {
        // Whoever comes back has heard so much of this run, or else says so by another cursor.
        let heard = if cursor.run == 0 { cursor.bytes } else { 0 };
        *cursor = Cursor {
            run: sayer.run,
            bytes: heard,
        };
        let (model, run) = (sayer.model.to_string(), sayer.run);
        report.send(FromGenerator::Accepted { model, run }).await.ok()?;
    }
    let news = live.since(*cursor);
    if !news.text.is_empty() {
        let at = u32::try_from(news.from.bytes).unwrap_or(u32::MAX);
        cursor.bytes = news.from.bytes + news.text.len();
        report.send(FromGenerator::Text { at, text: news.text }).await.ok()?;
    }
    let Some(end) = news.end else { return Some(()) };
    let last = match end {
        End::Finished { message, recorded } => FromGenerator::Finished {
            message: (*message).clone(),
            recorded,
        },
        End::Failed(error) => FromGenerator::Failed(error),
    };
    let _ = report.send(last).await;
    None
}

/// Why another node did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("it sent something that is no answer")]
    Malformed,
    #[error("it does not say this answer")]
    Unknown,
}

/// Asks another node for an answer, or to hear one that it says already, and passes its reports on; ends after the last report or
/// with an error.
pub(crate) async fn ask(
    mesh: &Mesh,
    node: NodeId,
    question: FromAsker,
    report: &mpsc::Sender<FromGenerator>,
    mut stop: oneshot::Receiver<()>,
) -> Result<(), AskError> {
    // A node that is gone but not yet suspect must not hold the question for long: there may be others.
    let opened = tokio::time::timeout(ASK_OPEN_TIMEOUT, mesh.open(node, Protocol::GENERATE)).await;
    let stream = opened.unwrap_or(Err(OpenError::Timeout(node)))?;
    let (mut reader, mut writer) = tokio::io::split(stream);
    write_frame(&mut writer, &encode(&question), GENERATE_FRAME_BYTES_MAX).await?;
    let (sender, mut frames) = mpsc::channel(REPORT_QUEUE);
    // Reading is not cancel-safe, so it goes on by itself beside the wait for a stop.
    let read = async {
        loop {
            let frame = tokio::time::timeout(SILENCE_MAX, read_frame(&mut reader, GENERATE_FRAME_BYTES_MAX)).await;
            let frame = frame.unwrap_or(Err(FrameError::Timeout(SILENCE_MAX)));
            let last = !matches!(frame, Ok(Some(_)));
            if sender.send(frame).await.is_err() || last {
                return;
            }
        }
    };
    let pass_on = async {
        let mut stop_possible = true;
        loop {
            tokio::select! {
                biased;
                stopped = &mut stop, if stop_possible => {
                    stop_possible = false;
                    if stopped.is_ok() {
                        write_frame(&mut writer, &encode(&FromAsker::Stop), GENERATE_FRAME_BYTES_MAX).await?;
                    }
                }
                frame = frames.recv() => {
                    let Some(frame) = frame.transpose()?.flatten() else { return Err(AskError::Malformed) };
                    let message: FromGenerator = decode(&frame).ok_or(AskError::Malformed)?;
                    if matches!(message, FromGenerator::Unknown) {
                        return Err(AskError::Unknown);
                    }
                    let last = matches!(message, FromGenerator::Finished { .. } | FromGenerator::Failed(_));
                    if report.send(message).await.is_err() || last {
                        return Ok(());
                    }
                }
            }
        }
    };
    let read_for_ever = async {
        read.await;
        std::future::pending::<std::convert::Infallible>().await
    };
    tokio::select! {
        result = pass_on => result,
        never = read_for_ever => match never {},
    }
}
