//! The control stream of a link: heartbeats that measure the round trip, and announcements (load, offers, addresses).
//!
//! Announcements are ephemeral: only the newest of each section counts, so they live in a `watch`, and a slow link simply skips
//! versions. A node that stops says so, and its peers need no timeout.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior},
};

use crate::{
    frame::{self, FrameError, read_frame, write_frame},
    limits::{
        CONTROL_FRAME_BYTES_MAX, HEARTBEAT, LINK_SILENCE_MAX, SECTION_BYTES_MAX, SECTION_NAME_BYTES_MAX, SECTIONS_MAX,
    },
};

/// First byte of every control frame.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
enum Frame {
    /// `sent_at` is the sender's own clock in microseconds; the other side returns it with how long it held it.
    Heartbeat { sent_at: u64, echo: Option<Echo> },
    /// The newest content of one section.
    Announce { section: String, content: Vec<u8> },
    /// The sender stops; no timeout is needed.
    Leaving,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Echo {
    sent_at: u64,
    held: u64,
}

/// What a node announces: per section a version and the content.
pub(crate) type Sections = BTreeMap<String, (u64, Arc<[u8]>)>;

/// What a link task reports to the mesh actor.
#[derive(Debug)]
pub(crate) enum Heard {
    Heartbeat { round_trip: Option<Duration> },
    Announce { section: String, content: Vec<u8> },
}

/// Why a link's control stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkEnd {
    #[error("this node stops")]
    Stopping,
    #[error("the other node is stopping")]
    Left,
    #[error("the other side closed the stream")]
    Closed,
    #[error("nothing was heard for {LINK_SILENCE_MAX:?}")]
    Silent,
    #[error("a malformed control frame")]
    Malformed,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the mesh has stopped")]
    Gone,
}

/// Runs one control stream until it ends.
pub(crate) async fn run(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    sections: watch::Receiver<Sections>,
    stop: watch::Receiver<bool>,
    report: mpsc::Sender<Heard>,
) -> LinkEnd {
    let started = Instant::now();
    let (reader, writer) = tokio::io::split(stream);
    let (echo, echoes) = watch::channel(None);
    // Two independent half-loops, so that a slow write cannot block reads.
    tokio::select! {
        end = read_loop(reader, started, echo, report) => end,
        end = write_loop(writer, started, echoes, sections, stop) => end,
    }
}

async fn read_loop(
    mut reader: impl AsyncRead + Unpin,
    started: Instant,
    echo: watch::Sender<Option<(u64, Instant)>>,
    report: mpsc::Sender<Heard>,
) -> LinkEnd {
    let mut known = HashSet::new();
    loop {
        let frame = match tokio::time::timeout(LINK_SILENCE_MAX, read_frame(&mut reader, CONTROL_FRAME_BYTES_MAX)).await
        {
            Err(_) => return LinkEnd::Silent,
            Ok(Err(error)) => return LinkEnd::Frame(error),
            // Not a goodbye: a stream that another has replaced ends so, where a reset cannot be told from an end.
            Ok(Ok(None)) => return LinkEnd::Closed,
            Ok(Ok(Some(frame))) => frame,
        };
        let Some(frame) = decode(&frame) else {
            return LinkEnd::Malformed;
        };
        let news = match frame {
            Frame::Leaving => return LinkEnd::Left,
            Frame::Heartbeat {
                sent_at,
                echo: returned,
            } => {
                echo.send_replace(Some((sent_at, Instant::now())));
                let now = micros(started);
                let round_trip = returned
                    .and_then(|echo| now.checked_sub(echo.sent_at)?.checked_sub(echo.held))
                    .map(Duration::from_micros);
                Heard::Heartbeat { round_trip }
            }
            Frame::Announce { section, content } => {
                known.insert(section.clone());
                let acceptable = known.len() <= SECTIONS_MAX
                    && section.len() <= SECTION_NAME_BYTES_MAX
                    && content.len() <= SECTION_BYTES_MAX;
                if !acceptable {
                    return LinkEnd::Malformed;
                }
                Heard::Announce { section, content }
            }
        };
        if report.send(news).await.is_err() {
            return LinkEnd::Gone;
        }
    }
}

