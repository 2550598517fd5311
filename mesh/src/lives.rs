//! Whether the key of one node is used by several processes at once, as when somebody has copied a data directory and runs both.
//!
//! Each process draws a number at its start, its life, and says it on every link. A node that is started again never has a former
//! life again. So a life that comes back after another of the same node is that of a second process: both dial, take the link from
//! each other, and neither keeps it. Neither can mend that, and which one is the right one is for a person to say: this only tells
//! everybody about it, the two among them. It is what neighbours say, and nothing is decided by it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use keys::{NodeId, identity::random_bytes};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    frame,
    limits::{DOUBLED_FOR, DOUBLED_TOLD_MAX, FORMER_LIVES_MAX},
    view::LinkView,
};

/// The section in which a node says its life, and of whom it has seen two.
pub(crate) const SECTION: &str = "life";
/// First byte of the section.
const VERSION: u8 = 1;

/// Which process this is: drawn at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Life([u8; 16]);

/// What the section holds.
#[derive(Serialize, Deserialize)]
struct Told {
    life: Life,
    /// Nodes of which the sender itself has seen two processes of late.
    doubled: Vec<NodeId>,
}

/// What is known of one neighbour.
struct Seen {
    present: Life,
    former: VecDeque<Life>,
    /// When a former life last came back.
    doubled: Option<Instant>,
}

/// The lives of this node's neighbours.
pub(crate) struct Lives {
    own: Life,
    seen: HashMap<NodeId, Seen>,
    /// When this node was last told that its own key is used twice.
    warned: Option<Instant>,
}

impl Lives {
    pub fn new() -> Self {
        Self {
            own: Life(random_bytes()),
            seen: HashMap::new(),
            warned: None,
        }
    }

    /// Takes in what a neighbour says in the section; whether it shows for the first time in a while that two processes use its key.
    pub fn heard(&mut self, node: NodeId, section: &[u8], now: Instant) -> bool {
        let Some(told) = parse(section) else { return false };
        let seen = self.seen.entry(node).or_insert_with(|| Seen {
            present: told.life,
            former: VecDeque::new(),
            doubled: None,
        });
        if seen.present == told.life {
            return false;
        }
        let is_back = seen.former.contains(&told.life);
        seen.former.retain(|life| *life != told.life);
        seen.former.push_back(std::mem::replace(&mut seen.present, told.life));
        if seen.former.len() > FORMER_LIVES_MAX {
            seen.former.pop_front();
        }
        let is_new = !is_recent(seen.doubled, now);
        if is_back {
            seen.doubled = Some(now);
        }
        is_back && is_new
    }

    /// Whether this node is to be told that two processes use its own key: not more often than the news lasts.
    pub fn warns(&mut self, own: NodeId, section: &[u8], now: Instant) -> bool {
        let concerns = parse(section).is_some_and(|told| told.doubled.contains(&own));
        let warns = concerns && !is_recent(self.warned, now);
        if warns {
            self.warned = Some(now);
        }
        warns
    }

    /// Those who are members no longer are forgotten.
    pub fn retain(&mut self, is_member: impl Fn(&NodeId) -> bool) {
        self.seen.retain(|node, _| is_member(node));
    }

    /// Nodes of which two processes were seen of late, with when.
    pub fn doubled(&self, now: Instant) -> BTreeMap<NodeId, Instant> {
        let recent = self.seen.iter().filter(|(_, seen)| is_recent(seen.doubled, now));
        recent.filter_map(|(node, seen)| Some((*node, seen.doubled?))).collect()
    }

    /// What this node says in the section.
    pub fn section(&self, now: Instant) -> Vec<u8> {
        let told = Told {
            life: self.own,
            doubled: self.doubled(now).into_keys().take(DOUBLED_TOLD_MAX).collect(),
        };
        frame::encode(VERSION, &told)
    }
}

