//! What those are told whose question nobody can answer now: why, how many go before, and for how long. Again and again, since who waits in
//! silence takes it for a fault. Where a question waits for its turn at a node, that node tells it instead (see [`crate::admission`]).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crdt::records::session::MessageId;
use keys::ContentId;

use super::{AnswerEvent, AnswerNotice, Order, WaitReason};

/// A question that waits here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) order: Order,
    pub(super) account: ContentId,
    pub(super) reason: WaitReason,
    /// How many go before it at the node that would have taken it soonest.
    pub(super) ahead: u32,
    /// When it is expected to get its turn, or is tried again.
    pub(super) until: Instant,
}

/// By their answers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits(Arc<Mutex<BTreeMap<MessageId, Wait>>>);

impl Waits {
    /// A question waits; what is to be told of it.
    pub(super) fn begin(&self, now: Instant, wait: Wait) -> AnswerNotice {
        let mut waits = self.lock();
        waits.insert(wait.order.answer, wait);
        notice(now, &waits, &wait)
    }

    /// It waits here no longer.
    pub(super) fn end(&self, answer: MessageId) {
        self.lock().remove(&answer);
    }

    /// What is to be told of all that wait.
    pub(super) fn notices(&self, now: Instant) -> Vec<AnswerNotice> {
        let waits = self.lock();
        waits.values().map(|wait| notice(now, &waits, wait)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<MessageId, Wait>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn notice(now: Instant, waits: &BTreeMap<MessageId, Wait>, wait: &Wait) -> AnswerNotice {
    // Older questions that wait here, too, are tried before it.
    let before = waits.range(..wait.order.answer).count();
    AnswerNotice {
        session: wait.order.session,
        account: wait.account,
        event: AnswerEvent::Waiting {
            question: wait.order.question,
            reason: wait.reason,
            ahead: before.saturating_add(wait.ahead as usize),
            wait: wait.until.saturating_duration_since(now).max(Duration::from_secs(1)),
        },
    }
}

#[cfg(test)]
mod tests {
    use keys::Timestamp;

    use super::*;

    fn question(at: u64) -> MessageId {
        MessageId::derived(Timestamp(at), "starling test 1", &[])
    }

    fn wait(now: Instant, at: u64, ahead: u32) -> Wait {
        Wait {
            order: Order::first(ContentId([1; 32]), question(at)),
            account: ContentId([2; 32]),
            reason: WaitReason::AllBusy,
            ahead,
            until: now + Duration::from_secs(10),
        }
    }

    fn told(notice: &AnswerNotice) -> (usize, u64) {
        match notice.event {
            AnswerEvent::Waiting { ahead, wait, .. } => (ahead, wait.as_secs()),
            _ => panic!("{notice:?}"),
        }
    }

    #[test]
    fn whoever_waits_is_told_how_many_go_before_here_and_there_and_how_long_it_still_is() {
        let (waits, now) = (Waits::default(), Instant::now());
        assert_eq!(told(&waits.begin(now, wait(now, 5, 0))), (0, 10));
        assert_eq!(told(&waits.begin(now, wait(now, 7, 3))), (4, 10));
        let later = now + Duration::from_secs(4);
        let all: Vec<(usize, u64)> = waits.notices(later).iter().map(told).collect();
        assert_eq!(all, [(0, 6), (4, 6)]);
        waits.end(Order::first(ContentId([1; 32]), question(5)).answer);
        let late = now + Duration::from_secs(60);
        let all: Vec<(usize, u64)> = waits.notices(late).iter().map(told).collect();
        assert_eq!(all, [(3, 1)], "never in no time");
    }
}
