//! Whether an answer is still wanted from the node that generates it, and whether it may be written there unasked: pure.
//!
//! As long as somebody listens who asked for it, that one decides. When nobody does, there are two reasons, which look alike from here:
//! the gateway has died, and then this node is the only one that has the answer; or the gateway has given this node up, because it was
//! frozen or out of reach, and has it made elsewhere. What tells them apart is whether the gateway is there. A node that was frozen finds
//! it gone, too, in its first moments; so it is looked for several times, and looks that were not made do not count.

use crate::limits::{ALONE_LOOKS, GIVEN_UP_LOOKS};

/// What there is to see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Somebody within reach has asked for it and listens.
    pub(crate) is_asked: bool,
    /// The gateway that asked for it is within reach.
    pub(crate) is_gateway_here: bool,
    /// Another node makes it under a later attempt.
    pub(crate) is_superseded: bool,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Whoever asked will say.
    Asked,
    /// It is not clear yet.
    Unclear,
    /// Somebody else makes it; this node may not write it.
    GivenUp,
    /// Nobody else has it; when it is whole, it is to be written.
    Alone,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    /// Looks in a row at which the gateway was there and did not listen.
    deserted: u32,
    /// Looks in a row at which neither it nor anybody who asked was there.
    alone: u32,
}

impl Standing {
    /// A further look.
    pub(crate) const fn look(&mut self, facts: Facts) -> Verdict {
        if facts.is_asked {
            *self = Self { deserted: 0, alone: 0 };
            return Verdict::Asked;
        }
        if facts.is_superseded {
            return Verdict::GivenUp;
        }
        (self.deserted, self.alone) = match facts.is_gateway_here {
            true => (self.deserted.saturating_add(1), 0),
            false => (0, self.alone.saturating_add(1)),
        };
        if self.deserted >= GIVEN_UP_LOOKS {
            Verdict::GivenUp
        } else if self.alone >= ALONE_LOOKS {
            Verdict::Alone
        } else {
            Verdict::Unclear
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Facts = Facts {
        is_asked: true,
        is_gateway_here: true,
        is_superseded: false,
    };
    const DESERTED: Facts = Facts {
        is_asked: false,
        ..ASKED
    };
    const ALONE: Facts = Facts {
        is_gateway_here: false,
        ..DESERTED
    };

    fn after(looks: impl IntoIterator<Item = Facts>) -> Verdict {
        let mut standing = Standing::default();
        let verdicts: Vec<Verdict> = looks.into_iter().map(|facts| standing.look(facts)).collect();
        *verdicts.last().expect("some looks")
    }

    #[test]
    fn a_dead_gateway_leaves_the_answer_to_its_node_and_a_living_one_takes_it_away() {
        let times = |facts, count| std::iter::repeat_n(facts, count as usize);
        assert_eq!(after(times(ALONE, ALONE_LOOKS - 1)), Verdict::Unclear);
        assert_eq!(after(times(ALONE, ALONE_LOOKS)), Verdict::Alone);
        assert_eq!(after(times(DESERTED, GIVEN_UP_LOOKS - 1)), Verdict::Unclear);
        assert_eq!(after(times(DESERTED, GIVEN_UP_LOOKS)), Verdict::GivenUp);
        assert_eq!(after(times(ASKED, 100)), Verdict::Asked);
    }

    #[test]
    fn a_node_that_was_frozen_finds_its_gateway_again_before_it_counts_as_gone() {
        let thawed = std::iter::repeat_n(ALONE, ALONE_LOOKS as usize - 1).chain([DESERTED; 3]);
        assert_eq!(after(thawed), Verdict::Unclear, "it is there, and does not listen");
        let again = std::iter::repeat_n(ALONE, ALONE_LOOKS as usize - 1).chain([DESERTED, ALONE]);
        assert_eq!(after(again), Verdict::Unclear, "looks count in a row");
    }

    #[test]
    fn a_later_attempt_elsewhere_ends_it_at_once_and_whoever_asks_here_goes_before() {
        let superseded = Facts {
            is_superseded: true,
            ..ALONE
        };
        assert_eq!(after([superseded]), Verdict::GivenUp);
        let asked = Facts {
            is_superseded: true,
            ..ASKED
        };
        assert_eq!(after([asked]), Verdict::Asked);
    }
}
