//! Which kind of answer is wanted, and how a wish to have one said further is known when it is sent again.

use std::collections::BTreeSet;

use crdt::records::{
    EntryId,
    session::{Message, MessageId},
};
use keys::{Timestamp, identity::random_bytes};

use crate::generate::version_id;

/// What runs are hashed under.
const RUN_CONTEXT: &str = "starling continued run 1";

/// Which kind of answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The first one; the question is kept until it has it.
    First,
    /// A further one beside those that are there.
    Another,
    /// One that is there, said further.
    Further(FurtherWish),
}

/// Names a wish to have an answer said further.
///
/// The text that comes of it is a version of the answer, and called after the run in which it was said. Every run of one wish is one of 256
/// that are made from its name: so the chat tells, on every node and whichever release wrote the version, that a wish came true.
/// Which of them it is, is chance: what is begun over after it failed is most likely another run, as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FurtherWish([u8; 10]);

impl FurtherWish {
    /// The wish for an answer that a client's outbox id names.
    #[must_use]
    pub fn of(answer: MessageId, outbox: &str) -> Self {
        Self(EntryId::derived(Timestamp(0), RUN_CONTEXT, &[answer.bytes(), outbox.as_bytes()]).hash_half())
    }

    /// Whether the answer has been said further for this wish.
    #[must_use]
    pub fn came_true(self, answer: &Message) -> bool {
        // The first version is the text before anybody went on with it.
        let further = answer.versions.iter().skip(1);
        let further: BTreeSet<[u8; 10]> = further.map(|version| version.id.hash_half()).collect();
        let mut runs = self.runs();
        !further.is_empty() && runs.any(|run| further.contains(&version_id(answer.id, run, Timestamp(0)).hash_half()))
    }

    /// Whether something is said for this wish in that run.
    pub(super) fn has_run(self, run: u64) -> bool {
        self.runs().any(|own| own == run)
    }

    fn runs(self) -> impl Iterator<Item = u64> {
        (0..=u8::MAX).map(move |number| self.run(number))
    }

    fn run(self, number: u8) -> u64 {
        let hash = EntryId::derived(Timestamp(0), RUN_CONTEXT, &[&self.0, &[number]]).hash_half();
        let mut run = [0; 8];
        run.copy_from_slice(&hash[..8]);
        // 0 is no run.
        u64::from_le_bytes(run) | 1
    }
}

impl Wish {
    pub(super) const fn is_further(self) -> bool {
        matches!(self, Self::Further(_))
    }

    /// The run of an answer that is begun now.
    pub(super) fn new_run(self) -> u64 {
        match self {
            Self::First | Self::Another => u64::from_le_bytes(random_bytes()) | 1,
            Self::Further(wish) => {
                let [number] = random_bytes();
                wish.run(number)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crdt::records::session::{Ending, Version};

    use super::*;

    #[test]
    fn a_wish_is_known_by_what_came_of_it_and_by_nothing_else() {
        let question = EntryId::new(Timestamp(5), 1);
        let mut answer = Message::answer(question, "Die Füchse", Timestamp(9), "m", Ending::Length);
        let (wish, other) = (
            FurtherWish::of(answer.id, "again-001"),
            FurtherWish::of(answer.id, "again-002"),
        );
        assert_ne!(wish, FurtherWish::of(question, "again-001"));
        let version = |run| Version::new(version_id(answer.id, run, Timestamp(70)), "Die Füchse schlafen.");
        let first = Version::new(answer.id, "Die Füchse");
        let (by_wish, by_chance) = (version(Wish::Further(wish).new_run()), version(Wish::Another.new_run()));
        assert!(!wish.came_true(&answer), "nobody went on with it");
        answer.versions = vec![first.clone(), by_chance];
        assert!(!wish.came_true(&answer), "somebody did, for another reason");
        answer.versions = vec![first, by_wish];
        assert!(wish.came_true(&answer) && !other.came_true(&answer));
    }

    #[test]
    fn runs_of_a_wish_are_its_own_and_none_is_0() {
        let answer = EntryId::new(Timestamp(5), 1);
        let (wish, other) = (
            FurtherWish::of(answer, "again-001"),
            FurtherWish::of(answer, "again-002"),
        );
        let runs: BTreeSet<u64> = wish.runs().collect();
        assert_eq!(runs.len(), 256);
        assert!(!runs.contains(&0) && other.runs().all(|run| !runs.contains(&run)));
        let run = Wish::Further(wish).new_run();
        assert!(wish.has_run(run) && !other.has_run(run));
    }
}
