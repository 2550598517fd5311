//! What other members say of this node when they are asked: whether it can be reached, and whether its clock is right.

use std::{collections::BTreeSet, net::SocketAddr};

use super::Finding;
use crate::control::{AttemptStatus, DialbackStatus};

/// A clock that differs by less is right.
const CLOCK_RIGHT_MS: u64 = 2_000;
/// One that differs by more must be set.
const CLOCK_WRONG_MS: u64 = 60_000;

/// Whether this machine's clock agrees with those of the members that were asked.
pub(super) fn clock(told: &[DialbackStatus]) -> Option<Finding> {
    let mut clocks: Vec<(i64, u64, &str)> = told
        .iter()
        .filter_map(|one| Some((one.clock_ahead_ms?, one.clock_uncertain_ms, one.member.as_str())))
        .collect();
    clocks.sort_unstable();
    // One wrong clock among the others does not make this one wrong.
    let (ahead, uncertain, member) = *clocks.get(clocks.len() / 2)?;
    let off = ahead.unsigned_abs().saturating_sub(uncertain);
    let whom = match clocks.len() {
        1 => member.to_owned(),
        count => format!("the middle of {count} members"),
    };
    if off < CLOCK_RIGHT_MS {
        return Some(Finding::Good(format!(
            "agrees with {whom} to {} ms",
            off.max(uncertain)
        )));
    }
    let which = if ahead > 0 { "behind" } else { "ahead of" };
    let words = format!(
        "{} s {which} {whom}: let the system set it (timedatectl set-ntp true){}",
        off.div_ceil(1000),
        if clocks.len() == 1 { ", here or there" } else { "" }
    );
    Some(if off < CLOCK_WRONG_MS {
        Finding::Note(format!("{words}; times of messages are wrong by that much"))
    } else {
        Finding::Bad(format!(
            "{words}; from ten minutes on members do not find each other and invites are refused"
        ))
    })
}

/// Whether the members that were asked reached this node.
pub(super) fn reached(told: &[DialbackStatus], reachability: &str) -> Finding {
    let attempts = || told.iter().flat_map(|one| &one.attempts);
    if attempts().next().is_none() {
        let why: Vec<String> = told
            .iter()
            .map(|one| {
                format!(
                    "{}: {}",
                    one.member,
                    one.error.as_deref().unwrap_or("it knows no address of this node yet")
                )
            })
            .collect();
        return Finding::Note(format!("no member has tried it ({})", why.join("; ")));
    }
    if let Some(wrong) = attempts().find(|one| one.outcome == "another key") {
        return Finding::Bad(format!(
            "at {} somebody else answers: the router leads that port to another machine, two copies of this node run, or public_addresses \
             in the configuration names a wrong address",
            wrong.address
        ));
    }
    let is_public = |one: &&AttemptStatus| mesh::is_public(one.address.ip());
    let (outside, inside): (Vec<_>, Vec<_>) = attempts().partition(is_public);
    let is_public_node = reachability == "public";
    // Without an address in the public network, what is reached within the own one is all that can be said.
    let judged = if outside.is_empty() { &inside } else { &outside };
    let by = |path: &str| {
        let reached = judged.iter().filter(|one| one.path == path && one.outcome == "reached");
        reached.map(|one| (one.milliseconds, one.address)).min()
    };
    let members = members(told);
    let port = judged.first().map_or(0, |one| one.address.port());
    match (by("quic"), by("tcp").or_else(|| by("websocket"))) {
        (Some((milliseconds, address)), Some(_)) => Finding::Good(format!(
            "{members} reached it at {address} over UDP and TCP, after {} ms{}",
            milliseconds.unwrap_or_default(),
            if outside.is_empty() {
                " and within the same network"
            } else {
                ""
            }
        )),
        (Some((_, address)), None) => Finding::Note(format!(
            "{members} reached it at {address} over UDP and not over TCP: members whose network blocks UDP cannot come; open TCP port {port}, too"
        )),
        (None, Some((_, address))) => Finding::Note(format!(
            "{members} reached it at {address} over TCP and not over UDP, so that tokens wait behind files: open UDP port {port} in the \
             firewall"
        )),
        (None, None) if is_public_node => Finding::Bad(format!(
            "{members} could not reach it at {}: open port {port} for UDP and TCP in the firewall of this machine and of its provider",
            places(judged)
        )),
        (None, None) => Finding::Note(format!(
            "{members} could not reach it from outside ({}), as usual behind a router: forward port {port} (UDP and TCP) in the router and \
             name the outer address in public_addresses, if newcomers shall come to it directly",
            places(judged)
        )),
    }
}

