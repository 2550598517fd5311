//! `starling leave`: this node goes out of its mesh, for ever.

use std::path::Path;

use clap::Args;
use keys::{NodeId, Timestamp, membership::Powers};

use super::{
    CommandError, confirm,
    decision::{Decision, RootKey, said_to},
};
use crate::control;

/// Why it leaves.
#[derive(Args)]
pub struct Farewell {
    /// Why, in a few words; every node shows it.
    #[arg(long, default_value = "")]
    reason: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// Whether this node may invite, and no other member.
fn is_last(decision: &Decision) -> bool {
    let (own, roster) = (decision.key.id(), &decision.roster);
    let invites = |node: &NodeId| roster.powers(node).contains(Powers::INVITE);
    let mut others = roster.members().filter(|member| member.node != own);
    (invites(&own) || decision.holds(&roster.root())) && !others.any(|member| invites(&member.node))
}

/// Signs that this node leaves and tells the others.
///
/// # Errors
/// When the node does not run (nobody would hear of it), or the person says no.
pub fn run(path: &Path, farewell: &Farewell) -> Result<(), CommandError> {
    let decision = Decision::open(path, &RootKey::default())?;
    // A goodbye that nobody hears is none.
    control::ask(path)?;
    let (is_last, has_root) = (is_last(&decision), decision.holds(&decision.roster.root()));
    if is_last {
        eprintln!(
            "No other node may invite, renew or revoke: when this one has left, only the root key makes another one that may, and without \
             it the mesh ends with its certificates. Better make another node an operator first: starling operator NODE"
        );
    }
    if !farewell.yes {
        let words = "This takes this node out of its mesh for ever; what only it holds is lost to the others.";
        confirm(words, "changed")?;
    }
    let leave = decision
        .roster
        .leave(&decision.key, &farewell.reason, Timestamp::now())?;
    let told = decision.publish(vec![leave])?;
    println!("This node has left its mesh. {}", said_to(told));
    println!("Stop it now; it does not start again. To join once more, use a new invite and another data directory.");
    let all = path.display();
    if has_root {
        println!("{all} holds root.key, which rules the mesh: move that file to a safe place first.");
    }
    println!("{all} holds its keys and all it has stored: delete it when you need nothing of it.");
    Ok(())
}
