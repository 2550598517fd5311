//! Revocations, operators, renewals and ends, one rule at a time.

use super::*;
use crate::limits::{CERTIFICATE_GRACE_MILLISECONDS, CERTIFICATE_MILLISECONDS, CERTIFICATE_RENEWAL_MILLISECONDS};

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

/// A node joins `roster` with a ticket of `issuer`, admitted by `admitter`.
fn join(
    roster: &mut Roster,
    (issuer, ticket, admitter): (&NodeKey, &NodeKey, &NodeKey),
    node: &NodeKey,
    roles: Roles,
) -> Result<Certificate, MembershipError> {
    let mesh = roster.mesh();
    let grant = TicketGrant {
        mesh,
        ticket: ticket.id(),
        roles,
        uses_max: 1,
        expires: NOW.plus(1000),
        residency: None,
    };
    let redemption = Redemption {
        mesh,
        node: node.id(),
        name: "new".into(),
    };
    let redemption = Signed::sign(ticket, &redemption).unwrap();
    roster.admit(admitter, node.id(), grant.sign(issuer).unwrap(), redemption, NOW)
}

fn take(roster: &mut Roster, decrees: Vec<Decree>) -> Vec<MembershipError> {
    let taken = roster.take(decrees.into_iter().map(Evidence::Decree).collect());
    taken.refused.into_iter().map(|(_, error)| error).collect()
}

fn copy(roster: &Roster, evidence: &Roster) -> Roster {
    let mut copy = roster.clone();
    copy.take(evidence.evidence().map(|(_, evidence)| evidence).collect());
    copy
}

#[test]
fn a_revoked_node_is_out_everywhere_and_says_why() {
    let World {
        root,
        first,
        mut roster,
    } = world();
    let (node, before) = (key(3), roster.clone());
    join(&mut roster, (&root, &key(9), &first), &node, Roles::NODE).unwrap();
    let decrees = roster.revoke(&first, Target::Node(node.id()), "stolen", NOW).unwrap();
    assert_eq!(decrees.len(), 1, "nobody else falls with it");
    // Elsewhere the revocation may come before the certificate.
    let mut elsewhere = before;
    assert!(take(&mut elsewhere, decrees.clone()).is_empty());
    assert!(
        elsewhere
            .insert_all(roster.certificates().cloned().collect())
            .is_empty()
    );
    take(&mut roster, decrees);
    assert_eq!(elsewhere.digest(), roster.digest());
    for roster in [&roster, &elsewhere] {
        assert_eq!(roster.get(&node.id()), None);
        let former = roster.former(&node.id()).unwrap();
        let why = Out::Revoked {
            by: first.id(),
            reason: "stolen".into(),
            at: NOW,
        };
        assert_eq!((former.member.name.as_str(), &former.why), ("new", &why));
        assert_eq!(roster.why_not(&node.id()), MembershipError::Revoked);
    }
    // Neither its old ticket nor a fresh one brings the key in again.
    for ticket in [key(9), key(10)] {
        let again = join(&mut roster, (&root, &ticket, &first), &node, Roles::NODE);
        assert_eq!(again, Err(MembershipError::Revoked));
    }
    assert_eq!(roster.renew(&first, node.id(), NOW), Err(MembershipError::Revoked));
}

#[test]
fn strangers_and_plain_members_revoke_nobody_but_themselves() {
    let World {
        root,
        first,
        mut roster,
    } = world();
    let node = key(3);
    join(&mut roster, (&root, &key(9), &first), &node, Roles::NODE).unwrap();
    let target = Target::Node(first.id());
    assert_eq!(roster.revoke(&node, target, "", NOW), Err(MembershipError::NotAllowed));
    // A program that signs it all the same gets nowhere.
    for (author, error) in [
        (&node, MembershipError::UnknownOperator),
        (&key(77), MembershipError::UnknownOperator),
    ] {
        let revocation = Revocation {
            mesh: roster.mesh(),
            target,
            reason: "mine".into(),
            at: NOW,
            sequence: 1,
        };
        let decree = Decree::Revocation(Signed::sign(author, &revocation).unwrap());
        assert_eq!(take(&mut roster, vec![decree]), [error]);
    }
    assert!(roster.get(&first.id()).is_some());
    let leave = roster.leave(&node, "moving house", NOW).unwrap();
    assert!(take(&mut roster, vec![leave]).is_empty());
    let why = &roster.former(&node.id()).unwrap().why;
    assert!(matches!(why, Out::Left { reason, .. } if reason == "moving house"));
    // A revocation of another mesh, and one that was changed on its way.
    let mut other = world();
    let foreign = Certificate::found(&other.root, other.first.id(), "first", [1; 16], NOW).unwrap();
    other.roster = Roster::new(foreign).unwrap();
    let decrees = other
        .roster
        .revoke(&other.root, Target::Ticket(node.id()), "", NOW)
        .unwrap();
    assert_eq!(take(&mut roster, decrees), [MembershipError::OtherMesh]);
    let reason = "two\nlines";
    assert_eq!(
        roster.revoke(&root, Target::Node(first.id()), reason, NOW),
        Err(MembershipError::BadReason)
    );
}

