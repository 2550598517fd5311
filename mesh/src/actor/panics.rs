//! What the actor does after a panic in its task: in a library's code, or in ours.

use std::any::Any;

use super::{Actor, jitter};
use crate::counters::Counters;

impl Actor {
    /// Closes every connection and forgets what ran on them; the dial plan brings the links back.
    pub(super) fn handle_panic(&mut self, panic: Box<dyn Any + Send>) {
        #[cfg(test)]
        if panic.downcast_ref::<super::tests::Fault>() == Some(&super::tests::Fault::NotCaught) {
            std::panic::resume_unwind(panic);
        }
        let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
        let words = words
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        tracing::error!(
            panic = words,
            "a panic in the mesh was caught: every connection is made anew"
        );
        Counters::increment(&self.outputs.counters.panics_caught);
        for node in self.connections.keys().copied().collect::<Vec<_>>() {
            self.plan.lost(&node, self.started.elapsed(), jitter());
            self.drop_link(&node);
        }
        self.connections.clear();
        self.spare.clear();
        for peer in self.swarm.connected_peers().copied().collect::<Vec<_>>() {
            // An error means that it is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }
}
