//! `starling leave`: this node goes out of its mesh, for ever.

use std::path::Path;

use clap::Args;
use keys::Timestamp;

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

/// Signs that this node leaves and tells the others.
///
/// # Errors
/// When the node does not run (nobody would hear of it), or the person says no.
pub fn run(path: &Path, farewell: &Farewell) -> Result<(), CommandError> {
    let decision = Decision::open(path, &RootKey::default())?;
    // A goodbye that nobody hears is none.
    control::ask(path)?;
    let words = "This takes this node out of its mesh for ever; what only it holds is lost to the others.";
    if !farewell.yes {
        confirm(words, "changed")?;
    }
    let leave = decision
        .roster
        .leave(&decision.key, &farewell.reason, Timestamp::now())?;
    let told = decision.publish(vec![leave])?;
    println!("This node has left its mesh. {}", said_to(told));
    println!("Stop it now; it does not start again. To join once more, use a new invite and another data directory.");
    println!(
        "{} holds its keys and all it has stored: delete it when you need nothing of it.",
        path.display()
    );
    Ok(())
}