/// Two operators cannot throw each other out; only the root can.
#[test]
fn operators_are_the_roots_to_make_and_unmake() {
    let World {
        root,
        first,
        mut roster,
    } = world();
    let (second, third) = (key(3), key(4));
    join(&mut roster, (&root, &key(9), &first), &second, Roles::NODE).unwrap();
    assert_eq!(
        roster.appoint(&first, second.id(), Powers::ALL, NOW),
        Err(MembershipError::NotAllowed)
    );
    let without_it = join(&mut roster.clone(), (&second, &key(10), &first), &third, Roles::NODE);
    assert_eq!(without_it, Err(MembershipError::UnknownOperator));
    let grant = roster.appoint(&root, second.id(), Powers::ALL, NOW).unwrap();
    take(&mut roster, vec![grant]);
    assert!(roster.get(&second.id()).unwrap().roles.contains(Roles::OPERATOR));
    // The second operator invites without the root, and any member verifies it.
    join(&mut roster, (&second, &key(10), &first), &third, Roles::NODE).unwrap();
    for (one, other) in [(&first, &second), (&second, &first)] {
        for target in [Target::Node(other.id()), Target::Operator(other.id())] {
            assert_eq!(roster.revoke(one, target, "", NOW), Err(MembershipError::NotAllowed));
        }
    }
    // An operator cannot make one by inviting it as one.
    let sly = join(&mut roster, (&second, &key(11), &first), &key(5), Roles::OPERATOR);
    assert_eq!(sly, Err(MembershipError::NotAllowed));

    // The second revokes the third; then the root unmakes the second: what it revoked stays revoked, whom it let in would fall.
    let fourth = key(6);
    join(&mut roster, (&second, &key(12), &first), &fourth, Roles::NODE).unwrap();
    let decrees = roster.revoke(&second, Target::Node(third.id()), "noisy", NOW).unwrap();
    take(&mut roster, decrees);
    let decrees = roster
        .revoke(&root, Target::Operator(second.id()), "stolen", NOW)
        .unwrap();
    let mut bare = roster.clone();
    take(&mut bare, decrees[..1].to_vec());
    assert!(bare.get(&fourth.id()).is_none() && bare.former(&fourth.id()).is_some());
    assert!(matches!(
        bare.former(&fourth.id()).unwrap().why,
        Out::NotVouched {
            because: Target::Operator(_)
        }
    ));
    take(&mut roster, decrees);
    assert!(!roster.get(&second.id()).unwrap().roles.contains(Roles::OPERATOR));
    assert!(roster.get(&fourth.id()).is_some(), "the root vouches for it");
    assert!(
        matches!(&roster.former(&third.id()).unwrap().why, Out::Revoked { by, reason, .. } if *by == root.id() && reason == "noisy")
    );
    let late = join(&mut roster, (&second, &key(13), &first), &key(7), Roles::NODE);
    assert_eq!(
        late,
        Err(MembershipError::UnknownOperator),
        "its tickets are worthless now"
    );
    // Nor does it decide anything more.
    let late = Renewal {
        mesh: roster.mesh(),
        node: third.id(),
        name: "back".into(),
        roles: Roles::NODE,
        residency: None,
        at: NOW.plus(5),
    };
    take(
        &mut roster,
        vec![Decree::Renewal(Signed::sign(&second, &late).unwrap())],
    );
    assert!(roster.get(&third.id()).is_none());
}

