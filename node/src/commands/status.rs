//! `starling status`: what the running node is doing.

use std::path::Path;

use keys::Timestamp;

use super::{CommandError, print_json};
use crate::{
    backups, config,
    control::{self, MemberStatus, PlacementStatus, Status},
    data_directory::DataDirectory,
};

/// Asks the running node and prints its answer.
///
/// # Errors
/// When none runs.
pub fn run(path: &Path, json: bool) -> Result<(), CommandError> {
    let directory = DataDirectory::open(path)?;
    let status = control::ask(path)?;
    if json {
        print_json(&status)?;
    } else {
        print(&status.told_apart(), &directory);
    }
    Ok(())
}

fn print(status: &Status, directory: &DataDirectory) {
    let engine = match &status.engine_detail {
        Some(detail) => format!("{} ({detail})", status.engine),
        None => status.engine.clone(),
    };
    println!(
        "node     {} ({})",
        status.name,
        &status.node_id[..8.min(status.node_id.len())]
    );
    println!("page     {}", status.page);
    println!(
        "engine   {engine}, {} answers since the start {} s ago",
        status.answers_generated, status.uptime_seconds
    );
    println!(
        "memory   {} changes, root {}",
        status.changes,
        &status.root[..16.min(status.root.len())]
    );
    print_placement(&status.placement);
    if let Ok(config) = config::load(&directory.config_path()) {
        let words = backups::describe(directory, &config.backup, Timestamp::now());
        println!("backups  {}", words.unwrap_or_else(|problem| problem));
    }
    println!("members");
    print_members(status);
}

fn print_placement(placement: &PlacementStatus) {
    let PlacementStatus {
        everywhere,
        shards,
        filling,
        leaving,
        followed,
        unconfirmed,
        labelled_too_few,
    } = placement;
    match (everywhere, *shards) {
        (true, 256) => println!("shards   all: every node that keeps documents holds everything"),
        _ => println!(
            "shards   {shards} of 256, {filling} on their way here, {leaving} leaving; {followed} documents of others in use, \
             {unconfirmed} changes to hand over"
        ),
    }
    if let Some(found) = labelled_too_few {
        println!(
            "         only {found} nodes have the residency label that documents about persons need: nothing is dropped"
        );
    }
}

/// Asks the running node who is in the mesh and prints that.
///
/// # Errors
/// When none runs.
pub fn members(path: &Path, json: bool) -> Result<(), CommandError> {
    DataDirectory::open(path)?;
    let status = control::ask(path)?;
    if json {
        let Status {
            members,
            former_members,
            out,
            ..
        } = status;
        print_json(&serde_json::json!({ "members": members, "former_members": former_members, "out": out }))?;
    } else {
        print_members(&status.told_apart());
    }
    Ok(())
}

/// A time in the largest unit that is not zero.
pub(crate) fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// What is said of a member whose key two processes use.
pub(crate) const DOUBLED: &str = "TWO PROCESSES RUN WITH ITS KEY, as when its data directory was copied: stop one of them; a second machine \
                                  joins by an invite, into an empty directory";

/// How a member is, and for how long. That it was never heard of is no death: it may not have been started yet.
fn liveness(member: &MemberStatus, uptime_seconds: u64) -> String {
    match (member.liveness.as_str(), member.heard_ms_ago) {
        ("gone" | "joining" | "suspect", None) => {
            format!(
                "not seen since this node started {} ago",
                duration(uptime_seconds * 1000)
            )
        }
        (state, _) => format!("{state} for {}", duration(member.liveness_ms_ago)),
    }
}

fn print_members(status: &Status) {
    if let Some(out) = &status.out {
        println!("  this node is a member of its mesh no longer: {out}");
    }
    for member in &status.members {
        let round_trip = member
            .round_trip_ms
            .map_or_else(String::new, |ms| format!(", {ms:.1} ms"));
        let path = member
            .path
            .as_ref()
            .map_or_else(String::new, |path| format!(" by {path}"));
        let models = if member.models.is_empty() {
            "no model".to_owned()
        } else {
            member.models.join(", ")
        };
        let certificate = match member.certificate_days {
            None => String::new(),
            Some(days @ ..0) => format!("; certificate ended {} day(s) ago, renew it", -days),
            Some(days) => format!("; certificate for {days} day(s)"),
        };
        let shards = match member.shards {
            256 => String::new(),
            shards => format!("; {shards} of 256 shards"),
        };
        let residency = member
            .residency
            .as_ref()
            .map_or_else(String::new, |label| format!(" in {label}"));
        let liveness = liveness(member, status.uptime_seconds);
        let heard = match (member.state.as_str(), member.heard_ms_ago) {
            ("unreachable", Some(ago)) => format!(", last heard of {} ago", duration(ago)),
            _ => String::new(),
        };
        println!(
            "  {:<20} {liveness}; {}{path}{round_trip}{heard}; {models}; {}{residency}{shards}{certificate}",
            member.name, member.state, member.roles
        );
        if member.doubled {
            println!("  {:<20} {DOUBLED}", "");
        }
    }
    if !status.former_members.is_empty() {
        println!("out");
    }
    for former in &status.former_members {
        println!("  {:<20} {}", former.name, former.why);
    }
}