fn members(told: &[DialbackStatus]) -> String {
    let tried = told.iter().filter(|one| !one.attempts.is_empty());
    let names: Vec<&str> = tried.map(|one| one.member.as_str()).collect();
    names.join(" and ")
}

fn places(attempts: &[&AttemptStatus]) -> String {
    let places: BTreeSet<SocketAddr> = attempts.iter().map(|one| one.address).collect();
    let places: Vec<String> = places.iter().map(ToString::to_string).collect();
    places.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(member: &str, ahead: i64, attempts: &[(&str, &str, &str)]) -> DialbackStatus {
        DialbackStatus {
            member: member.to_owned(),
            clock_ahead_ms: Some(ahead),
            clock_uncertain_ms: 20,
            attempts: attempts
                .iter()
                .map(|(address, path, outcome)| AttemptStatus {
                    address: address.parse().unwrap(),
                    path: (*path).to_owned(),
                    outcome: (*outcome).to_owned(),
                    milliseconds: (*outcome == "reached").then_some(12),
                })
                .collect(),
            error: None,
        }
    }

    fn clock_of(clocks: &[i64]) -> Option<Finding> {
        let told: Vec<_> = clocks.iter().map(|ahead| told("vds", *ahead, &[])).collect();
        clock(&told)
    }

    #[test]
    fn a_clock_is_judged_by_the_middle_of_the_others() {
        assert_eq!(clock_of(&[]), None);
        assert!(matches!(clock_of(&[15]), Some(Finding::Good(words)) if words.contains("vds to 20 ms")));
        assert!(
            matches!(clock_of(&[3_500]), Some(Finding::Note(words)) if words.contains("4 s behind vds") && words.contains("here or there"))
        );
        assert!(matches!(clock_of(&[-300_000, 10, 20]), Some(Finding::Good(_))));
        let wrong = clock_of(&[-900_000, -899_990, 0]);
        assert!(matches!(wrong, Some(Finding::Bad(words)) if words.contains("900 s ahead of the middle of 3 members")));
    }

    #[test]
    fn what_members_reached_is_said_with_what_to_do() {
        let (outer, inner) = ("203.0.113.9:4001", "192.168.1.5:4001");
        let of = |attempts: &[(&str, &str, &str)], reachability| reached(&[told("vds", 0, attempts)], reachability);
        let both = [
            (outer, "quic", "reached"),
            (outer, "tcp", "reached"),
            (inner, "quic", "silent"),
        ];
        assert!(matches!(of(&both, "public"), Finding::Good(words) if words.contains("over UDP and TCP, after 12 ms")));
        let no_udp = [(outer, "quic", "silent"), (outer, "tcp", "reached")];
        assert!(matches!(of(&no_udp, "public"), Finding::Note(words) if words.contains("open UDP port 4001")));
        let no_tcp = [(outer, "quic", "reached"), (outer, "tcp", "refused")];
        assert!(matches!(of(&no_tcp, "public"), Finding::Note(words) if words.contains("open TCP port 4001")));
        let none = [
            (outer, "quic", "silent"),
            (outer, "tcp", "silent"),
            (inner, "tcp", "reached"),
        ];
        assert!(matches!(of(&none, "public"), Finding::Bad(words) if words.contains(outer) && !words.contains(inner)));
        assert!(matches!(of(&none, "symmetric"), Finding::Note(words) if words.contains("forward port 4001")));
        let home = [(inner, "quic", "reached"), (inner, "tcp", "reached")];
        assert!(matches!(of(&home, "unknown"), Finding::Good(words) if words.contains("same network")));
        let twin = [(outer, "quic", "another key")];
        assert!(matches!(of(&twin, "public"), Finding::Bad(words) if words.contains("two copies")));
        let old = DialbackStatus::failed("vds".to_owned(), "it is of an older release".to_owned());
        assert!(matches!(reached(&[old], "public"), Finding::Note(words) if words.contains("vds: it is of an older")));
    }
}
