//! Generations for other nodes, and asking other nodes: the two ends of `/starling/generate/1`.

use std::time::{Duration, Instant};

use crdt::{Store, records::session::Message};
use keys::NodeId;
use mesh::{
    Mesh, OpenError, Protocol, Stream,
    frame::{FrameError, read_frame, write_frame},
};
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, watch},
};

use crate::{
    engine::{Engine, GenerationError},
    generate,
    limits::{ASK_OPEN_TIMEOUT, GENERATE_FRAME_BYTES_MAX, PROGRESS_EVERY, SILENCE_MAX, WRITE_TIMEOUT},
    swarm::{FromAsker, FromGenerator, Request, decode, encode, pace::Pace},
};

/// Reports that wait for the network; the generation then waits, and with it the engine's queue for it.
const REPORT_QUEUE: usize = 64;

/// Serves generations until the mesh stops.
pub(crate) async fn serve(engine: Engine, store: Store, mesh: Mesh, mut streams: mpsc::Receiver<(NodeId, Stream)>) {
    while let Some((node, stream)) = streams.recv().await {
        let (engine, store) = (engine.clone(), store.clone());
        let writes = generate::writes_answers(&mesh);
        // Whoever asks may not have heard yet that this node drains or is kept from working.
        let takes_work = mesh.view().borrow().takes_work(&mesh.node());
        tokio::spawn(async move {
            let served = match takes_work {
                true => serve_one(&engine, &store, writes, stream).await,
                false => decline(stream).await,
            };
            if let Err(error) = served {
                tracing::debug!(node = %node.short(), %error, "a generation for another node ended early");
            }
        });
    }
}

/// Says at once that somebody else must be asked.
async fn decline(mut stream: Stream) -> Result<(), FrameError> {
    let frame = encode(&FromGenerator::Failed(GenerationError::Busy));
    let said = async {
        write_frame(&mut stream, &frame, GENERATE_FRAME_BYTES_MAX).await?;
        stream.shutdown().await.map_err(FrameError::Io)?;
        // The question is read and left: a stream that is dropped before takes the answer with it.
        read_frame(&mut stream, GENERATE_FRAME_BYTES_MAX).await.map(drop)
    };
    let said = tokio::time::timeout(WRITE_TIMEOUT, said).await;
    said.unwrap_or(Err(FrameError::Timeout(WRITE_TIMEOUT)))
}

async fn serve_one(engine: &Engine, store: &Store, writes: bool, stream: Stream) -> Result<(), FrameError> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let first = tokio::time::timeout(SILENCE_MAX, read_frame(&mut reader, GENERATE_FRAME_BYTES_MAX)).await;
    let frame = first.map_err(|_| FrameError::Timeout(SILENCE_MAX))??;
    let Some(FromAsker::Generate(request)) = frame.as_deref().and_then(decode) else {
        return Err(FrameError::Io(std::io::Error::other("not a question")));
    };
    let (report, mut reports) = mpsc::channel(REPORT_QUEUE);
    let (stop, stopped) = watch::channel(false);
    let (record, recorded) = watch::channel(false);
    // A stream that breaks is no stop: then nobody listens, and the writer below ends.
    let hear = async {
        while let Ok(Some(frame)) = read_frame(&mut reader, GENERATE_FRAME_BYTES_MAX).await {
            match decode(&frame) {
                Some(FromAsker::Stop) => drop(stop.send_replace(true)),
                Some(FromAsker::Record) => drop(record.send_replace(true)),
                Some(FromAsker::Generate(_)) | None => break,
            }
        }
        std::future::pending::<std::convert::Infallible>().await
    };
    let write = async {
        while let Some(message) = reports.recv().await {
            // An asker that does not read must not hold a generation.
            let frame = encode(&message);
            let written = write_frame(&mut writer, &frame, GENERATE_FRAME_BYTES_MAX);
            tokio::time::timeout(WRITE_TIMEOUT, written)
                .await
                .map_err(|_| FrameError::Timeout(WRITE_TIMEOUT))??;
        }
        writer.shutdown().await.map_err(FrameError::Io)
    };
    let run = async {
        let stop = told(stopped);
        if let Some(message) = generate::run(engine, &request, &report, stop).await {
            hand_over(store, writes, &request, message, &report, told(recorded)).await;
        }
        drop(report);
    };
    tokio::pin!(write);
    tokio::select! {
        // The last report is still to be written.
        () = run => write.await,
        // The asker is gone: the generation is cancelled by being dropped.
        result = &mut write => result,
        never = hear => match never {},
    }
}

