//! The conversation with one source: questions go out, groups come in and are verified one by one.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use keys::NodeId;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

use super::writer::{Report, Work};
use crate::{
    Mesh, OpenError,
    blobs::{
        BlobId, Pace,
        groups::Groups,
        schedule::Event,
        tree::{Mismatch, Walk, groups_of},
        wire::{self, Answer, Request},
    },
    frame::{FrameError, read_frame, within, write_frame},
    limits::{BLOB_FRAME_BYTES_MAX, BLOB_FRAME_TIMEOUT, BLOB_REQUEST_BYTES_MAX},
};

/// What a source is told.
#[derive(Debug)]
pub(super) enum Command {
    Query,
    Ask { ask: u32, range: Range<u64> },
    Keep { ask: u32, count: u64 },
}

/// Whether what comes is verified. Only tests that show what that is good for switch it off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Checks {
    On,
    #[cfg(test)]
    Off,
}

impl Checks {
    pub(super) fn walk(self, blob: BlobId, size: u64, range: Range<u64>) -> Walk {
        let walk = Walk::new(blob, size, range);
        match self {
            Self::On => walk,
            #[cfg(test)]
            Self::Off => walk.without_checks(),
        }
    }
}

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum TalkError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the source is busy")]
    Busy,
    #[error("the source ended the conversation")]
    Ended,
    #[error("the source said what no honest one says")]
    Malformed,
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    #[error("the download is over")]
    Over,
}

impl TalkError {
    fn event(&self, source: usize) -> Event {
        match self {
            Self::Open(OpenError::Busy(..)) | Self::Busy => Event::Busy { source },
            Self::Open(_) | Self::Frame(_) | Self::Ended | Self::Over => Event::Lost { source },
            Self::Malformed | Self::Mismatch(_) => Event::Bad { source },
        }
    }
}

/// What all conversations of a download have in common.
pub(super) struct Conversation {
    pub(super) mesh: Mesh,
    pub(super) pace: Pace,
    pub(super) blob: BlobId,
    pub(super) size: u64,
    pub(super) checks: Checks,
    pub(super) reports: mpsc::Sender<Work>,
}

/// The questions that were asked and not begun to be answered.
type Asked = Mutex<BTreeMap<u32, Range<u64>>>;

impl Conversation {
    /// Speaks with a source until it ends, and reports how it ended.
    pub(super) async fn run(&self, (source, talk): (usize, u64), node: NodeId, commands: mpsc::Receiver<Command>) {
        let Err(error) = self.speak((source, talk), node, commands).await;
        tracing::debug!(node = %node.short(), blob = %self.blob, %error, "a source of a blob is gone");
        let event = error.event(source);
        // A download that is over needs no news.
        let _ = self.reports.send(Work::Pass(Report { source, talk, event })).await;
    }

    async fn speak(
        &self,
        about: (usize, u64),
        node: NodeId,
        commands: mpsc::Receiver<Command>,
    ) -> Result<std::convert::Infallible, TalkError> {
        let stream = self.mesh.open_for_blobs(node).await?;
        let (reader, writer) = tokio::io::split(stream);
        let asked = Asked::default();
        let hearing = self.hear(reader, about, &asked);
        let asking = async {
            match self.ask(writer, commands, &asked).await {
                // Who takes no questions may have said why: that it is busy.
                Err(TalkError::Frame(_)) => std::future::pending().await,
                end => end,
            }
        };
        tokio::select! {
            end = asking => end,
            end = hearing => end,
        }
    }

    async fn ask(
        &self,
        mut writer: impl AsyncWrite + Unpin,
        mut commands: mpsc::Receiver<Command>,
        asked: &Asked,
    ) -> Result<std::convert::Infallible, TalkError> {
        let blob = self.blob;
        say(&mut writer, &Request::Have { blob }).await?;
        while let Some(command) = commands.recv().await {
            let request = match command {
                Command::Query => Request::Have { blob },
                Command::Keep { ask, count } => Request::Keep { ask, count },
                Command::Ask { ask, range } => {
                    let (first, count) = (range.start, range.end - range.start);
                    let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
                    // Bounded by the schedule, which asks a few ranges ahead; what was taken back is answered with an end.
                    asked.insert(ask, range);
                    Request::Get {
                        ask,
                        blob,
                        first,
                        count,
                    }
                }
            };
            say(&mut writer, &request).await?;
        }
        Err(TalkError::Over)
    }

    async fn hear(
        &self,
        mut reader: impl AsyncRead + Unpin,
        (source, talk): (usize, u64),
        asked: &Asked,
    ) -> Result<std::convert::Infallible, TalkError> {
        let mut walk = None;
        loop {
            // How long to wait is the schedule's business: it drops who is silent.
            let frame = read_frame(&mut reader, BLOB_FRAME_BYTES_MAX).await?;
            let frame = frame.ok_or(TalkError::Ended)?;
            let event = match wire::read_answer(&frame).ok_or(TalkError::Malformed)? {
                Answer::Busy => return Err(TalkError::Busy),
                Answer::Nothing => Event::Holds {
                    source,
                    groups: Groups::none(groups_of(self.size)),
                },
                Answer::Holds { size, runs } => Event::Holds {
                    source,
                    groups: self.held(size, &runs)?,
                },
                Answer::Begin { ask, size } => {
                    let range = asked.lock().unwrap_or_else(PoisonError::into_inner).get(&ask).cloned();
                    let range = range.ok_or(TalkError::Malformed)?;
                    if size != self.size {
                        return Err(TalkError::Malformed);
                    }
                    walk = Some(self.checks.walk(self.blob, size, range));
                    continue;
                }
                Answer::Group(sent) => {
                    let walk = walk.as_mut().ok_or(TalkError::Malformed)?;
                    let group = walk.verify(sent.to_vec())?;
                    self.pace.take(sent.len() as u64).await;
                    self.report(Work::Write { source, group }).await?;
                    continue;
                }
                Answer::End { ask, .. } => {
                    walk = None;
                    asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&ask);
                    Event::Ended { source, ask }
                }
            };
            self.report(Work::Pass(Report { source, talk, event })).await?;
        }
    }

    async fn report(&self, work: Work) -> Result<(), TalkError> {
        self.reports.send(work).await.map_err(|_| TalkError::Over)
    }

    /// The name proves the size, so whoever says another one does not have this blob.
    fn held(&self, size: u64, runs: &[(u64, u64)]) -> Result<Groups, TalkError> {
        if size != self.size {
            return Err(TalkError::Malformed);
        }
        let mut groups = Groups::none(groups_of(size));
        for (first, count) in runs {
            groups.insert(*first..first + count);
        }
        Ok(groups)
    }
}

pub(super) async fn say(writer: &mut (impl AsyncWrite + Unpin), request: &Request) -> Result<(), FrameError> {
    let frame = wire::request(request);
    within(BLOB_FRAME_TIMEOUT, write_frame(writer, &frame, BLOB_REQUEST_BYTES_MAX)).await
}
