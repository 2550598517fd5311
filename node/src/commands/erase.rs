//! `starling erase`: have a person or a chat forgotten on every node; `starling erasures`: what was, and where.

use std::path::Path;

use clap::Args;

use super::{CommandError, confirm, print_json};
use crate::{
    control::{self, EraseRequest, ErasureStatus, Request},
    data_directory::DataDirectory,
    hints::here,
};

/// What to erase.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct What {
    /// A person by name: the account, its chats and everything else of it.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// One chat by its id: the last part of the address of its page.
    #[arg(long, value_name = "ID")]
    session: Option<String>,
}

/// Asks once more, then has it erased and prints which nodes have done it.
///
/// # Errors
/// When no node runs, it is not known, or the person says no.
pub fn run(path: &Path, what: What, yes: bool) -> Result<(), CommandError> {
    DataDirectory::open(path)?;
    let (request, words) = match (what.account, what.session) {
        (Some(name), _) => (
            EraseRequest::Account(name.clone()),
            format!("the account {name:?} and all its chats"),
        ),
        (None, Some(id)) => (EraseRequest::Session(id.clone()), format!("the chat {id}")),
        (None, None) => return Ok(()),
    };
    let words = format!("This erases {words} for ever, on every node.");
    if !yes {
        confirm(&words, "erased")?;
    }
    let status: ErasureStatus = control::request(path, &Request::Erase(request))?;
    print(&status);
    if !status.waiting_for.is_empty() {
        println!(
            "Those that are linked with this one do it within seconds, the others as soon as they are back; see: {}",
            here("erasures")
        );
    }
    Ok(())
}

/// Prints every erasure with the nodes that have carried it out.
///
/// # Errors
/// When no node runs.
pub fn list(path: &Path, json: bool) -> Result<(), CommandError> {
    DataDirectory::open(path)?;
    let erasures: Vec<ErasureStatus> = control::request(path, &Request::Erasures)?;
    if json {
        print_json(&erasures)?;
        return Ok(());
    }
    if erasures.is_empty() {
        println!("Nothing has been erased.");
    }
    erasures.iter().for_each(print);
    Ok(())
}

fn print(status: &ErasureStatus) {
    let name = status
        .name
        .as_ref()
        .map_or_else(String::new, |name| format!("{name:?} "));
    println!(
        "erased   {} {name}{}",
        status.what,
        &status.subject[..16.min(status.subject.len())]
    );
    for receipt in &status.receipts {
        println!(
            "  {:<20} done: {} changes, {} keys",
            receipt.node, receipt.envelopes, receipt.keys
        );
    }
    for name in &status.waiting_for {
        println!("  {name:<20} not yet");
    }
}
