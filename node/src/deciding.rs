//! Decisions about members, as the running node takes them: in memory, on its disk, and told to the neighbours.

use std::time::Duration;

use keys::membership::{Decree, Evidence, EvidenceError, MembershipError};

use crate::{control::Decided, node::Node};

/// How long the disk may take before the person is told that the decision is not safe yet.
const SAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a decision does not count.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// Not a signed decision.
    #[error("that is not a signed decision: {0}")]
    Malformed(#[from] EvidenceError),
    /// A certificate comes in by joining.
    #[error("a certificate is not a decision")]
    NotADecision,
    /// The roster says no.
    #[error(transparent)]
    Refused(#[from] MembershipError),
    /// It counts, and the neighbours know, but this node might forget it.
    #[error(
        "the decision counts and was told to the neighbours, but this node could not write it to its disk; see its log"
    )]
    NotSaved,
}

impl Node {
    /// Takes decisions in, tells the neighbours, and returns when they are on this node's disk.
    ///
    /// # Errors
    /// Why they do not count.
    pub async fn decide(&self, decrees: &[String]) -> Result<Decided, DecideError> {
        let mut opened: Vec<Decree> = Vec::new();
        for text in decrees {
            match Evidence::parse(text)? {
                Evidence::Decree(decree) => opened.push(decree),
                Evidence::Certificate(_) => return Err(DecideError::NotADecision),
            }
        }
        self.mesh().decide(opened).await?;
        let told = self.mesh().view().borrow().reachable().count();
        let mut saved = self.saved_roster();
        let is_saved = saved.wait_for(|digest| *digest == self.mesh().roster().digest());
        match tokio::time::timeout(SAVE_TIMEOUT, is_saved).await {
            Ok(Ok(_)) => Ok(Decided { told }),
            _ => Err(DecideError::NotSaved),
        }
    }
}
