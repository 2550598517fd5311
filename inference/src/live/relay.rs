//! An answer from here to another node: what is there of it, and then what comes.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use super::{End, Live, Said};
use crate::{
    limits::FOLLOW_EVERY,
    swarm::{FromGenerator, Request},
};

/// What the other node has heard.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    /// Under which attempt it asked.
    pub(super) epoch: u32,
    /// Of which run; 0 is of any.
    pub(super) run: u64,
    pub(super) tokens: usize,
    pub(super) bytes: usize,
    pub(super) shortened: u32,
    /// Whether it was told who says it.
    pub(super) is_told: bool,
    /// Which word about its waiting it was told.
    pub(super) queued: u32,
    /// Whether it was told the whole answer, and that it can be written here.
    pub(super) whole: Option<bool>,
}

impl Heard {
    /// By whoever asks for an answer.
    pub(crate) fn of(request: &Request) -> Self {
        let (tokens, text) = request.start();
        Self {
            epoch: request.epoch,
            run: request.run,
            tokens: tokens.len(),
            bytes: text.len(),
            shortened: request.begun.as_ref().map_or(0, |begun| begun.shortened),
            ..Self::default()
        }
    }

    /// By whoever follows it from so many bytes on.
    pub(crate) fn bytes(bytes: u32) -> Self {
        Self {
            bytes: bytes as usize,
            ..Self::default()
        }
    }
}

/// Reports an answer as far as it is said and then as it is said, until it is over or nobody listens.
pub(crate) async fn relay(live: &Live, mut heard: Heard, report: &mpsc::Sender<FromGenerator>) {
    let news = Arc::new(Notify::new());
    live.listen(&news);
    let mut beats = live.0.beats.subscribe();
    loop {
        let before = heard.bytes;
        let (reports, is_last) = live.reports(&mut heard);
        for message in reports {
            if report.send(message).await.is_err() {
                return;
            }
        }
        if is_last {
            return;
        }
        if heard.bytes > before {
            // What comes within this moment goes together.
            tokio::time::sleep(FOLLOW_EVERY).await;
        }
        tokio::select! {
            biased;
            () = news.notified() => {}
            // What is frozen gives no sign of life, and then the other node hears nothing and looks elsewhere.
            Ok(()) = beats.changed() => if report.send(FromGenerator::Progress).await.is_err() { return },
        }
    }
}

impl Live {
    /// What is to be reported to somebody who has heard so much, and whether that is all there will be.
    fn reports(&self, heard: &mut Heard) -> (Vec<FromGenerator>, bool) {
        let said = self.lock();
        let mut reports = Vec::new();
        said.report_words(heard, &mut reports);
        let is_last = said.report_end(heard, &mut reports);
        (reports, is_last)
    }
}

impl Said {
    fn report_words(&self, heard: &mut Heard, reports: &mut Vec<FromGenerator>) {
        if let Some((told, standing)) = self.queued {
            if told != heard.queued {
                heard.queued = told;
                let (ahead, wait_ms) = (standing.ahead, standing.wait_ms());
                reports.push(FromGenerator::Queued { ahead, wait_ms });
            }
            return;
        }
        let Some(sayer) = &self.sayer else { return };
        // An answer that was whole before somebody asked for a later attempt counts as that one.
        let epoch = self.epoch.max(heard.epoch);
        if !heard.is_told || heard.run != sayer.run {
            if heard.run != 0 && heard.run != sayer.run {
                (heard.tokens, heard.bytes, heard.shortened) = (0, 0, 0);
            }
            heard.run = sayer.run;
            heard.is_told = true;
            reports.push(FromGenerator::Accepted {
                model: sayer.model.to_string(),
                beat_ms: u32::try_from(self.beat.as_millis()).unwrap_or(u32::MAX),
                run: sayer.run,
                epoch,
            });
        }
        while heard.shortened < self.shortened {
            heard.shortened += 1;
            reports.push(FromGenerator::Shortened);
        }
        let tokens = self.tokens.get(heard.tokens..).unwrap_or(&[]);
        let text = self.text.get(heard.bytes..).unwrap_or("");
        if !tokens.is_empty() || !text.is_empty() {
            reports.push(FromGenerator::Said {
                epoch,
                from: u32::try_from(heard.tokens).unwrap_or(u32::MAX),
                tokens: tokens.to_vec(),
                at: u32::try_from(heard.bytes).unwrap_or(u32::MAX),
                text: text.to_owned(),
            });
            heard.tokens += tokens.len();
            heard.bytes += text.len();
        }
    }

    fn report_end(&self, heard: &mut Heard, reports: &mut Vec<FromGenerator>) -> bool {
        let epoch = self.epoch.max(heard.epoch);
        if let Some((message, can_record)) = &self.whole
            && heard.whole.is_none()
        {
            heard.whole = Some(*can_record);
            reports.push(FromGenerator::Finished {
                epoch,
                message: (**message).clone(),
                can_record: *can_record,
            });
        }
        match &self.end {
            None => false,
            Some(End::Failed(error)) => {
                reports.push(FromGenerator::Failed(error.clone()));
                true
            }
            Some(End::Finished { recorded, .. }) => {
                if heard.whole == Some(true) {
                    reports.push(FromGenerator::Recorded(*recorded));
                }
                true
            }
        }
    }
}
