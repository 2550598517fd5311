//! Uploads: answers what other members ask about blobs, at the pace it is given.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use keys::NodeId;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    task::JoinSet,
};

use super::{
    BlobId, BlobStore, Pace,
    tree::groups_of,
    wire::{self, Answer, End, Request},
};
use crate::{
    Stream,
    frame::{FrameError, read_frame, within, write_frame},
    limits::{
        BLOB_ASKS_MAX, BLOB_BUSY_TIMEOUT, BLOB_FRAME_BYTES_MAX, BLOB_FRAME_TIMEOUT, BLOB_IDLE, BLOB_READ_GROUPS,
        BLOB_REQUEST_BYTES_MAX, BLOB_UPLOADS_MAX,
    },
};

/// Why a conversation ended before its time.
#[derive(Debug, thiserror::Error)]
enum UploadError {
    #[error("a frame that is no question")]
    Malformed,
    #[error("nothing was asked for {BLOB_IDLE:?}")]
    Idle,
    #[error("more than {BLOB_ASKS_MAX} questions ahead")]
    TooManyAsks,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("reading was cut short by the end of the runtime")]
    Stopped,
}

/// Serves blobs on inbound streams of [`Protocol::BLOB`](crate::Protocol::BLOB) until the mesh stops. At most
/// [`BLOB_UPLOADS_MAX`] conversations at once; further ones are told so.
pub async fn serve(mut streams: mpsc::Receiver<(NodeId, Stream)>, store: BlobStore, pace: Pace) {
    // Dropping the set ends every upload.
    let mut uploads = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = uploads.join_next() => {}
            stream = streams.recv() => match stream {
                Some((node, stream)) if uploads.len() < BLOB_UPLOADS_MAX => {
                    let (store, pace) = (store.clone(), pace.clone());
                    uploads.spawn(async move {
                        if let Err(error) = upload(stream, &store, &pace).await {
                            tracing::debug!(node = %node.short(), %error, "an upload ended");
                        }
                    });
                }
                Some((_, stream)) => say_busy(stream).await,
                None => return,
            },
        }
    }
}

/// One frame fits into any fresh stream, so this hardly waits; whoever does not take it is cut off.
async fn say_busy(mut stream: Stream) {
    let busy = wire::answer(&Answer::Busy);
    let said = async {
        write_frame(&mut stream, &busy, BLOB_FRAME_BYTES_MAX).await?;
        Ok::<(), FrameError>(stream.shutdown().await?)
    };
    // Whether it was heard or not, this stream is over.
    let _ = tokio::time::timeout(BLOB_BUSY_TIMEOUT, said).await;
}

/// How many groups of each question are still wanted.
type Wanted = Arc<Mutex<BTreeMap<u32, u64>>>;

/// One conversation: a half that hears questions, so that some can be taken back while others are answered, and a half that answers.
async fn upload(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    store: &BlobStore,
    pace: &Pace,
) -> Result<(), UploadError> {
    let (reader, mut writer) = tokio::io::split(stream);
    let (asked, mut asks) = mpsc::channel(BLOB_ASKS_MAX);
    let wanted = Wanted::default();
    let answering = async {
        while let Some(request) = asks.recv().await {
            match request {
                Request::Have { blob } => have(&mut writer, store, blob).await?,
                Request::Get {
                    ask,
                    blob,
                    first,
                    count,
                } => {
                    give(&mut writer, (store, pace), (ask, blob), (first, count), &wanted).await?;
                    lock(&wanted).remove(&ask);
                }
                // Heard by the other half.
                Request::Keep { .. } => {}
            }
        }
        writer.shutdown().await.map_err(FrameError::from)?;
        Ok(())
    };
    tokio::try_join!(hear(reader, asked, &wanted), answering)?;
    Ok(())
}

fn lock(wanted: &Wanted) -> std::sync::MutexGuard<'_, BTreeMap<u32, u64>> {
    // A plain lock: held for a few instructions, never across an await.
    wanted.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn hear(
    mut reader: impl AsyncRead + Unpin,
    asked: mpsc::Sender<Request>,
    wanted: &Wanted,
) -> Result<(), UploadError> {
    loop {
        let frame = read_frame(&mut reader, BLOB_REQUEST_BYTES_MAX);
        let frame = tokio::time::timeout(BLOB_IDLE, frame).await;
        let Some(frame) = frame.map_err(|_| UploadError::Idle)?? else {
            return Ok(());
        };
        match wire::read_request(&frame).ok_or(UploadError::Malformed)? {
            Request::Keep { ask, count } => {
                if let Some(wanted) = lock(wanted).get_mut(&ask) {
                    *wanted = count.min(*wanted);
                }
            }
            request => {
                if let Request::Get { ask, count, .. } = &request {
                    lock(wanted).insert(*ask, *count);
                }
                asked.try_send(request).map_err(|_| UploadError::TooManyAsks)?;
            }
        }
    }
}

async fn have(writer: &mut (impl AsyncWrite + Unpin), store: &BlobStore, blob: BlobId) -> Result<(), UploadError> {
    let answer = match store.holding(blob) {
        Some(holding) => wire::holds(holding.size, holding.groups.as_ref()),
        None => Answer::Nothing,
    };
    say(writer, &answer).await
}

async fn say(writer: &mut (impl AsyncWrite + Unpin), answer: &Answer<'_>) -> Result<(), UploadError> {
    let frame = wire::answer(answer);
    Ok(within(BLOB_FRAME_TIMEOUT, write_frame(writer, &frame, BLOB_FRAME_BYTES_MAX)).await?)
}

/// Answers one question.
async fn give(
    writer: &mut (impl AsyncWrite + Unpin),
    (store, pace): (&BlobStore, &Pace),
    (ask, blob): (u32, BlobId),
    (first, count): (u64, u64),
    wanted: &Wanted,
) -> Result<(), UploadError> {
    let missing = Answer::End { ask, end: End::Missing };
    let opening = store.clone();
    let opened = off_the_runtime(move || opening.reader(blob)).await?;
    let reader = match opened {
        Ok(reader) if first + count <= groups_of(reader.size) => Arc::new(reader),
        Ok(_) => return say(writer, &missing).await,
        Err(error) => {
            tracing::debug!(%error, "asked for a blob that cannot be read");
            return say(writer, &missing).await;
        }
    };
    // Of a part only what is here is read: the rest is not damaged but yet to come.
    let held = store.held_from(blob, first, count);
    let size = reader.size;
    say(writer, &Answer::Begin { ask, size }).await?;
    let mut walk = reader.walk(first..first + count);
    let mut sent = 0;
    while sent < held {
        let reading = reader.clone();
        let (groups, error, back) = off_the_runtime(move || {
            let at_once = usize::try_from(held - sent).unwrap_or(usize::MAX).min(BLOB_READ_GROUPS);
            let (groups, error) = reading.next(&mut walk, at_once);
            (groups, error, walk)
        })
        .await?;
        walk = back;
        for group in groups {
            if lock(wanted).get(&ask).is_none_or(|wanted| sent >= *wanted) {
                return say(writer, &Answer::End { ask, end: End::Sent }).await;
            }
            pace.take(group.len() as u64).await;
            say(writer, &Answer::Group(&group)).await?;
            sent += 1;
        }
        if let Some(error) = error {
            tracing::warn!(%error, "a blob could not be read");
            return say(writer, &missing).await;
        }
    }
    let end = if held == count { End::Sent } else { End::Missing };
    say(writer, &Answer::End { ask, end }).await
}

/// Reading and hashing wait for the disk: they run where nothing else waits for them.
async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, UploadError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| UploadError::Stopped)
}