#[test]
fn whom_a_revoked_node_admitted_stays_only_when_an_operator_vouches() {
    let World {
        root,
        first,
        mut roster,
    } = world();
    let (second, third, fourth) = (key(3), key(4), key(5));
    join(&mut roster, (&root, &key(9), &first), &second, Roles::NODE).unwrap();
    join(&mut roster, (&root, &key(10), &second), &third, Roles::NODE).unwrap();
    let mut other_half = roster.clone();
    let decrees = roster.revoke(&first, Target::Node(second.id()), "stolen", NOW).unwrap();
    assert_eq!(decrees.len(), 2, "the revocation, and a renewal for the third node");
    take(&mut roster, decrees);
    assert!(roster.get(&third.id()).is_some());
    // The revoked node admits one more where nobody has heard of it yet; on merge that one falls, and can be vouched for.
    join(&mut other_half, (&root, &key(11), &second), &fourth, Roles::NODE).unwrap();
    let mut merged = copy(&roster, &other_half);
    assert!(matches!(
        merged.former(&fourth.id()).unwrap().why,
        Out::NotVouched { because: Target::Node(node) } if node == second.id()
    ));
    assert_eq!(copy(&other_half, &roster).get(&fourth.id()), None);
    let renewal = merged.renew(&first, fourth.id(), NOW.plus(1)).unwrap();
    take(&mut merged, vec![renewal]);
    assert!(merged.get(&fourth.id()).is_some());
}

#[test]
fn a_ticket_used_on_both_sides_of_a_split_keeps_one_and_puts_the_other_out() {
    let World {
        root,
        first,
        mut roster,
    } = world();
    let (ticket, mut other_half) = (key(9), roster.clone());
    let nodes = [key(3), key(4)];
    join(&mut roster, (&root, &ticket, &first), &nodes[0], Roles::NODE).unwrap();
    join(&mut other_half, (&root, &ticket, &first), &nodes[1], Roles::NODE).unwrap();
    let merged = [copy(&roster, &other_half), copy(&other_half, &roster)];
    let hash = |node: &NodeKey| ContentId::of(&[node.id().0, ticket.id().0].concat());
    let (winner, loser) = if hash(&nodes[0]) < hash(&nodes[1]) {
        (&nodes[0], &nodes[1])
    } else {
        (&nodes[1], &nodes[0])
    };
    for mut merged in merged {
        assert!(merged.get(&winner.id()).is_some());
        assert_eq!(merged.get(&loser.id()), None);
        let why = &merged.former(&loser.id()).unwrap().why;
        assert_eq!(why, &Out::TicketSpent { winner: winner.id() });
        assert_eq!(merged.why_not(&loser.id()), MembershipError::UsedUp);
        // The place of a winner that is revoked later does not go to the loser, who can come with an invite of its own.
        let decrees = merged.revoke(&first, Target::Node(winner.id()), "", NOW).unwrap();
        take(&mut merged, decrees);
        assert_eq!(merged.get(&loser.id()), None);
        join(&mut merged, (&root, &key(10), &first), loser, Roles::NODE).unwrap();
        assert!(merged.get(&loser.id()).is_some());
    }
}

#[test]
fn a_revoked_ticket_admits_nobody_and_keeps_whom_it_admitted_before() {
    let World {
        root,
        first,
        mut roster,
    } = world();
    let (node, late) = (key(3), key(4));
    let ticket = key(9);
    join(&mut roster, (&root, &ticket, &first), &node, Roles::NODE).unwrap();
    let mut other_half = roster.clone();
    let decrees = roster
        .revoke(&first, Target::Ticket(ticket.id()), "pasted in a chat", NOW)
        .unwrap();
    take(&mut roster, decrees);
    assert!(roster.get(&node.id()).is_some());
    let unused = key(12);
    let decrees = roster.revoke(&first, Target::Ticket(unused.id()), "", NOW).unwrap();
    take(&mut roster, decrees);
    for ticket in [&ticket, &unused] {
        let refused = join(&mut roster, (&root, ticket, &first), &late, Roles::NODE);
        assert_eq!(refused, Err(MembershipError::Revoked));
    }
    // Where it was not heard of yet the ticket still admits; on merge that is undone.
    join(&mut other_half, (&root, &unused, &first), &late, Roles::NODE).unwrap();
    let merged = copy(&roster, &other_half);
    assert!(matches!(
        merged.former(&late.id()).unwrap().why,
        Out::NotVouched {
            because: Target::Ticket(_)
        }
    ));
}

