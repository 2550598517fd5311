//! `starling operator`: the root makes a node an operator.

use std::path::Path;

use clap::{Args, ValueEnum};
use keys::{Timestamp, membership::Powers};

use super::{
    CommandError,
    decision::{Decision, RootKey, called, said_to},
};

/// What an operator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum May {
    /// Bring nodes in and renew their certificates.
    Invite,
    /// Put nodes and invites out.
    Revoke,
    /// Change what the whole mesh is set to.
    Configure,
}

/// Who becomes an operator.
#[derive(Args)]
pub struct Appointment {
    /// A node by name or by the first digits of its id.
    node: String,
    /// What it may do; everything unless given.
    #[arg(long, value_enum, value_delimiter = ',')]
    may: Vec<May>,
    #[command(flatten)]
    root: RootKey,
}

/// Signs the grant with the root key and gives it to the running node.
///
/// # Errors
/// When nobody is called so or the root key is not at hand.
pub fn run(path: &Path, appointment: &Appointment) -> Result<(), CommandError> {
    let decision = Decision::open(path, &appointment.root)?;
    let member = decision.find(&appointment.node)?;
    let may = appointment.may.iter().fold(Powers::NONE, |may, one| {
        may.with(match one {
            May::Invite => Powers::INVITE,
            May::Revoke => Powers::REVOKE,
            May::Configure => Powers::CONFIGURE,
        })
    });
    let may = if may == Powers::NONE { Powers::ALL } else { may };
    let decree = decision.sign(|roster, key| roster.appoint(key, member.node, may, Timestamp::now()))?;
    let told = decision.publish(vec![decree])?;
    println!("{} is an operator now. {}", called(&member), said_to(told));
    println!("Whoever can use that node's key can do what it may: \"starling revoke NODE --operator\" takes it back.");
    Ok(())
}
