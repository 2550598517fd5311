//! The streams between two neighbours: each side writes on the one that it has opened and reads the one of the other.

use keys::NodeId;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    time::timeout,
};

use super::{Message, wire};
use crate::{
    frame::{FrameError, read_frame, write_frame},
    limits::{LIVENESS_FRAME_BYTES_MAX, LIVENESS_WRITE_TIMEOUT},
};

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamEnd {
    #[error("this node has no more to say")]
    Said,
    #[error("the other side closed it")]
    Closed,
    #[error("a malformed frame")]
    Malformed,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the mesh has stopped")]
    Gone,
}

/// Writes what is queued until the queue is closed, or the other side ends the stream.
pub(super) async fn tell(stream: impl AsyncRead + AsyncWrite + Unpin, mut queue: mpsc::Receiver<Message>) -> StreamEnd {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut nothing = [0; 1];
    loop {
        let message = tokio::select! {
            biased;
            message = queue.recv() => message,
            // Nothing is said here by the other side; that it is gone is heard by its end.
            read = reader.read(&mut nothing) => return match read {
                Ok(0) => StreamEnd::Closed,
                Ok(_) => StreamEnd::Malformed,
                Err(error) => StreamEnd::Frame(error.into()),
            },
        };
        let Some(message) = message else {
            let closed = timeout(LIVENESS_WRITE_TIMEOUT, writer.shutdown()).await;
            return match closed {
                Ok(Ok(())) => StreamEnd::Said,
                Ok(Err(error)) => StreamEnd::Frame(error.into()),
                Err(_) => StreamEnd::Frame(FrameError::Timeout(LIVENESS_WRITE_TIMEOUT)),
            };
        };
        let bytes = wire::encode(&message);
        let written = write_frame(&mut writer, &bytes, LIVENESS_FRAME_BYTES_MAX);
        match timeout(LIVENESS_WRITE_TIMEOUT, written).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return StreamEnd::Frame(error),
            Err(_) => return StreamEnd::Frame(FrameError::Timeout(LIVENESS_WRITE_TIMEOUT)),
        }
    }
}

/// Reads what a neighbour says and reports it. It may be silent for as long as its link stands: whoever runs this ends it with the link.
pub(super) async fn hear(
    mut stream: impl AsyncRead + Unpin,
    from: NodeId,
    report: mpsc::Sender<(NodeId, Message)>,
) -> StreamEnd {
    loop {
        let bytes = match read_frame(&mut stream, LIVENESS_FRAME_BYTES_MAX).await {
            Err(error) => return StreamEnd::Frame(error),
            Ok(None) => return StreamEnd::Closed,
            Ok(Some(bytes)) => bytes,
        };
        let Some(message) = wire::decode(&bytes) else {
            return StreamEnd::Malformed;
        };
        if report.send((from, message)).await.is_err() {
            return StreamEnd::Gone;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_queued_comes_in_order_and_the_end_is_said() {
        let (here, there) = tokio::io::duplex(256);
        let (queue, queued) = mpsc::channel(8);
        let (report, mut reports) = mpsc::channel(8);
        let telling = tokio::spawn(tell(here, queued));
        let hearing = tokio::spawn(hear(there, NodeId([7; 32]), report));
        for number in 0..3 {
            queue.send(Message::Ask([number; 16])).await.unwrap();
        }
        drop(queue);
        for number in 0..3 {
            let heard = reports.recv().await.unwrap();
            assert_eq!(heard, (NodeId([7; 32]), Message::Ask([number; 16])));
        }
        assert!(matches!(telling.await.unwrap(), StreamEnd::Said));
        assert!(matches!(hearing.await.unwrap(), StreamEnd::Closed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_neighbour_that_does_not_read_loses_its_stream() {
        let (here, _silent) = tokio::io::duplex(16);
        let (queue, queued) = mpsc::channel(8);
        queue.send(Message::Ask([1; 16])).await.unwrap();
        let end = tell(here, queued).await;
        assert!(matches!(end, StreamEnd::Frame(FrameError::Timeout(_))), "{end}");
    }

    #[tokio::test]
    async fn whoever_answers_or_sends_garbage_loses_its_stream() {
        let (here, mut there) = tokio::io::duplex(256);
        let (_queue, queued) = mpsc::channel(8);
        there.write_all(&[1]).await.unwrap();
        assert!(matches!(tell(here, queued).await, StreamEnd::Malformed));
        let (mut here, there) = tokio::io::duplex(256);
        let (report, _reports) = mpsc::channel(8);
        write_frame(&mut here, &[1, 200, 200], 16).await.unwrap();
        assert!(matches!(
            hear(there, NodeId([7; 32]), report).await,
            StreamEnd::Malformed
        ));
    }
}
