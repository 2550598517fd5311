//! `starling doctor`: checks this machine and this node, in words with what to do.

mod outside;

use std::path::Path;

use keys::{Timestamp, membership::Roster};

use super::{
    CommandError,
    status::{DOUBLED, duration},
};
use crate::{
    backups, config,
    control::{self, ControlError, DialbackStatus, MemberStatus, ReachStatus, Request, Status},
    data_directory::DataDirectory,
    node::{StartError, own_roster, page_certificates},
    ports,
};

/// How a thing is, with words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Finding {
    /// As it should be.
    Good(String),
    /// It works, and could be better, or will not for long; whether to do something is the operator's decision.
    Note(String),
    /// It must be mended.
    Bad(String),
}

/// Most things are good or bad.
impl From<Result<String, String>> for Finding {
    fn from(result: Result<String, String>) -> Self {
        result.map_or_else(Self::Bad, Self::Good)
    }
}

/// Prints one result after the other and counts what must be mended.
#[derive(Default)]
struct Checklist {
    problems: usize,
}

impl Checklist {
    fn check(&mut self, what: &str, finding: impl Into<Finding>) {
        match finding.into() {
            Finding::Good(words) => println!("ok    {what}: {words}"),
            Finding::Note(words) => println!("note  {what}: {words}"),
            Finding::Bad(words) => {
                self.problems += 1;
                println!("MEND  {what}: {words}");
            }
        }
    }
}

/// Checks one thing after the other and prints each result.
///
/// # Errors
/// When something must be mended.
pub fn run(path: &Path) -> Result<(), CommandError> {
    let directory = DataDirectory::open(path)?;
    let mut list = Checklist::default();
    list.check("data directory", Ok(path.display().to_string()));
    let running = control::ask(path);
    check_files(&mut list, &directory, running.is_ok());
    let key = directory.key().map_err(StartError::from);
    match (key.and_then(|key| own_roster(&directory, &key)), running) {
        // It cannot be started: nothing else is worth a word.
        (Err(out @ StartError::NotAMember(_)), Err(_)) => list.check("running", Err(out.to_string())),
        (_, Ok(status)) => {
            check_running(&mut list, status.clone().told_apart());
            check_from_outside(&mut list, path, &status);
        }
        (_, Err(error)) => {
            if matches!(error, ControlError::NotRunning(_)) {
                check_ports(&mut list, &directory);
            }
            list.check("running", Err(error.to_string()));
        }
    }
    if list.problems == 0 {
        Ok(())
    } else {
        Err(format!("{} thing(s) to mend", list.problems).into())
    }
}

/// What the files say. What a running node does may have been said on its command line: it is asked instead.
fn check_files(list: &mut Checklist, directory: &DataDirectory, is_running: bool) {
    let key = directory.key();
    list.check(
        "node key",
        key.as_ref().map(|key| key.id().short()).map_err(ToString::to_string),
    );
    if let Ok(key) = &key {
        let roster = directory.roster(key);
        let members = roster
            .as_ref()
            .map(|roster| format!("{} member(s)", roster.members().count()));
        list.check("membership", members.map_err(ToString::to_string));
        if let Some(words) = root_key(directory, roster.as_ref().ok()) {
            list.check("root key", words);
        }
    }
    match config::load(&directory.config_path()) {
        Ok(config) => {
            list.check("configuration", Ok("readable".to_owned()));
            let backup = backups::describe(directory, &config.backup, Timestamp::now());
            list.check("backups", backup);
            if is_running {
                return;
            }
            let page = page_certificates(&config.gateway).map(|certificates| match certificates {
                Some(_) => format!("{}, encrypted", config.gateway.page()),
                None => format!("{}, not encrypted", config.gateway.page()),
            });
            list.check("page", page.map_err(|error| error.to_string()));
            let model = super::init::check_model(&config.inference.model).map(|()| config.inference.model.clone());
            list.check("model", model.map_err(|error| error.to_string()));
        }
        Err(error) => list.check("configuration", Err(error.to_string())),
    }
}

/// The root key where it lies in the data directory: whether it still counts.
fn root_key(directory: &DataDirectory, roster: Option<&Roster>) -> Option<Result<String, String>> {
    let root = match directory.root_key() {
        Ok(root) => root?,
        Err(error) => return Some(Err(error.to_string())),
    };
    let words = if root.id() == roster?.root() {
        "here; whoever copies root.key rules the mesh"
    } else {
        "of a root that was replaced: root.key here decides nothing any more and may be deleted"
    };
    Some(Ok(words.to_owned()))
}

