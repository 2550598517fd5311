//! `starling revoke`: put a node, an invite or an operator out, everywhere and for ever.

use std::path::Path;

use clap::Args;
use keys::{
    NodeId, Timestamp,
    invite::Invite,
    membership::{Decree, Target},
};

use super::{
    CommandError, confirm,
    decision::{Decision, RootKey, called, is_self, said_to},
};
use crate::{hints::here, standing};

/// Who or what shall be out, and why.
#[derive(Args)]
pub struct Revoked {
    /// A node by name or by the first digits of its id, or an invite as it was printed.
    #[arg(value_name = "NODE|INVITE")]
    target: String,
    /// Why, in a few words; every node shows it.
    #[arg(long, default_value = "")]
    reason: String,
    /// Only take its right as an operator; the node stays a member.
    #[arg(long)]
    operator: bool,
    #[command(flatten)]
    root: RootKey,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// Signs the revocation and gives it to the running node.
///
/// # Errors
/// When nobody is called so, no key at hand has the right, or the person says no.
pub fn run(path: &Path, what: &Revoked) -> Result<(), CommandError> {
    let decision = Decision::open(path, &what.root)?;
    let (target, words) = target(&decision, what)?;
    if let Target::Node(node) = target
        && is_self(&decision, &node)
    {
        return Err(format!("this is that node; to take it out of its mesh say: {}", here("leave")).into());
    }
    if let Some(before) = already(&decision, &target) {
        println!("Nothing to do: {words} is out already ({before}).");
        return Ok(());
    }
    let warning = format!("This puts {words} out of the mesh for ever.");
    if !what.yes {
        confirm(&warning, "revoked")?;
    }
    let now = Timestamp::now();
    let decrees = decision.sign(|roster, key| roster.revoke(key, target, &what.reason, now))?;
    let kept = decrees
        .iter()
        .filter(|decree| matches!(decree, Decree::Renewal(_)))
        .count();
    let told = decision.publish(decrees)?;
    println!("Revoked: {words}. {}", said_to(told));
    if kept > 0 {
        println!("{kept} node(s) that came in by it stay members.");
    }
    if let Target::Node(_) = target {
        println!("What it has stored stays readable to it: change what it should not know.");
    }
    Ok(())
}

/// Why it is out already, when a further revocation would change nothing. One by the root does where an operator's stands: it outlives that
/// operator.
fn already(decision: &Decision, target: &Target) -> Option<String> {
    let roster = &decision.roster;
    let revocation = roster
        .revocations()
        .find(|(_, revocation)| revocation.target == *target);
    // That a node left by itself is as final as a revocation by the root.
    let is_farewell = |author: &NodeId| *target == Target::Node(*author);
    let may_fall = |author: &NodeId| *author != roster.root() && !decision.holds(author) && !is_farewell(author);
    if revocation.is_some_and(|(author, _)| may_fall(&author)) {
        return None;
    }
    if let Target::Node(node) = target {
        let former = roster.former(node).filter(|former| standing::is_final(former))?;
        return Some(standing::why(roster, former, Timestamp::now()));
    }
    Some(match revocation?.1.reason.as_str() {
        "" => "revoked before, without a reason".to_owned(),
        reason => format!("revoked before: {reason}"),
    })
}

fn target(decision: &Decision, what: &Revoked) -> Result<(Target, String), CommandError> {
    if what.target.to_ascii_lowercase().starts_with("starling") && what.target.len() > 64 {
        let invite = Invite::parse(&what.target)?;
        if invite.mesh != decision.roster.mesh() {
            return Err("that invite leads into another mesh".into());
        }
        return Ok((Target::Ticket(invite.ticket()), "the invite".to_owned()));
    }
    let member = decision.find(&what.target)?;
    Ok(if what.operator {
        (
            Target::Operator(member.node),
            format!("the operator {}", called(&member)),
        )
    } else {
        (Target::Node(member.node), called(&member))
    })
}
