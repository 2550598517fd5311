//! A replica that asks others for documents it does not hold, and one that answers.

use std::collections::BTreeSet;

use keys::{ContentId, NodeId, Timestamp};

use super::{Kept, Received, Replica, Shelf, Source};
use crate::{
    fetch::{Ask, Known},
    group::{Group, Lane},
    limits::{FETCH_ASKED_MAX, FOLLOWED_FRESH_FOR, RECONCILE_BATCH_BYTES, RECONCILE_ENVELOPES_MAX},
    set::{Entry, Replica as _, ShardSet},
};

/// Where an answer goes on: the document, and how many of its envelopes have been given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    document: Option<ContentId>,
    given: usize,
}

/// A batch of an answer.
#[derive(Debug)]
pub struct Batch {
    /// In an order in which they can be taken in.
    pub envelopes: Vec<Vec<u8>>,
    /// Where to go on; `None` after the last one.
    pub next: Option<Cursor>,
}

impl<S: Shelf> Replica<S> {
    /// The shards asked for of which this node has everything.
    #[must_use]
    pub fn answers(&self, shards: &ShardSet) -> ShardSet {
        let unanswered = self.unanswered();
        shards.iter().filter(|shard| !unanswered.contains(*shard)).collect()
    }

    /// A batch of what a member asks for, of what this node holds.
    pub fn give(&mut self, ask: &Ask, shards: &ShardSet, from: Cursor) -> Batch {
        let held = self.held_shards().intersection(shards);
        let mut documents = self.asked_for(ask);
        documents.retain(|document| held.contains(Group::of(document).shard()));
        let mut batch = Batch {
            envelopes: Vec::new(),
            next: None,
        };
        let mut bytes = 0;
        for document in documents
            .into_iter()
            .filter(|document| Some(*document) >= from.document)
        {
            let given = if from.document == Some(document) { from.given } else { 0 };
            let entries = self.in_order(document);
            for (place, entry) in entries.into_iter().enumerate().skip(given) {
                let Some(envelope) = self.read_entry(Lane::Envelopes, &entry) else {
                    continue;
                };
                let fits = bytes + envelope.len() <= RECONCILE_BATCH_BYTES;
                if !fits || batch.envelopes.len() == RECONCILE_ENVELOPES_MAX {
                    batch.next = Some(Cursor {
                        document: Some(document),
                        given: place,
                    });
                    return batch;
                }
                bytes += envelope.len();
                batch.envelopes.push(envelope);
            }
        }
        batch
    }

    /// By id.
    fn asked_for(&self, ask: &Ask) -> BTreeSet<ContentId> {
        let documents = match ask {
            Ask::Documents(documents) => {
                let differs = |(document, known): &&(ContentId, Known)| self.known_of(document) != *known;
                return documents
                    .iter()
                    .filter(differs)
                    .map(|(document, _)| *document)
                    .collect();
            }
            Ask::OwnedBy(account) => self.documents_owned_by(account),
            Ask::OfKind(kind) if Lane::of(*kind).is_sharded() => self.documents_of(*kind),
            Ask::OfKind(_) => Vec::new(),
        };
        documents.into_iter().collect()
    }

    /// The envelopes of a document, each after what it depends on.
    fn in_order(&mut self, document: ContentId) -> Vec<Entry> {
        let group = Group::of(&document);
        let ids = self.envelopes_of(&document).into_iter();
        let mut entries: Vec<Entry> = ids.map(|id| Entry { group, id }).collect();
        let (node, now) = (self.node(), self.placed.now);
        self.talker(node, false, now).arrange(Lane::Envelopes, &mut entries);
        entries
    }

    /// Digest over what is here of a document.
    #[must_use]
    pub fn known_of(&self, document: &ContentId) -> Known {
        let ids: BTreeSet<ContentId> = self.envelopes_of(document).into_iter().collect();
        if ids.is_empty() {
            return Known::default();
        }
        let mut hasher = blake3::Hasher::new();
        ids.iter().for_each(|id| {
            hasher.update(&id.0);
        });
        let mut known = Known::default();
        hasher.finalize_xof().fill(&mut known);
        known
    }

    /// Takes in what a holder gave; the documents are followed from now on. How many changes were new. They count after the next commit.
    pub fn take_fetched(&mut self, peer: NodeId, envelopes: &[Vec<u8>], now: Timestamp) -> usize {
        let mut new = 0;
        for bytes in envelopes {
            // Whose document it is; what it is worth is judged below.
            let Some(kept) = Kept::from_stored(bytes.clone()) else {
                continue;
            };
            let (document, Some(kind)) = (kept.document, kept.kind) else {
                continue;
            };
            let follows = self.is_elsewhere(kind, &document);
            if follows {
                self.placed.followed.follow(document, now);
            }
            match self.receive(bytes, Source::Talk(peer), now) {
                Received::New => new += 1,
                _ if follows => self.placed.followed.remove(&document),
                _ => {}
            }
        }
        new
    }

    /// Takes in what a member wrote and does not hold; answers which of it this node holds, to be said after the next commit.
    pub fn take_offered(&mut self, peer: NodeId, envelopes: &[Vec<u8>], now: Timestamp) -> Vec<ContentId> {
        let mut entries = Vec::new();
        for bytes in envelopes {
            let Some(kept) = Kept::from_stored(bytes.clone()).filter(|kept| kept.kind.is_some()) else {
                continue;
            };
            self.receive(bytes, Source::Talk(peer), now);
            entries.push(kept.entry);
        }
        self.holds_all_of(&entries).into_iter().collect()
    }

    /// Whether a followed document may have changed where it is held since somebody there was asked.
    #[must_use]
    pub fn is_stale(&self, document: &ContentId) -> bool {
        let asked = self.placed.followed.asked(document);
        asked.is_some_and(|asked| !self.is_fresh(asked)) && !self.placed.answers_for(document)
    }

    fn is_fresh(&self, asked: Timestamp) -> bool {
        self.placed.now.0.saturating_sub(asked.0) < FOLLOWED_FRESH_FOR.as_millis() as u64
    }

    /// Whether the same was asked of others a moment ago, so that what is here is good enough.
    #[must_use]
    pub fn was_asked(&self, ask: &Ask) -> bool {
        self.placed.lists.get(ask).is_some_and(|asked| self.is_fresh(*asked))
    }

    /// Others have been asked, whatever came of it.
    pub fn has_asked(&mut self, ask: Ask, now: Timestamp) {
        self.placed.now = self.placed.now.max(now);
        if let Ask::Documents(documents) = &ask {
            for (document, _) in documents {
                self.placed.followed.was_asked(document, now);
            }
            return;
        }
        let placed_now = self.placed.now;
        let age = |asked: &Timestamp| placed_now.0.saturating_sub(asked.0);
        self.placed
            .lists
            .retain(|_, asked| age(asked) < FOLLOWED_FRESH_FOR.as_millis() as u64);
        if self.placed.lists.len() < FETCH_ASKED_MAX {
            self.placed.lists.insert(ask, now);
        }
    }
}