/// Whether a start would find its ports free.
fn check_ports(list: &mut Checklist, directory: &DataDirectory) {
    let Ok(config) = config::load(&directory.config_path()) else {
        return;
    };
    let wanted = [
        ("mesh", config.mesh.listen, true),
        ("gateway", config.gateway.listen, false),
    ];
    let taken = wanted.iter().find_map(|(section, address, udp)| {
        let why = ports::why_not(*address, *udp)?;
        Some(format!(
            "{why}: name another under listen in [{section}] of {}",
            directory.config_path().display()
        ))
    });
    let free = format!("{} and {} are free", config.mesh.listen, config.gateway.listen);
    list.check("ports", taken.map_or(Ok(free), Err));
}

fn check_running(list: &mut Checklist, status: Status) {
    list.check(
        "running",
        Ok(format!("since {} s, page at {}", status.uptime_seconds, status.page)),
    );
    let engine = match status.engine.as_str() {
        "failed" => Err(status.engine_detail.unwrap_or_default()),
        engine => Ok(engine.to_owned()),
    };
    list.check("engine", engine);
    let own = status.members.iter().find(|member| member.node_id == status.node_id);
    list.check(
        "certificate",
        certificate(own.and_then(|own| own.certificate_days), status.out.as_deref()),
    );
    list.check("journal and index", Ok(repairs(&status.repaired)));
    if status.out.is_some() {
        // Nobody links with it any more, and no port would change that.
        return;
    }
    let others = status.members.len().saturating_sub(1);
    let connected = status
        .members
        .iter()
        .filter(|member| member.state == "connected")
        .count();
    let links = if others == 0 || connected > 0 {
        Ok(format!("{connected} of {others} other member(s) connected"))
    } else {
        Err("no other member is connected: is the mesh port (UDP and TCP) open, and are the others running?".to_owned())
    };
    list.check("links", links);
    if let Some(words) = doubled(&status.members, &status.node_id) {
        list.check("keys", Err(words));
    }
    list.check("members", presence(&status.members, &status.node_id));
    if others > 0 {
        list.check("reachability", reachability(&status.reach));
    }
}

/// Members are asked to try, which takes some seconds where ports are closed.
fn check_from_outside(list: &mut Checklist, path: &Path, status: &Status) {
    let alone = !status.members.iter().any(|member| member.state == "connected");
    if alone || status.out.is_some() {
        // That nobody is linked was said already, and nobody can be asked.
        return;
    }
    match control::request::<Vec<DialbackStatus>>(path, &Request::DialBack) {
        Ok(told) => {
            list.check("from outside", outside::reached(&told, &status.reach.reachability));
            if let Some(finding) = outside::clock(&told) {
                list.check("clock", finding);
            }
        }
        Err(error) => list.check("from outside", Finding::Note(error.to_string())),
    }
}

/// Whose key is used by two processes.
fn doubled(members: &[MemberStatus], own: &str) -> Option<String> {
    let doubled = members.iter().filter(|member| member.doubled);
    let names: Vec<&str> = doubled
        .map(|member| {
            if member.node_id == own {
                "this node"
            } else {
                &member.name
            }
        })
        .collect();
    (!names.is_empty()).then(|| format!("{}: {DOUBLED}", names.join(", ")))
}

/// Who is not there, and whether this node works. A member that is off is its operator's decision, and nothing to mend here.
fn presence(members: &[MemberStatus], own: &str) -> Result<String, String> {
    let mut words = Vec::new();
    for member in members {
        let since = duration(member.liveness_ms_ago);
        let of = |what: &str| format!("{} {what} for {since}", member.name);
        match (member.liveness.as_str(), member.node_id == own) {
            ("serving", _) => {}
            ("maintenance", true) => words.push(format!(
                "this node is in maintenance for {since} and takes no work; to end it: starling maintenance off"
            )),
            (state, true) => words.push(format!("this node is {state} for {since}")),
            ("gone", false) if member.heard_ms_ago.is_none() => {
                words.push(format!("{} has not been heard of since this node started", member.name));
            }
            ("gone", false) => words.push(of("is gone")),
            ("suspect", false) => words.push(of("is not heard and perhaps gone")),
            ("joining", false) => words.push(of("has not been heard of since this node started,")),
            (state, false) => words.push(of(&format!("is in {state}"))),
        }
    }
    Ok(match words.len() {
        0 => "all of them serve".to_owned(),
        _ => words.join("; "),
    })
}

