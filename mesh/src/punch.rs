//! How two nodes that are linked through a relay agree to dial each other directly at the same moment, so that each one's packets open
//! its own router for the other's: libp2p's DCUtR in a protocol of our own.
//!
//! The messages and the timing are DCUtR's. libp2p's own behaviour is not used, because it keeps a map that grows with every attempt, takes the
//! addresses as they were when the connection began, and gives up after three attempts; and as one of our streams this is gated,
//! bounded and listed like all others.
//!
//! The side to which the relayed connection came begins. It measures how long the way takes, says `Go`, and acts half a round trip later, when
//! the other side has read it and acts too. One of the two acts as the server: the one that began, unless it alone is behind a symmetric router,
//! which shows every server another port but may dial one whose router is not.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    frame::{self, FrameError, read_frame, write_frame},
    limits::{PUNCH_ADDRESSES_MAX, PUNCH_FRAME_BYTES_MAX, PUNCH_TALK_TIMEOUT},
};

/// First byte of every frame of this protocol.
const VERSION: u8 = 1;

#[derive(Debug, Serialize, Deserialize)]
enum Frame {
    /// How to come to the sender.
    Way(Way),
    /// Act now.
    Go,
}

/// How to come to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Way {
    /// Where others see its packets come from.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Whether its router shows everybody another port.
    pub(crate) symmetric: bool,
}

/// Why the two sides did not agree.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PunchError {
    #[error("the other side did not keep to the protocol")]
    Malformed,
    #[error("the other side closed the stream")]
    Closed,
    #[error("no agreement in {PUNCH_TALK_TIMEOUT:?}")]
    Timeout,
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Who speaks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// This side: the relayed connection came to it.
    Begins,
    /// The other side.
    Answers,
}

/// What a side does once both have agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Opens its router and takes the connection that comes.
    Opens,
    /// Dials.
    Dials,
}

/// Talks as either side. When it returns, this side acts at once on the other's addresses.
pub(crate) async fn agree(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    turn: Turn,
    own: Way,
) -> Result<(Side, Vec<SocketAddr>), PunchError> {
    let talk = async {
        match turn {
            Turn::Begins => {
                let began = Instant::now();
                write(&mut stream, Frame::Way(own.clone())).await?;
                let theirs = way(read(&mut stream).await?)?;
                let there = began.elapsed() / 2;
                write(&mut stream, Frame::Go).await?;
                tokio::time::sleep(there).await;
                let (ours, _) = sides(&own, &theirs);
                Ok((ours, theirs.addresses))
            }
            Turn::Answers => {
                let theirs = way(read(&mut stream).await?)?;
                write(&mut stream, Frame::Way(own.clone())).await?;
                let (_, ours) = sides(&theirs, &own);
                match read(&mut stream).await? {
                    Frame::Go => Ok((ours, theirs.addresses)),
                    Frame::Way(_) => Err(PunchError::Malformed),
                }
            }
        }
    };
    let agreed = tokio::time::timeout(PUNCH_TALK_TIMEOUT, talk).await;
    agreed.unwrap_or(Err(PunchError::Timeout))
}

/// What whoever began does, and what the other does.
fn sides(begins: &Way, answers: &Way) -> (Side, Side) {
    if begins.symmetric && !answers.symmetric {
        (Side::Dials, Side::Opens)
    } else {
        (Side::Opens, Side::Dials)
    }
}

fn way(frame: Frame) -> Result<Way, PunchError> {
    match frame {
        Frame::Way(way) if way.addresses.len() <= PUNCH_ADDRESSES_MAX => Ok(way),
        _ => Err(PunchError::Malformed),
    }
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), frame: Frame) -> Result<(), PunchError> {
    Ok(write_frame(stream, &frame::encode(VERSION, &frame), PUNCH_FRAME_BYTES_MAX).await?)
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Frame, PunchError> {
    let bytes = read_frame(stream, PUNCH_FRAME_BYTES_MAX)
        .await?
        .ok_or(PunchError::Closed)?;
    frame::decode(VERSION, &bytes).ok_or(PunchError::Malformed)
}

/// For whoever tries bytes: reads a frame and writes what was read.
pub(crate) fn again(bytes: &[u8]) -> Option<Vec<u8>> {
    frame::decode::<Frame>(VERSION, bytes).map(|frame| frame::encode(VERSION, &frame))
}

/// A frame of each kind.
pub(crate) fn examples() -> Vec<(String, Vec<u8>)> {
    let (addresses, symmetric) = (vec![([203, 0, 113, 10], 4001).into()], true);
    [("way", Frame::Way(Way { addresses, symmetric })), ("go", Frame::Go)]
        .map(|(name, frame)| (name.to_owned(), frame::encode(VERSION, &frame)))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way_to(numbers: impl IntoIterator<Item = u8>, symmetric: bool) -> Way {
        let address = |number| SocketAddr::from(([203, 0, 113, number], 4001));
        Way {
            addresses: numbers.into_iter().map(address).collect(),
            symmetric,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn both_sides_learn_where_the_other_is_and_a_symmetric_one_dials() {
        use Side::{Dials, Opens};
        for (begins, answers, expected) in [
            (false, false, (Opens, Dials)),
            (false, true, (Opens, Dials)),
            (true, true, (Opens, Dials)),
            (true, false, (Dials, Opens)),
        ] {
            let (here, there) = tokio::io::duplex(1024);
            let (begins, answers) = (way_to([1], begins), way_to([2, 3], answers));
            let (first, second) = tokio::join!(
                agree(here, Turn::Begins, begins.clone()),
                agree(there, Turn::Answers, answers.clone())
            );
            assert_eq!(first.unwrap(), (expected.0, answers.addresses));
            assert_eq!(second.unwrap(), (expected.1, begins.addresses));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_garbage_and_too_many_addresses_end_it() {
        let answer = |stream| agree(stream, Turn::Answers, Way::default());
        let (here, _silent) = tokio::io::duplex(1024);
        assert!(matches!(answer(here).await, Err(PunchError::Timeout)));
        let (here, mut there) = tokio::io::duplex(1024);
        write_frame(&mut there, &[VERSION, 9], 16).await.unwrap();
        assert!(matches!(answer(here).await, Err(PunchError::Malformed)));
        let (here, mut there) = tokio::io::duplex(1024);
        let many = way_to(0..=PUNCH_ADDRESSES_MAX as u8, false);
        write(&mut there, Frame::Way(many)).await.unwrap();
        assert!(matches!(answer(here).await, Err(PunchError::Malformed)));
    }
}
