//! Dialling back: a member tries to reach another at its addresses, as a newcomer would, and says how that went. A node cannot see from
//! inside whether its ports are open; whoever is linked with it already may have been let in through a hole that it made itself.
//!
//! The one who is asked dials with a key made for this and from ports of their own, so that no router and no firewall knows them, and no link
//! is touched: to the node that asked they are strangers, who are refused once they have proven that its key answers (`transport::trial`). They
//! dial nothing but what the node has announced of itself and where they see it, which they would dial anyhow: nobody is made to
//! knock at somebody else's door.
//!
//! *A journey*: [`crate::Mesh::dial_back`] -> `Ask` -> the other's actor looks up the addresses -> `Clock` at once, so that its way can
//! be measured -> all addresses are dialled at the same time -> `Tried`.

use std::{net::SocketAddr, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use keys::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    LinkPath,
    frame::{self, FrameError, read_frame, write_frame},
    limits::{DIALBACK_ATTEMPTS_MAX, DIALBACK_FRAME_BYTES_MAX, DIALBACK_TIMEOUT, DIALBACK_TRY_TIMEOUT},
    streams::OpenError,
    transport::{Trial, TrialError},
};

/// First byte of every frame of this protocol.
const VERSION: u8 = 1;

#[derive(Debug, Serialize, Deserialize)]
enum Frame {
    /// "Try to reach me."
    Ask,
    /// The clock of the one who was asked, in milliseconds since 1970.
    Clock(u64),
    /// How each attempt went.
    Tried(Vec<Attempt>),
    /// As many are being tried for others as there may be.
    Busy,
}

/// An attempt to reach a node from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Where.
    pub address: SocketAddr,
    /// By what; neither punched nor relayed.
    pub path: LinkPath,
    /// How it went.
    pub outcome: Outcome,
}

/// How an attempt to reach a node from outside went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The node proved its key after so many milliseconds.
    Reached(u32),
    /// Somebody else answered there.
    AnotherKey,
    /// It was refused: nothing listens there, or no way leads there.
    Refused,
    /// Nobody answered in time: a firewall or a router drops what comes, or the address is wrong.
    Silent,
}

/// What a member says after it has tried to reach this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialback {
    /// Its clock less this node's, in milliseconds.
    pub clock_ahead_ms: i64,
    /// How far off that may be, because the way there and the way back may take different times.
    pub clock_uncertain_ms: u64,
    /// Each attempt.
    pub attempts: Vec<Attempt>,
}

/// Why a member did not dial back.
#[derive(Debug, thiserror::Error)]
pub enum DialbackError {
    /// No stream; a member of the release before refuses it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It tries for others already.
    #[error("it is trying to reach other nodes at the moment")]
    Busy,
    /// It did not keep to the protocol.
    #[error("it did not keep to the protocol")]
    Malformed,
    /// The stream broke or took too long.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Asks the member at the other end to try.
pub(crate) async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<Dialback, DialbackError> {
    let talk = async {
        let (began, sent) = (Instant::now(), Timestamp::now());
        write(&mut stream, &Frame::Ask).await?;
        let clock = match read(&mut stream).await? {
            Frame::Clock(clock) => clock,
            Frame::Busy => return Err(DialbackError::Busy),
            Frame::Ask | Frame::Tried(_) => return Err(DialbackError::Malformed),
        };
        let half = u64::try_from(began.elapsed().as_millis() / 2).unwrap_or(u64::MAX);
        let Frame::Tried(attempts) = read(&mut stream).await? else {
            return Err(DialbackError::Malformed);
        };
        Ok(Dialback {
            clock_ahead_ms: clock.wrapping_sub(sent.0.saturating_add(half)).cast_signed(),
            clock_uncertain_ms: half + 1,
            attempts,
        })
    };
    in_time(talk).await
}

/// Says to whoever asks that others are served.
pub(crate) async fn decline(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), DialbackError> {
    let talk = async {
        let _ = read(&mut stream).await?;
        write(&mut stream, &Frame::Busy).await
    };
    in_time(talk).await
}

/// Tries to reach the node that asks, at these of its addresses.
pub(crate) async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    trial: Trial,
    mut targets: Vec<(SocketAddr, LinkPath)>,
) -> Result<(), DialbackError> {
    targets.truncate(DIALBACK_ATTEMPTS_MAX);
    let talk = async {
        let Frame::Ask = read(&mut stream).await? else {
            return Err(DialbackError::Malformed);
        };
        write(&mut stream, &Frame::Clock(Timestamp::now().0)).await?;
        let attempts = targets.iter().map(|&(address, path)| attempt(&trial, address, path));
        let mut attempts: Vec<Attempt> = attempts.collect::<FuturesUnordered<_>>().collect().await;
        attempts.sort_by_key(|one| (one.address, one.path));
        write(&mut stream, &Frame::Tried(attempts)).await
    };
    in_time(talk).await
}