/// Nobody behind a router must do anything as long as relays carry the first contact; the words say what would be better.
fn reachability(reach: &ReachStatus) -> Result<String, String> {
    let seen: Vec<String> = reach.seen_at.iter().map(ToString::to_string).collect();
    let seen = seen.join(", ");
    let relays = reach.relays.join(", ");
    let through = match (reach.relays.len(), reach.relaying) {
        (1.., _) => format!("others find it through {relays}"),
        (0, true) => {
            let problem = "no public member holds a reservation for it, so that other homes cannot find it: let at least one member with \
                           the role relay run where it has a public address, or forward the mesh port (UDP and TCP) in the router and \
                           name the outer address in public_addresses";
            return match reach.reachability.as_str() {
                "public" => Ok(public(reach)),
                "unknown" => Ok(
                    "not known yet: no member outside of this local network has said how it sees this node".to_owned(),
                ),
                _ => Err(format!("behind a router (seen at {seen}), and {problem}")),
            };
        }
        (0, false) => "relaying is off in the configuration: only public members can be linked with it".to_owned(),
    };
    match reach.reachability.as_str() {
        "public" => Ok(public(reach)),
        "port-restricted" => Ok(format!(
            "behind a router that shows all the same address ({seen}); {through}, then links become direct"
        )),
        "symmetric" => Ok(format!(
            "behind a router that shows everybody another port ({seen}); {through}. Links with other homes stay relayed: forward the mesh \
             port (UDP and TCP) in the router and name the outer address in public_addresses to have them direct"
        )),
        "router" => Ok(format!(
            "behind a router ({seen}); {through}. Which kind of router shows when a second public member is linked"
        )),
        _ => Ok(format!("not known yet; {through}")),
    }
}

fn public(reach: &ReachStatus) -> String {
    if reach.carries {
        "public; it carries links of members that cannot reach each other".to_owned()
    } else {
        "public".to_owned()
    }
}

/// What the start repaired is worth a look until the next one, but no longer to be mended.
fn repairs(repaired: &[String]) -> String {
    if repaired.is_empty() {
        "whole at the start".to_owned()
    } else {
        format!("repaired at the start: {}", repaired.join("; "))
    }
}

/// A certificate is renewed from its tenth day on by any operator's node that this one is linked with.
fn certificate(days: Option<i64>, out: Option<&str>) -> Result<String, String> {
    const LATE: i64 = 7;
    if let Some(why) = out {
        return Err(format!("this node is a member of its mesh no longer: {why}"));
    }
    match days {
        None => Ok("an operator's, which does not end".to_owned()),
        Some(days @ LATE..) => Ok(format!("{days} day(s) left; it is renewed by itself")),
        Some(days @ 0..) => Err(format!(
            "{days} day(s) left and not renewed: has an operator's node been off, or not linked with this one, for long? An operator \
             can renew it: starling renew NODE"
        )),
        Some(_) => Err(
            "it has ended and counts for a few days more: an operator must renew it: starling renew NODE".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{ReachStatus, certificate, reachability, repairs};

    fn reach(kind: &str, relays: &[&str], relaying: bool) -> ReachStatus {
        ReachStatus {
            reachability: kind.to_owned(),
            seen_at: vec!["203.0.113.9:4001".parse().unwrap()],
            relays: relays.iter().map(|&name| name.to_owned()).collect(),
            carries: kind == "public",
            relaying,
        }
    }

    #[test]
    fn how_others_reach_this_node_is_said_with_what_to_do() {
        for (kind, relays, relaying, words) in [
            ("public", &[][..], true, "it carries links"),
            ("unknown", &[], true, "not known yet"),
            ("router", &["vds"], true, "second public member"),
            (
                "port-restricted",
                &["vds", "box"],
                true,
                "through vds, box, then links become direct",
            ),
            ("symmetric", &["vds"], true, "forward the mesh port"),
            ("symmetric", &[], false, "relaying is off"),
        ] {
            let said = reachability(&reach(kind, relays, relaying)).unwrap();
            assert!(said.contains(words), "{said}");
        }
        for kind in ["router", "port-restricted", "symmetric"] {
            let said = reachability(&reach(kind, &[], true)).unwrap_err();
            assert!(
                said.contains("203.0.113.9:4001") && said.contains("role relay"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_certificate_that_nobody_renews_is_said_in_time() {
        assert!(certificate(None, None).is_ok() && certificate(Some(29), None).is_ok());
        for (days, out, words) in [
            (Some(3), None, "3 day(s) left"),
            (Some(-1), None, "has ended"),
            (None, Some("revoked by first today"), "no longer: revoked by first"),
        ] {
            assert!(certificate(days, out).unwrap_err().contains(words));
        }
    }

    #[test]
    fn what_the_start_repaired_is_shown() {
        assert_eq!(repairs(&[]), "whole at the start");
        let words = ["3 damaged place(s)".to_owned(), "the index was made anew".to_owned()];
        assert!(repairs(&words).contains("3 damaged place(s); the index"));
    }
}
