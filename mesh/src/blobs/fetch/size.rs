//! How large is it? A source can claim anything, so nothing is made of that size before one has proven it with the last group, whose
//! place is part of its hash.

use futures::{StreamExt, stream::FuturesUnordered};
use keys::NodeId;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    progress::SourceState,
    source::{Checks, TalkError, say},
};
use crate::{
    Mesh,
    blobs::{
        BlobError, BlobId,
        tree::groups_of,
        wire::{self, Answer, Request},
    },
    frame::{FrameError, read_frame},
    limits::{BLOB_CONNECT_TIMEOUT, BLOB_FRAME_BYTES_MAX},
};

/// Asks all sources at once and takes the first proof. Also says which of them lied until then.
pub(super) async fn prove(
    mesh: &Mesh,
    blob: BlobId,
    sources: &[NodeId],
    checks: Checks,
) -> Result<(u64, Vec<usize>), BlobError> {
    let mut asked: FuturesUnordered<_> = sources
        .iter()
        .enumerate()
        .map(|(index, node)| async move { (index, *node, prove_one(mesh, blob, *node, checks).await) })
        .collect();
    let (mut bad, mut tried) = (Vec::new(), Vec::new());
    while let Some((index, node, proof)) = asked.next().await {
        let state = match proof {
            Ok(Some(size)) => return Ok((size, bad)),
            Ok(None) => SourceState::Waiting,
            Err(TalkError::Malformed | TalkError::Mismatch(_)) => {
                bad.push(index);
                SourceState::Bad
            }
            Err(TalkError::Busy) => SourceState::Busy,
            Err(error) => {
                tracing::debug!(node = %node.short(), %blob, %error, "no size of a blob");
                SourceState::Away
            }
        };
        tried.push((node, state));
    }
    // Not even its size is known.
    let missing = 0;
    Err(BlobError::NoSource { blob, missing, tried })
}

async fn prove_one(mesh: &Mesh, blob: BlobId, node: NodeId, checks: Checks) -> Result<Option<u64>, TalkError> {
    let asking = async {
        let stream = mesh.open_for_blobs(node).await?;
        ask(stream, blob, checks).await
    };
    let asked = tokio::time::timeout(BLOB_CONNECT_TIMEOUT, asking).await;
    asked.map_err(|_| FrameError::Timeout(BLOB_CONNECT_TIMEOUT))?
}

/// `None` when this one cannot prove it.
async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    blob: BlobId,
    checks: Checks,
) -> Result<Option<u64>, TalkError> {
    // Who takes no questions may have said why: that it is busy.
    let _ = say(&mut stream, &Request::Have { blob }).await;
    let frame = next(&mut stream).await?;
    let size = match wire::read_answer(&frame).ok_or(TalkError::Malformed)? {
        Answer::Holds { size, runs } if runs.last().map(|(first, count)| first + count) == Some(groups_of(size)) => {
            size
        }
        Answer::Holds { .. } | Answer::Nothing => return Ok(None),
        Answer::Busy => return Err(TalkError::Busy),
        _ => return Err(TalkError::Malformed),
    };
    let last = groups_of(size) - 1;
    let (ask, first, count) = (0, last, 1);
    let get = Request::Get {
        ask,
        blob,
        first,
        count,
    };
    say(&mut stream, &get).await?;
    let frame = next(&mut stream).await?;
    match wire::read_answer(&frame).ok_or(TalkError::Malformed)? {
        Answer::Begin { size: again, .. } if again == size => {}
        Answer::End { .. } => return Ok(None),
        _ => return Err(TalkError::Malformed),
    }
    let frame = next(&mut stream).await?;
    match wire::read_answer(&frame).ok_or(TalkError::Malformed)? {
        Answer::Group(sent) => {
            checks.walk(blob, size, last..last + 1).verify(sent.to_vec())?;
            Ok(Some(size))
        }
        Answer::End { .. } => Ok(None),
        _ => Err(TalkError::Malformed),
    }
}

async fn next(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, TalkError> {
    let frame = read_frame(stream, BLOB_FRAME_BYTES_MAX).await?;
    frame.ok_or(TalkError::Ended)
}
