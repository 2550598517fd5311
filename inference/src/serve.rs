//! Generations for other nodes, and asking other nodes: the two ends of `/starling/generate/1`.

use crdt::Store;
use keys::NodeId;
use mesh::{
    Mesh, OpenError, Protocol, Stream,
    frame::{FrameError, read_frame, write_frame},
};
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, oneshot},
};

use crate::{
    engine::{Engine, GenerationError},
    generate,
    limits::{ASK_OPEN_TIMEOUT, GENERATE_FRAME_BYTES_MAX, SILENCE_MAX, WRITE_TIMEOUT},
    swarm::{FromAsker, FromGenerator, Request, decode, encode},
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
    // Ends when the asker says stop; a stream that breaks is no stop: then nobody listens, and the writer below ends.
    let stop = async {
        match read_frame(&mut reader, GENERATE_FRAME_BYTES_MAX).await {
            Ok(Some(frame)) if matches!(decode(&frame), Some(FromAsker::Stop)) => {}
            _ => std::future::pending().await,
        }
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
        generate::run(engine, (store, writes), request, &report, stop).await;
        drop(report);
    };
    tokio::pin!(write);
    tokio::select! {
        // The last report is still to be written.
        () = run => write.await,
        // The asker is gone: the generation is cancelled by being dropped.
        result = &mut write => result,
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
}

/// Asks another node and passes its reports on; ends after the last report or with an error.
pub(crate) async fn ask(
    mesh: &Mesh,
    node: NodeId,
    request: Request,
    report: &mpsc::Sender<FromGenerator>,
    mut stop: oneshot::Receiver<()>,
) -> Result<(), AskError> {
    // A node that is gone but not yet suspect must not hold the question for long: there may be others.
    let opened = tokio::time::timeout(ASK_OPEN_TIMEOUT, mesh.open(node, Protocol::GENERATE)).await;
    let stream = opened.unwrap_or(Err(OpenError::Timeout(node)))?;
    let (mut reader, mut writer) = tokio::io::split(stream);
    write_frame(
        &mut writer,
        &encode(&FromAsker::Generate(request)),
        GENERATE_FRAME_BYTES_MAX,
    )
    .await?;
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