async fn write_loop(
    mut writer: impl AsyncWrite + Unpin,
    started: Instant,
    mut echoes: watch::Receiver<Option<(u64, Instant)>>,
    mut sections: watch::Receiver<Sections>,
    mut stop: watch::Receiver<bool>,
) -> LinkEnd {
    let mut sent: HashMap<String, u64> = HashMap::new();
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut echoed = false;
    loop {
        let frames = tokio::select! {
            biased;
            () = stopped(&mut stop) => {
                let leaving = write_frame(&mut writer, &encode(&Frame::Leaving), CONTROL_FRAME_BYTES_MAX).await;
                return match leaving.and(writer.shutdown().await.map_err(FrameError::Io)) {
                    Ok(()) => LinkEnd::Stopping,
                    Err(error) => LinkEnd::Frame(error),
                };
            }
            changed = sections.changed() => {
                if changed.is_err() {
                    return LinkEnd::Gone;
                }
                news(&sections.borrow_and_update(), &mut sent)
            }
            // The first heartbeat is answered at once: nobody has to wait a whole beat to know how far the other is.
            Ok(()) = echoes.changed(), if !echoed => {
                heartbeat.reset_immediately();
                echoed = true;
                continue;
            }
            _ = heartbeat.tick() => {
                let mut frames = news(&sections.borrow_and_update(), &mut sent);
                let echo = echoes.borrow().map(|(sent_at, at)| Echo { sent_at, held: micros(at) });
                frames.push(encode(&Frame::Heartbeat { sent_at: micros(started), echo }));
                frames
            }
        };
        for frame in frames {
            if let Err(error) = write_frame(&mut writer, &frame, CONTROL_FRAME_BYTES_MAX).await {
                return LinkEnd::Frame(error);
            }
        }
    }
}

/// Waits for the node to stop; a gone owner means the same.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The sections that the other side does not have in their newest version.
fn news(sections: &Sections, sent: &mut HashMap<String, u64>) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (section, (version, content)) in sections {
        if sent.get(section) != Some(version) {
            sent.insert(section.clone(), *version);
            frames.push(encode(&Frame::Announce {
                section: section.clone(),
                content: content.to_vec(),
            }));
        }
    }
    frames
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn encode(frame: &Frame) -> Vec<u8> {
    frame::encode(VERSION, frame)
}

fn decode(bytes: &[u8]) -> Option<Frame> {
    frame::decode(VERSION, bytes)
}

/// For whoever tries bytes: reads a frame and writes what was read.
pub(crate) fn again(bytes: &[u8]) -> Option<Vec<u8>> {
    decode(bytes).map(|frame| encode(&frame))
}

/// A frame of each kind.
pub(crate) fn examples() -> Vec<(String, Vec<u8>)> {
    let echo = Some(Echo { sent_at: 5, held: 3 });
    let (section, content) = ("load".to_owned(), vec![1, 2, 3]);
    [
        ("heartbeat", Frame::Heartbeat { sent_at: 7, echo }),
        ("announce", Frame::Announce { section, content }),
        ("leaving", Frame::Leaving),
    ]
    .map(|(name, frame)| (name.to_owned(), encode(&frame)))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct End {
        sections: watch::Sender<Sections>,
        stop: watch::Sender<bool>,
        heard: mpsc::Receiver<Heard>,
        task: tokio::task::JoinHandle<LinkEnd>,
    }

    fn end(stream: tokio::io::DuplexStream) -> End {
        let (sections, sections_seen) = watch::channel(Sections::new());
        let (stop, stop_seen) = watch::channel(false);
        let (report, heard) = mpsc::channel(16);
        let task = tokio::spawn(run(stream, sections_seen, stop_seen, report));
        End {
            sections,
            stop,
            heard,
            task,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_measures_carries_the_newest_section_and_says_when_it_leaves() {
        let (here, there) = tokio::io::duplex(64 * 1024);
        let (here, mut there) = (end(here), end(there));
        here.sections.send_modify(|sections| {
            sections.insert("load".into(), (1, Arc::from(&b"idle"[..])));
        });
        let mut measured = false;
        let mut announced = false;
        while !(measured && announced) {
            match there.heard.recv().await.unwrap() {
                Heard::Heartbeat { round_trip } => measured |= round_trip.is_some(),
                Heard::Announce { section, content } => {
                    assert_eq!((section.as_str(), content.as_slice()), ("load", &b"idle"[..]));
                    announced = true;
                }
            }
        }
        here.stop.send_replace(true);
        assert!(matches!(here.task.await.unwrap(), LinkEnd::Stopping));
        assert!(matches!(there.task.await.unwrap(), LinkEnd::Left));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_link() {
        let (here, _silent) = tokio::io::duplex(64 * 1024);
        assert!(matches!(end(here).task.await.unwrap(), LinkEnd::Silent));
    }

    #[tokio::test]
    async fn garbage_and_oversize_end_a_link() {
        let (here, mut there) = tokio::io::duplex(64 * 1024);
        let link = end(here);
        write_frame(&mut there, &[VERSION, 250, 250], 16).await.unwrap();
        assert!(matches!(link.task.await.unwrap(), LinkEnd::Malformed));
        let (here, mut there) = tokio::io::duplex(64 * 1024);
        let link = end(here);
        there.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
        assert!(matches!(
            link.task.await.unwrap(),
            LinkEnd::Frame(FrameError::TooLarge { .. })
        ));
    }
}
