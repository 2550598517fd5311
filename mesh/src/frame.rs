//! Length-prefixed frames on a byte stream: four bytes little endian, then the body. The length is checked before anything is
//! read or allocated. What is in a body: a version byte, then postcard, and nothing behind it.

use std::{io, time::Duration};

use keys::versioned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than the protocol allows.
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLarge {
        /// Announced bytes.
        length: usize,
        /// Allowed bytes.
        limit: usize,
    },
    /// Nothing came or could be written in time.
    #[error("the other side did not go on within {0:?}")]
    Timeout(Duration),
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
}

/// Reads one frame of at most `limit` bytes; `Ok(None)` when the stream ended between frames.
///
/// # Errors
/// When the frame is too large, cut, or the stream breaks.
pub async fn read_frame(stream: &mut (impl AsyncRead + Unpin), limit: usize) -> Result<Option<Vec<u8>>, FrameError> {
    let mut prefix = [0; 4];
    match stream.read(&mut prefix).await? {
        0 => return Ok(None),
        read => stream.read_exact(&mut prefix[read..]).await?,
    };
    let length = u32::from_le_bytes(prefix) as usize;
    if length > limit {
        return Err(FrameError::TooLarge { length, limit });
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(body))
}

/// Writes one frame and flushes.
///
/// # Errors
/// When the body is over `limit` or the stream breaks.
pub async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), body: &[u8], limit: usize) -> Result<(), FrameError> {
    if body.len() > limit {
        return Err(FrameError::TooLarge {
            length: body.len(),
            limit,
        });
    }
    let length = u32::try_from(body.len()).map_err(|_| FrameError::TooLarge {
        length: body.len(),
        limit,
    })?;
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(body);
    stream.write_all(&frame).await?;
    stream.flush().await?;
    Ok(())
}

/// Reads or writes a frame by a deadline.
///
/// # Errors
/// As the frame's, and [`FrameError::Timeout`].
pub async fn within<T>(
    deadline: Duration,
    frame: impl Future<Output = Result<T, FrameError>>,
) -> Result<T, FrameError> {
    let frame = tokio::time::timeout(deadline, frame).await;
    frame.unwrap_or(Err(FrameError::Timeout(deadline)))
}

/// The body of a frame that says `message` in this version of a protocol.
#[must_use]
pub fn encode(version: u8, message: &impl Serialize) -> Vec<u8> {
    // The messages of this project can all be written; the limit is that of the frame.
    versioned::encode(version, message, usize::MAX).unwrap_or_default()
}

/// What [`encode`] wrote under the same version; nothing else is a message. Its length was bounded when the frame was read.
#[must_use]
pub fn decode<'a, T: Deserialize<'a>>(version: u8, body: &'a [u8]) -> Option<T> {
    versioned::decode(version, body, body.len()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_round_trip_and_a_large_one_is_refused_before_it_is_read() {
        let (mut here, mut there) = tokio::io::duplex(64);
        write_frame(&mut here, b"hello", 16).await.unwrap();
        assert_eq!(read_frame(&mut there, 16).await.unwrap().unwrap(), b"hello");
        assert!(matches!(
            write_frame(&mut here, &[0; 17], 16).await,
            Err(FrameError::TooLarge { .. })
        ));
        here.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
        assert!(matches!(
            read_frame(&mut there, 16).await,
            Err(FrameError::TooLarge { .. })
        ));
        drop(here);
        assert!(read_frame(&mut there, 16).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_cut_frame_is_an_error_not_an_end() {
        let (mut here, mut there) = tokio::io::duplex(64);
        here.write_all(&[9, 0, 0, 0, 1, 2]).await.unwrap();
        drop(here);
        assert!(matches!(read_frame(&mut there, 16).await, Err(FrameError::Io(_))));
    }
}
