//! Changes that wait, bounded and expiring, for what they depend on. automerge itself would queue them without a bound.

use std::{collections::VecDeque, time::Instant};

use keys::ContentId;

use crate::{
    envelope::Envelope,
    limits::{PARKED_BYTES_MAX, PARKED_FOR, PARKED_MAX},
};

#[derive(Default)]
pub(crate) struct Parked {
    waiting: VecDeque<(Instant, Envelope)>,
    bytes: usize,
}

impl Parked {
    /// Keeps a change aside; the oldest ones go when there is no room.
    pub(crate) fn keep(&mut self, envelope: Envelope, now: Instant) {
        if self.waiting.iter().any(|(_, known)| known.id == envelope.id) {
            return;
        }
        self.bytes += envelope.bytes.len();
        self.waiting.push_back((now, envelope));
        while let Some((since, oldest)) = self.waiting.front() {
            let expired = now.duration_since(*since) > PARKED_FOR;
            if !expired && self.waiting.len() <= PARKED_MAX && self.bytes <= PARKED_BYTES_MAX {
                break;
            }
            self.bytes -= oldest.bytes.len();
            self.waiting.pop_front();
        }
    }

    /// Takes out what waits for `document`.
    pub(crate) fn of(&mut self, document: &ContentId) -> Vec<Envelope> {
        let (taken, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(_, envelope)| envelope.document == *document);
        self.waiting = rest.into();
        self.bytes = self.waiting.iter().map(|(_, envelope)| envelope.bytes.len()).sum();
        taken.into_iter().map(|(_, envelope)| envelope).collect()
    }
}
