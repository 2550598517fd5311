//! Documents of other holders that are kept here because somebody uses them: bounded in number and bytes, the longest unused go
//! first, and what has not been used for long goes anyway.

use std::collections::{BTreeMap, BTreeSet};

use keys::{ContentId, Timestamp};

use crate::{
    limits::{FOLLOWED_BYTES_MAX, FOLLOWED_FOR, FOLLOWED_MAX},
    set::Entry,
};

#[derive(Default)]
struct Document {
    entries: BTreeSet<Entry>,
    bytes: usize,
    used: Timestamp,
    /// When a holder was last asked what is new in it.
    asked: Timestamp,
}

/// See the module.
#[derive(Default)]
pub(in crate::replica) struct Followed {
    documents: BTreeMap<ContentId, Document>,
    bytes: usize,
}

impl Followed {
    pub(in crate::replica) fn contains(&self, document: &ContentId) -> bool {
        self.documents.contains_key(document)
    }

    pub(in crate::replica) fn len(&self) -> usize {
        self.documents.len()
    }

    /// Counts an entry in.
    pub(in crate::replica) fn add(&mut self, document: ContentId, entry: Entry, bytes: usize, now: Timestamp) {
        let followed = self.documents.entry(document).or_default();
        followed.used = now;
        if followed.entries.insert(entry) {
            followed.bytes += bytes;
            self.bytes += bytes;
        }
    }

    /// Follows a document of which nothing may be here yet.
    pub(in crate::replica) fn follow(&mut self, document: ContentId, now: Timestamp) {
        let followed = self.documents.entry(document).or_default();
        (followed.used, followed.asked) = (now, now);
    }

    /// A holder was asked what is new in it.
    pub(in crate::replica) fn was_asked(&mut self, document: &ContentId, now: Timestamp) {
        if let Some(followed) = self.documents.get_mut(document) {
            followed.asked = now;
        }
    }

    /// Somebody uses it.
    pub(in crate::replica) fn touch(&mut self, document: &ContentId, now: Timestamp) {
        if let Some(followed) = self.documents.get_mut(document) {
            followed.used = now;
        }
    }

    /// When a holder was last asked for what is new in it.
    pub(in crate::replica) fn asked(&self, document: &ContentId) -> Option<Timestamp> {
        self.documents.get(document).map(|followed| followed.asked)
    }

    pub(in crate::replica) fn remove(&mut self, document: &ContentId) {
        if let Some(followed) = self.documents.remove(document) {
            self.bytes -= followed.bytes;
        }
    }

    /// Follows no more what is held for another reason.
    pub(in crate::replica) fn release(&mut self, is_held: impl Fn(&ContentId) -> bool) {
        let held: Vec<ContentId> = self
            .documents
            .keys()
            .filter(|document| is_held(document))
            .copied()
            .collect();
        held.iter().for_each(|document| self.remove(document));
    }

    /// What is to go: what has expired, and when there is too much, the longest unused, down to three quarters, so that the journal
    /// is not rewritten for every document. Only what is safe: what was written here and not confirmed stays.
    pub(in crate::replica) fn unused(
        &self,
        now: Timestamp,
        is_safe: impl Fn(&Entry) -> bool,
    ) -> Vec<(ContentId, Vec<Entry>)> {
        let is_full = self.documents.len() > FOLLOWED_MAX || self.bytes > FOLLOWED_BYTES_MAX;
        let expires = FOLLOWED_FOR.as_millis() as u64;
        let age = |document: &Document| now.0.saturating_sub(document.used.0);
        // Where nothing has been unused for twice as long, it can wait for more.
        if !is_full && self.documents.values().all(|document| age(document) < 2 * expires) {
            return Vec::new();
        }
        let mut by_age: Vec<(&ContentId, &Document)> = self.documents.iter().collect();
        by_age.sort_unstable_by_key(|(id, document)| (document.used, **id));
        let (mut count, mut bytes) = (self.documents.len(), self.bytes);
        let mut unused = Vec::new();
        for (id, document) in by_age {
            let too_much = is_full && (count > FOLLOWED_MAX / 4 * 3 || bytes > FOLLOWED_BYTES_MAX / 4 * 3);
            if !too_much && age(document) < expires {
                break;
            }
            if document.entries.iter().all(&is_safe) {
                count -= 1;
                bytes -= document.bytes;
                unused.push((*id, document.entries.iter().copied().collect()));
            }
        }
        unused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::Group;

    fn id(number: u32) -> ContentId {
        ContentId::of(&number.to_le_bytes())
    }

    fn entry(number: u32) -> Entry {
        Entry {
            group: Group::of(&id(number)),
            id: id(number),
        }
    }

    fn followed(count: u32, bytes: usize) -> Followed {
        let mut followed = Followed::default();
        (0..count).for_each(|number| followed.add(id(number), entry(number), bytes, Timestamp(u64::from(number))));
        followed
    }

    #[test]
    fn the_longest_unused_go_when_there_is_too_much() {
        let count = FOLLOWED_MAX as u32;
        assert!(followed(count, 10).unused(Timestamp(9999), |_| true).is_empty());
        let mut full = followed(count + 1, 10);
        full.touch(&id(0), Timestamp(1_000_000));
        let unused = full.unused(Timestamp(1_000_000), |_| true);
        assert_eq!(unused.len(), FOLLOWED_MAX / 4 + 1);
        assert_eq!(unused[0].0, id(1), "what was used lately stays");
        let large = followed(9, FOLLOWED_BYTES_MAX / 8);
        assert_eq!(large.unused(Timestamp(9), |_| true).len(), 3);
        let kept = large.unused(Timestamp(9), |entry| entry.id != id(0));
        assert!(
            kept.iter().all(|(document, _)| *document != id(0)),
            "what nobody else has stays"
        );
    }

    #[test]
    fn what_is_not_used_for_long_goes_and_what_is_counted_twice_counts_once() {
        let mut few = followed(3, 10);
        few.add(id(0), entry(0), 10, Timestamp(0));
        assert_eq!(few.bytes, 30);
        let expired = Timestamp(FOLLOWED_FOR.as_millis() as u64 * 2);
        assert_eq!(few.unused(expired, |_| true).len(), 3);
        few.release(|document| *document != id(1));
        assert_eq!((few.len(), few.bytes, few.contains(&id(1))), (1, 10, true));
    }
}