#[test]
fn a_certificate_is_renewed_from_a_third_of_its_life_and_ends_after_its_grace() {
    let World {
        root,
        first,
        mut roster,
    } = world();
    let node = key(3);
    join(&mut roster, (&root, &key(9), &first), &node, Roles::NODE).unwrap();
    let due = |roster: &Roster, at| roster.due(at).map(|member| member.node).collect::<Vec<_>>();
    let third = NOW.plus(CERTIFICATE_RENEWAL_MILLISECONDS);
    assert!(due(&roster, Timestamp(third.0 - 1)).is_empty());
    assert_eq!(due(&roster, third).len(), 2);
    let end = NOW.plus(CERTIFICATE_MILLISECONDS);
    let last = end.plus(CERTIFICATE_GRACE_MILLISECONDS).plus(CLOCK_SKEW_MILLISECONDS);
    let mut forgotten = roster.clone();
    assert!(!forgotten.advance(last), "in its grace it counts");
    assert!(forgotten.advance(last.plus(1)));
    assert_eq!(forgotten.former(&node.id()).unwrap().why, Out::Ended { at: end });
    assert_eq!(forgotten.why_not(&node.id()), MembershipError::Ended);
    assert!(forgotten.get(&first.id()).is_some(), "an operator renews itself");
    // A clock that is set back changes nothing.
    assert!(!forgotten.advance(NOW) && forgotten.get(&node.id()).is_none());
    // A member that is no operator cannot renew; an operator can, also afterwards.
    assert_eq!(roster.renew(&node, node.id(), third), Err(MembershipError::NotAllowed));
    let renewal = roster.renew(&first, node.id(), third).unwrap();
    take(&mut roster, vec![renewal]);
    roster.advance(last.plus(1));
    assert_eq!(
        roster.get(&node.id()).unwrap().until,
        third.plus(CERTIFICATE_MILLISECONDS)
    );
    let renewal = forgotten.renew(&first, node.id(), last).unwrap();
    take(&mut forgotten, vec![renewal]);
    assert!(forgotten.get(&node.id()).is_some());
    assert_eq!(
        forgotten.renew(&first, key(99).id(), last),
        Err(MembershipError::NoSuchTarget)
    );
}

/// The set cannot be made to grow for ever by those who may write into it.
#[test]
fn of_many_decrees_about_one_thing_one_is_kept() {
    let World {
        root,
        first,
        mut roster,
    } = world();
    let node = key(3);
    join(&mut roster, (&root, &key(9), &first), &node, Roles::NODE).unwrap();
    for at in 0..50 {
        let renewal = roster.renew(&first, node.id(), NOW.plus(at)).unwrap();
        let ticket = Target::Ticket(key(50).id());
        let revocation = roster
            .revoke(&first, ticket, &format!("reason {at}"), NOW.plus(at))
            .unwrap();
        take(&mut roster, [vec![renewal], revocation].concat());
    }
    assert_eq!(
        roster.evidence().count(),
        2 + 2,
        "two certificates, a renewal and a revocation"
    );
}

#[test]
fn evidence_has_one_spelling_and_a_limit() {
    let World {
        root,
        first,
        mut roster,
    } = world();
    join(&mut roster, (&root, &key(9), &first), &key(3), Roles::NODE).unwrap();
    let decrees = roster.revoke(&first, Target::Node(key(3).id()), "out", NOW).unwrap();
    take(&mut roster, decrees);
    for (id, evidence) in roster.evidence() {
        let bytes = evidence.to_bytes();
        assert!(bytes.len() < 1024, "{} bytes", bytes.len());
        let read = Evidence::from_bytes(&bytes).unwrap();
        assert_eq!((read.id(), &read), (id, &evidence));
        assert_eq!(Evidence::parse(&evidence.to_text()).as_ref(), Ok(&evidence));
        assert!(Evidence::parse("no digits").is_err());
        assert!(Evidence::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        assert!(Evidence::from_bytes(&bytes[..bytes.len() - 1]).is_err());
    }
    assert!(Evidence::from_bytes(&vec![1; crate::limits::EVIDENCE_BYTES_MAX + 1]).is_err());
}
