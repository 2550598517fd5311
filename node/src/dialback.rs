//! Whether others can reach this node, and whether its clock is right, by what members say that were asked to try.

use std::time::Duration;

use keys::NodeId;
use mesh::{Attempt, DialbackError, OpenError, Outcome};

use crate::{
    control::{AttemptStatus, DialbackStatus},
    node::Node,
};

/// Members that are asked: one may stand in the same room, and one may be behind the same firewall.
const ASKED: usize = 3;

/// The whole of it, which must be less than a command waits.
const PATIENCE: Duration = Duration::from_millis(4500);

impl Node {
    /// Has members try to reach this node as a newcomer would, at the same time; those that see it from elsewhere first.
    pub(crate) async fn dial_back(&self) -> Vec<DialbackStatus> {
        let asked = self.whom_to_ask().into_iter().map(|member| async move {
            let tried = tokio::time::timeout(PATIENCE, self.mesh().dial_back(member)).await;
            let name = self.name_of(&member);
            match tried {
                Ok(Ok(dialback)) => DialbackStatus {
                    member: name,
                    clock_ahead_ms: Some(dialback.clock_ahead_ms),
                    clock_uncertain_ms: dialback.clock_uncertain_ms,
                    attempts: dialback.attempts.iter().map(attempt).collect(),
                    error: None,
                },
                Ok(Err(error)) => DialbackStatus::failed(name, why(&error)),
                Err(_) => DialbackStatus::failed(name, format!("it said nothing within {} ms", PATIENCE.as_millis())),
            }
        });
        futures::future::join_all(asked).await
    }

    fn whom_to_ask(&self) -> Vec<NodeId> {
        let view = self.mesh().view();
        let view = view.borrow();
        let mut members: Vec<_> = view.reachable().collect();
        // One that is far away is more likely to be outside of the same network.
        members.sort_by_key(|(node, link)| (std::cmp::Reverse(link.round_trip), **node));
        members.into_iter().map(|(node, _)| *node).take(ASKED).collect()
    }
}

fn why(error: &DialbackError) -> String {
    match error {
        DialbackError::Open(OpenError::Refused(..)) => "it runs an older release that cannot try".to_owned(),
        error => error.to_string(),
    }
}

fn attempt(attempt: &Attempt) -> AttemptStatus {
    let (outcome, milliseconds) = match attempt.outcome {
        Outcome::Reached(milliseconds) => ("reached", Some(milliseconds)),
        Outcome::AnotherKey => ("another key", None),
        Outcome::Refused => ("refused", None),
        Outcome::Silent => ("silent", None),
    };
    AttemptStatus {
        address: attempt.address,
        path: attempt.path.word().to_owned(),
        outcome: outcome.to_owned(),
        milliseconds,
    }
}
