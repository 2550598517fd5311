//! `starling renew`: a certificate for thirty more days, also for a node whose certificate has ended or has lost what it stood on.

use std::path::Path;

use clap::Args;
use keys::Timestamp;

use super::{
    CommandError,
    decision::{Decision, RootKey, called, said_to},
};

/// Whose certificate is renewed.
#[derive(Args)]
pub struct Renewed {
    /// A node by name or by the first digits of its id.
    node: String,
    #[command(flatten)]
    root: RootKey,
}

/// Signs the renewal and gives it to the running node.
///
/// # Errors
/// When nobody is called so, the node was revoked, or no key at hand has the right.
pub fn run(path: &Path, renewed: &Renewed) -> Result<(), CommandError> {
    let decision = Decision::open(path, &renewed.root)?;
    let member = decision.find(&renewed.node)?;
    let decree = decision.sign(|roster, key| roster.renew(key, member.node, Timestamp::now()))?;
    let told = decision.publish(vec![decree])?;
    println!("The certificate of {} is renewed. {}", called(&member), said_to(told));
    Ok(())
}
