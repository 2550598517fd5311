//! Changes that wait, bounded and expiring, for what they depend on. automerge itself would queue them without a bound and even
//! store them. Each author has its own share, so that a flood of orphans pushes out only its author's.

use std::collections::{BTreeMap, VecDeque};

use keys::{ContentId, NodeId, Timestamp};

use crate::{
    envelope::Envelope,
    limits::{PARKED_AUTHORS_MAX, PARKED_BYTES_PER_AUTHOR_MAX, PARKED_FOR, PARKED_PER_AUTHOR_MAX},
};

#[derive(Default)]
struct Share {
    waiting: VecDeque<(Timestamp, Envelope)>,
    bytes: usize,
}

#[derive(Default)]
pub(crate) struct Parked {
    shares: BTreeMap<NodeId, Share>,
}

impl Share {
    fn drop_oldest(&mut self) {
        if let Some((_, oldest)) = self.waiting.pop_front() {
            self.bytes -= size(&oldest);
        }
    }
}

fn size(envelope: &Envelope) -> usize {
    let payloads = envelope.payloads.iter().filter_map(|(_, payload)| payload.as_ref());
    envelope.change.len() + payloads.map(Vec::len).sum::<usize>()
}

impl Parked {
    /// Keeps a change aside; its author's oldest ones go when there is no room. `bounded` is false only in a simulation that must fail.
    pub(crate) fn keep(&mut self, envelope: Envelope, now: Timestamp, bounded: bool) {
        if bounded {
            self.expire(now);
        }
        if bounded && self.shares.len() >= PARKED_AUTHORS_MAX && !self.shares.contains_key(&envelope.author) {
            return;
        }
        let share = self.shares.entry(envelope.author).or_default();
        if share.waiting.iter().any(|(_, known)| known.id == envelope.id) {
            return;
        }
        share.bytes += size(&envelope);
        share.waiting.push_back((now, envelope));
        while bounded && (share.waiting.len() > PARKED_PER_AUTHOR_MAX || share.bytes > PARKED_BYTES_PER_AUTHOR_MAX) {
            share.drop_oldest();
        }
    }

    fn expire(&mut self, now: Timestamp) {
        for share in self.shares.values_mut() {
            let expired = |since: &Timestamp| now.0.saturating_sub(since.0) > PARKED_FOR.as_millis() as u64;
            while share.waiting.front().is_some_and(|(since, _)| expired(since)) {
                share.drop_oldest();
            }
        }
        self.shares.retain(|_, share| !share.waiting.is_empty());
    }

    /// Takes out what waits for `document`.
    pub(crate) fn take(&mut self, document: &ContentId) -> Vec<Envelope> {
        let mut taken = Vec::new();
        for share in self.shares.values_mut() {
            let (mine, rest): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut share.waiting)
                .into_iter()
                .partition(|(_, envelope)| envelope.document == *document);
            share.waiting = rest;
            share.bytes = share.waiting.iter().map(|(_, envelope)| size(envelope)).sum();
            taken.extend(mine.into_iter().map(|(_, envelope)| envelope));
        }
        taken
    }

    /// How many wait, and their bytes.
    pub(crate) fn load(&self) -> (usize, usize) {
        let shares = self.shares.values();
        shares.fold((0, 0), |(count, bytes), share| {
            (count + share.waiting.len(), bytes + share.bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use keys::NodeKey;

    use super::*;
    use crate::records::RecordKind;

    fn orphan(author: u8, number: u32, bytes: usize) -> Envelope {
        let change = [&number.to_le_bytes()[..], &vec![0; bytes]].concat();
        let document = Some(ContentId([number as u8; 32]));
        let key = NodeKey::from_seed(&[author; 32]);
        Envelope::seal(&key, RecordKind::Session, document, None, change, Vec::new()).unwrap()
    }

    #[test]
    fn a_flood_pushes_out_only_its_authors_changes() {
        let mut parked = Parked::default();
        parked.keep(orphan(1, 7, 10), Timestamp(0), true);
        for number in 0..3 * PARKED_PER_AUTHOR_MAX as u32 {
            parked.keep(orphan(2, number, 10), Timestamp(1), true);
        }
        assert_eq!(parked.load().0, PARKED_PER_AUTHOR_MAX + 1);
        assert!(
            parked
                .take(&ContentId([7; 32]))
                .iter()
                .any(|envelope| envelope.id == orphan(1, 7, 10).id)
        );
        for number in 0..64 {
            parked.keep(orphan(3, number, 50_000), Timestamp(1), true);
        }
        assert!(parked.load().1 <= 2 * PARKED_BYTES_PER_AUTHOR_MAX);
    }

    #[test]
    fn what_waits_too_long_goes() {
        let mut parked = Parked::default();
        parked.keep(orphan(1, 1, 10), Timestamp(0), true);
        parked.keep(orphan(1, 1, 10), Timestamp(0), true);
        assert_eq!(parked.load().0, 1, "once is enough");
        parked.keep(orphan(1, 2, 10), Timestamp(PARKED_FOR.as_millis() as u64 + 1), true);
        assert_eq!(parked.load().0, 1);
        assert!(parked.take(&ContentId([1; 32])).is_empty());
    }
}