async fn in_time<T>(talk: impl Future<Output = Result<T, DialbackError>>) -> Result<T, DialbackError> {
    let talked = tokio::time::timeout(DIALBACK_TIMEOUT, talk).await;
    talked.unwrap_or(Err(DialbackError::Frame(FrameError::Timeout(DIALBACK_TIMEOUT))))
}

async fn attempt(trial: &Trial, address: SocketAddr, path: LinkPath) -> Attempt {
    let began = Instant::now();
    let dialled = tokio::time::timeout(DIALBACK_TRY_TIMEOUT, trial.dial(address, path)).await;
    let outcome = match dialled {
        Ok(Ok(())) => Outcome::Reached(milliseconds(began.elapsed())),
        Ok(Err(TrialError::AnotherKey)) => Outcome::AnotherKey,
        Ok(Err(TrialError::Refused)) => Outcome::Refused,
        Ok(Err(TrialError::Silent)) | Err(_) => Outcome::Silent,
    };
    Attempt { address, path, outcome }
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> Result<(), DialbackError> {
    Ok(write_frame(stream, &frame::encode(VERSION, frame), DIALBACK_FRAME_BYTES_MAX).await?)
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Frame, DialbackError> {
    let bytes = read_frame(stream, DIALBACK_FRAME_BYTES_MAX).await?;
    let frame = frame::decode(VERSION, &bytes.ok_or(DialbackError::Malformed)?);
    match frame {
        Some(Frame::Tried(attempts)) if attempts.len() > DIALBACK_ATTEMPTS_MAX => Err(DialbackError::Malformed),
        Some(frame) => Ok(frame),
        None => Err(DialbackError::Malformed),
    }
}

/// For whoever tries bytes: reads a frame and writes what was read.
pub(crate) fn again(bytes: &[u8]) -> Option<Vec<u8>> {
    frame::decode::<Frame>(VERSION, bytes).map(|frame| frame::encode(VERSION, &frame))
}

/// A frame of each kind.
pub(crate) fn examples() -> Vec<(String, Vec<u8>)> {
    let attempt = |last, path, outcome| Attempt {
        address: ([203, 0, 113, last], 4001).into(),
        path,
        outcome,
    };
    let attempts = vec![
        attempt(10, LinkPath::Quic, Outcome::Reached(12)),
        attempt(10, LinkPath::Tcp, Outcome::Silent),
        attempt(11, LinkPath::WebSocket, Outcome::Refused),
    ];
    [
        ("ask", Frame::Ask),
        ("clock", Frame::Clock(1_790_000_000_000)),
        ("tried", Frame::Tried(attempts)),
        ("busy", Frame::Busy),
    ]
    .map(|(name, frame)| (name.to_owned(), frame::encode(VERSION, &frame)))
    .into()
}

#[cfg(test)]
mod tests {
    use keys::NodeKey;
    use tokio::net::{TcpListener, UdpSocket};

    use super::*;

    fn trial() -> Trial {
        Trial::of(NodeKey::generate().id()).unwrap()
    }

    #[tokio::test]
    async fn what_does_not_answer_what_is_closed_and_what_is_somebody_else_are_told_apart() {
        // Takes packets and says nothing, as behind a firewall.
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let targets = vec![(silent.local_addr().unwrap(), LinkPath::Quic), (closed, LinkPath::Tcp)];
        let (here, there) = tokio::io::duplex(4096);
        let (asked, answered) = tokio::join!(ask(here), answer(there, trial(), targets));
        answered.unwrap();
        let dialback = asked.unwrap();
        let mut outcomes: Vec<_> = dialback.attempts.iter().map(|one| (one.path, one.outcome)).collect();
        outcomes.sort_by_key(|one| one.0);
        assert_eq!(
            outcomes,
            [(LinkPath::Quic, Outcome::Silent), (LinkPath::Tcp, Outcome::Refused)]
        );
        // Both sides read the same clock.
        let uncertain = i64::try_from(dialback.clock_uncertain_ms).unwrap();
        assert!(dialback.clock_ahead_ms.abs() <= uncertain, "{dialback:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_a_silent_and_a_wrong_one_are_errors() {
        let (here, there) = tokio::io::duplex(4096);
        let (asked, declined) = tokio::join!(ask(here), decline(there));
        declined.unwrap();
        assert!(matches!(asked, Err(DialbackError::Busy)));
        let (here, _silent) = tokio::io::duplex(4096);
        let asked = ask(here).await;
        assert!(matches!(asked, Err(DialbackError::Frame(FrameError::Timeout(_)))));
        let (here, mut there) = tokio::io::duplex(64 * 1024);
        let one = Attempt {
            address: ([203, 0, 113, 1], 1).into(),
            path: LinkPath::Tcp,
            outcome: Outcome::Silent,
        };
        write(&mut there, &Frame::Clock(1)).await.unwrap();
        write(&mut there, &Frame::Tried(vec![one; DIALBACK_ATTEMPTS_MAX + 1]))
            .await
            .unwrap();
        assert!(matches!(ask(here).await, Err(DialbackError::Malformed)));
    }
}