/// Until it is said, which may be never.
async fn told(mut said: watch::Receiver<bool>) {
    if said.wait_for(|said| *said).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Says that this node is alive while something takes its time.
async fn alive<T>(report: &mpsc::Sender<FromGenerator>, work: impl Future<Output = T>) -> T {
    let beat = async {
        let mut beat = tokio::time::interval(PROGRESS_EVERY);
        loop {
            beat.tick().await;
            // Whoever no longer listens needs no beat.
            let _ = report.try_send(FromGenerator::Progress);
        }
    };
    tokio::select! {
        done = work => done,
        never = beat => never,
    }
}

/// Tells the answer and writes it when the asker says so. A node that was given up meanwhile, frozen or out of reach, is never told to:
/// another one writes what that one made.
async fn hand_over(
    store: &Store,
    writes: bool,
    request: &Request,
    message: Message,
    report: &mpsc::Sender<FromGenerator>,
    told_to: impl Future<Output = ()>,
) {
    let can_record = writes && alive(report, generate::wait_for_session(store, request)).await;
    let finished = FromGenerator::Finished {
        epoch: request.epoch,
        message: generate::signed(&message, store.node()),
        can_record,
    };
    if report.send(finished).await.is_err() || !can_record {
        return;
    }
    if tokio::time::timeout(SILENCE_MAX, told_to).await.is_ok() {
        let written = alive(report, generate::record(store, request.session, message)).await;
        // Whoever no longer listens finds the answer in the session.
        let _ = report.send(FromGenerator::Recorded(written)).await;
    }
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
    #[error("it has been silent for longer than its pace allows")]
    Frozen,
}

/// Asks another node and passes its reports on; ends after the last report or with an error. `orders` are passed on to it.
pub(crate) async fn ask(
    mesh: &Mesh,
    node: NodeId,
    request: Request,
    report: &mpsc::Sender<FromGenerator>,
    mut orders: mpsc::Receiver<FromAsker>,
) -> Result<(), AskError> {
    // A node that is gone but not yet suspect must not hold the question for long: there may be others.
    let opened = tokio::time::timeout(ASK_OPEN_TIMEOUT, mesh.open(node, Protocol::GENERATE)).await;
    let stream = opened.unwrap_or(Err(OpenError::Timeout(node)))?;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let question = encode(&FromAsker::Generate(Box::new(request)));
    write_frame(&mut writer, &question, GENERATE_FRAME_BYTES_MAX).await?;
    let (sender, mut frames) = mpsc::channel(REPORT_QUEUE);
    // Reading is not cancel-safe, so it goes on by itself beside the wait for orders.
    let read = async {
        let mut pace = Pace::new(Instant::now());
        loop {
            let until = pace.frozen_at();
            let frame = tokio::time::timeout_at(until.into(), read_frame(&mut reader, GENERATE_FRAME_BYTES_MAX)).await;
            let now = Instant::now();
            let frame = match frame {
                Ok(Ok(Some(frame))) => decode(&frame).ok_or(AskError::Malformed),
                Ok(Ok(None)) => Err(AskError::Malformed),
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err(AskError::Frozen),
            };
            pace.heard(now);
            if let Ok(FromGenerator::Accepted { beat_ms, .. }) = frame {
                pace.announced(Duration::from_millis(beat_ms.into()));
            }
            let last = frame.is_err();
            if sender.send(frame).await.is_err() || last {
                return;
            }
        }
    };
    let pass_on = async {
        loop {
            tokio::select! {
                biased;
                Some(order) = orders.recv() => write_frame(&mut writer, &encode(&order), GENERATE_FRAME_BYTES_MAX).await?,
                frame = frames.recv() => {
                    let message = frame.unwrap_or(Err(AskError::Malformed))?;
                    let last = matches!(
                        message,
                        FromGenerator::Finished { can_record: false, .. } | FromGenerator::Recorded(_) | FromGenerator::Failed(_)
                    );
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