/// Nodes of which a neighbour says that it has seen two processes.
pub(crate) fn doubled_by(link: &LinkView) -> BTreeSet<NodeId> {
    let told = link.sections.get(SECTION).and_then(|section| parse(section));
    told.into_iter().flat_map(|told| told.doubled).collect()
}

/// Whether something was so a short while ago.
pub(crate) fn is_recent(at: Option<Instant>, now: Instant) -> bool {
    at.is_some_and(|at| now.saturating_duration_since(at) < DOUBLED_FOR)
}

fn parse(section: &[u8]) -> Option<Told> {
    let told: Told = frame::decode(VERSION, section)?;
    (told.doubled.len() <= DOUBLED_TOLD_MAX).then_some(told)
}

/// For whoever tries bytes: reads a section and writes what was read.
pub(crate) fn again(bytes: &[u8]) -> Option<Vec<u8>> {
    parse(bytes).map(|told| frame::encode(VERSION, &told))
}

/// Sections of a node that has seen nothing, and of one that has seen two processes of another.
pub(crate) fn examples() -> Vec<(String, Vec<u8>)> {
    let told = |doubled| Told {
        life: Life([7; 16]),
        doubled,
    };
    [("alone", told(vec![])), ("doubled", told(vec![NodeId([9; 32])]))]
        .map(|(name, told)| (name.to_owned(), frame::encode(VERSION, &told)))
        .into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NODE: NodeId = NodeId([1; 32]);

    /// At which of some lives, a second apart, it was said that the key is used twice.
    fn said_at(lives: &[u8]) -> Vec<usize> {
        let mut known = Lives::new();
        let start = Instant::now();
        let mut said = |(at, life): (usize, &u8)| {
            let told = Told {
                life: Life([*life; 16]),
                doubled: vec![],
            };
            let now = start + Duration::from_secs(at as u64);
            known.heard(NODE, &frame::encode(VERSION, &told), now).then_some(at)
        };
        lives.iter().enumerate().filter_map(&mut said).collect()
    }

    #[test]
    fn a_life_that_comes_back_is_a_second_process_and_a_restart_is_not() {
        assert_eq!(said_at(&[1, 2, 3, 4]), [0; 0], "started again and again");
        assert_eq!(said_at(&[1, 1, 1, 2, 2]), [0; 0], "said again over the same link");
        assert_eq!(
            said_at(&[1, 2, 1, 2, 1]),
            [2],
            "said once, however often they take turns"
        );
        assert_eq!(said_at(&[1, 2, 3, 1]), [3], "three processes");
    }

    #[test]
    fn it_is_told_on_for_a_while_and_said_again_after_it() {
        let (mut witness, mut twin) = (Lives::new(), Lives::new());
        let mut copy = Lives::new();
        copy.own = Life([3; 16]);
        let start = Instant::now();
        for life in [&twin, &copy, &twin] {
            witness.heard(NODE, &life.section(start), start);
        }
        assert_eq!(witness.doubled(start), BTreeMap::from([(NODE, start)]));
        let told = witness.section(start);
        assert!(twin.warns(NODE, &told, start));
        assert!(!twin.warns(NODE, &told, start), "not with every announcement");
        assert!(!copy.warns(NodeId([2; 32]), &told, start), "nobody else is meant");
        let later = start + DOUBLED_FOR;
        assert!(witness.doubled(later).is_empty());
        assert!(twin.warns(NODE, &told, later));
        witness.retain(|_| false);
        assert!(witness.doubled(start).is_empty(), "it is a member no longer");
    }

    #[test]
    fn a_section_that_is_none_or_names_too_many_says_nothing() {
        let many = Told {
            life: Life([1; 16]),
            doubled: vec![NODE; DOUBLED_TOLD_MAX + 1],
        };
        for section in [vec![], vec![VERSION], vec![9; 40], frame::encode(VERSION, &many)] {
            assert!(parse(&section).is_none());
        }
    }
}
