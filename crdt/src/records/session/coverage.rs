//! Which messages a summary repeats: whoever erases one of them erases the summary, too.
//!
//! First and last message do not say it. What is shown between them can be younger than the last one (the chains of both halves of a
//! split stand one behind the other), and another branch can lie between them that the summary does not know. So the messages are
//! listed, by four bytes each, like the links between messages: another message of the session that shares them by chance costs a
//! summary that can be made anew.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::MessageId;
use crate::records::entry_id::ShortId;

/// Messages that one summary lists, at four bytes each; a summary of more goes with any message of its chat.
pub const COVERED_MESSAGES_MAX: usize = 512;

/// Which messages of its chat a summary may repeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Coverage {
    /// Any of them: it covers more than it lists, or is of a time when that was not written down.
    Everything,
    /// These.
    Messages(BTreeSet<ShortId>),
}

impl Coverage {
    /// The messages whose texts the summary was made from.
    #[must_use]
    pub fn of(messages: impl IntoIterator<Item = MessageId>) -> Self {
        Self::listed(messages.into_iter().map(|message| message.short()).collect())
    }

    /// Of a summary that was made from another one, too: it repeats what that one repeats.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Messages(own), Self::Messages(other)) => Self::listed(own.union(other).copied().collect()),
            (Self::Everything, _) | (_, Self::Everything) => Self::Everything,
        }
    }

    fn listed(messages: BTreeSet<ShortId>) -> Self {
        if messages.len() > COVERED_MESSAGES_MAX {
            Self::Everything
        } else {
            Self::Messages(messages)
        }
    }

    /// Whether the summary may repeat this message.
    #[must_use]
    pub fn includes(&self, message: &MessageId) -> bool {
        match self {
            Self::Everything => true,
            Self::Messages(messages) => messages.contains(&message.short()),
        }
    }
}

#[cfg(test)]
mod tests {
    use keys::Timestamp;

    use super::*;

    fn id(number: u64) -> MessageId {
        MessageId::derived(Timestamp(number), "test", &[&number.to_le_bytes()])
    }

    #[test]
    fn a_summary_covers_what_it_was_made_from_and_what_that_was_made_from() {
        let first = Coverage::of((0..5).map(id));
        assert!(first.includes(&id(4)) && !first.includes(&id(5)));
        let both = Coverage::of((5..7).map(id)).and(&first);
        assert!((0..7).all(|number| both.includes(&id(number))) && !both.includes(&id(7)));
        assert_eq!(Coverage::Everything.and(&first), Coverage::Everything);
        assert_eq!(first.and(&Coverage::Everything), Coverage::Everything);
        let most = COVERED_MESSAGES_MAX as u64;
        assert!(!Coverage::of((0..most).map(id)).includes(&id(most)));
        assert_eq!(Coverage::of((0..=most).map(id)), Coverage::Everything);
        let half = Coverage::of((0..most).map(id));
        assert_eq!(Coverage::of([id(most)]).and(&half), Coverage::Everything);
    }
}
