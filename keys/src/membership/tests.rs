//! Admission, refusal, and that rosters agree in any order.

mod decrees;
mod merging;
mod rotation;

use std::collections::BTreeMap;

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

struct World {
    root: NodeKey,
    first: NodeKey,
    roster: Roster,
}

fn world() -> World {
    let root = NodeKey::from_seed(&[1; 32]);
    let first = NodeKey::from_seed(&[2; 32]);
    let certificate = Certificate::found(&root, first.id(), "first", [0; 16], NOW).unwrap();
    World {
        root,
        first,
        roster: Roster::new(certificate).unwrap(),
    }
}

fn grant(world: &World, ticket: &NodeKey, uses_max: u32, expires: Timestamp) -> Signed<TicketGrant> {
    let mesh = world.roster.mesh();
    Signed::sign(
        &world.root,
        &TicketGrant {
            mesh,
            ticket: ticket.id(),
            roles: Roles::NODE,
            uses_max,
            expires,
            residency: None,
        },
    )
    .unwrap()
}

fn redemption(world: &World, ticket: &NodeKey, node: NodeId) -> Signed<Redemption> {
    Signed::sign(
        ticket,
        &Redemption {
            mesh: world.roster.mesh(),
            node,
            name: "new".into(),
        },
    )
    .unwrap()
}

#[test]
fn a_ticket_admits_once_and_every_other_node_agrees() {
    let mut world = world();
    let ticket = NodeKey::from_seed(&[9; 32]);
    let (second, third) = (NodeKey::from_seed(&[3; 32]), NodeKey::from_seed(&[4; 32]));
    let grant = grant(&world, &ticket, 1, NOW.plus(1000));
    let redeemed = redemption(&world, &ticket, second.id());
    let mut other = world.roster.clone();
    let certificate = world
        .roster
        .admit(&world.first, second.id(), grant.clone(), redeemed.clone(), NOW)
        .unwrap();
    assert_eq!(other.insert(certificate.clone()), Ok(true));
    assert_eq!(other.insert(certificate.clone()), Ok(false));
    assert_eq!(other.get(&second.id()).unwrap().name, "new");
    // The same node asking again gets the same certificate; another node does not get in.
    assert_eq!(
        world
            .roster
            .admit(&world.first, second.id(), grant.clone(), redeemed, NOW),
        Ok(certificate)
    );
    let redeemed = redemption(&world, &ticket, third.id());
    assert_eq!(
        world.roster.admit(&world.first, third.id(), grant, redeemed, NOW),
        Err(MembershipError::UsedUp)
    );
}

#[test]
fn expired_foreign_stolen_and_self_made_tickets_are_refused() {
    let mut world = world();
    let ticket = NodeKey::from_seed(&[9; 32]);
    let node = NodeKey::from_seed(&[3; 32]).id();
    let thief = NodeKey::from_seed(&[5; 32]).id();
    let redeemed = redemption(&world, &ticket, node);
    let expired = grant(&world, &ticket, 1, NOW);
    let late = NOW.plus(1);
    let first = world.first.clone();
    let mut admit = |connected, grant, redemption: &Signed<Redemption>, now| {
        world
            .roster
            .admit(&first, connected, grant, redemption.clone(), now)
            .unwrap_err()
    };
    assert_eq!(admit(node, expired, &redeemed, late), MembershipError::Expired);
    let mesh = world.roster.mesh();
    let usual = TicketGrant {
        mesh,
        ticket: ticket.id(),
        roles: Roles::NODE,
        uses_max: 1,
        expires: NOW.plus(1),
        residency: None,
    };
    let good = Signed::sign(&world.root, &usual).unwrap();
    let first = world.first.clone();
    let mut admit = |connected, grant, redemption: &Signed<Redemption>, now| {
        world
            .roster
            .admit(&first, connected, grant, redemption.clone(), now)
            .unwrap_err()
    };
    assert_eq!(admit(thief, good, &redeemed, NOW), MembershipError::BrokenChain);
    let self_made = Signed::sign(&ticket, &usual).unwrap();
    assert_eq!(admit(node, self_made, &redeemed, NOW), MembershipError::UnknownOperator);
    let foreign = Signed::sign(
        &world.root,
        &TicketGrant {
            mesh: ContentId([7; 32]),
            ..usual
        },
    )
    .unwrap();
    assert_eq!(admit(node, foreign, &redeemed, NOW), MembershipError::OtherMesh);
}

#[test]
fn rosters_merge_to_the_same_members_in_any_order() {
    let world = world();
    let ticket = NodeKey::from_seed(&[9; 32]);
    let grant = grant(&world, &ticket, 2, NOW.plus(1000));
    // Both halves of a split admit two nodes each with a ticket for two.
    let mut certificates = Vec::new();
    let mut halves = [world.roster.clone(), world.roster.clone()];
    for (index, seed) in [11u8, 12, 13, 14].into_iter().enumerate() {
        let node = NodeKey::from_seed(&[seed; 32]).id();
        let redeemed = redemption(&world, &ticket, node);
        certificates.push(
            halves[index / 2]
                .admit(&world.first, node, grant.clone(), redeemed, NOW)
                .unwrap(),
        );
    }
    let merged = |order: &[usize]| {
        let mut roster = world.roster.clone();
        for &index in order {
            let _ = roster.insert(certificates[index].clone());
        }
        roster.members().map(|member| member.node).collect::<Vec<_>>()
    };
    let reference = merged(&[0, 1, 2, 3]);
    assert_eq!(reference.len(), 3, "the first node and two winners");
    for order in [[3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
        assert_eq!(merged(&order), reference);
    }
}

#[test]
fn an_unknown_admitter_waits_until_it_is_known() {
    let mut world = world();
    let ticket = NodeKey::from_seed(&[9; 32]);
    let grant = grant(&world, &ticket, 2, NOW.plus(1000));
    let (second, third) = (NodeKey::from_seed(&[3; 32]), NodeKey::from_seed(&[4; 32]));
    let mut elsewhere = world.roster.clone();
    let redeemed = redemption(&world, &ticket, second.id());
    let of_second = world
        .roster
        .admit(&world.first, second.id(), grant.clone(), redeemed, NOW)
        .unwrap();
    let redeemed = redemption(&world, &ticket, third.id());
    let of_third = world.roster.admit(&second, third.id(), grant, redeemed, NOW).unwrap();
    assert_eq!(
        elsewhere.insert(of_third.clone()),
        Err(MembershipError::UnknownAdmitter)
    );
    assert!(elsewhere.insert_all(vec![of_third, of_second]).is_empty());
    assert_eq!(elsewhere.members().count(), 3);
}

/// The label is the operator's word: it comes out of the grant or the founding, and both versions of them are read.
#[test]
fn where_a_member_stands_is_what_the_root_signed() {
    let root = NodeKey::from_seed(&[1; 32]);
    let first = NodeKey::from_seed(&[2; 32]);
    let residency: Residency = "ru".parse().unwrap();
    let found = |residency| Certificate::found_in(residency, &root, first.id(), "first", [0; 16], NOW).unwrap();
    let of = |certificate: &Certificate| certificate.verify().unwrap().1.residency;
    assert_eq!(of(&found(None)), None);
    assert_eq!(of(&found(Some(residency.clone()))), Some(residency.clone()));
    let mut roster = Roster::new(found(Some(residency.clone()))).unwrap();
    for (seed, label) in [(9, None), (10, Some(residency))] {
        let (ticket, node) = (NodeKey::from_seed(&[seed; 32]), NodeKey::from_seed(&[seed + 10; 32]));
        let grant = TicketGrant {
            mesh: roster.mesh(),
            ticket: ticket.id(),
            roles: Roles::WORKER,
            uses_max: 1,
            expires: NOW.plus(1),
            residency: label.clone(),
        };
        let redemption = Redemption {
            mesh: roster.mesh(),
            node: node.id(),
            name: "new".into(),
        };
        let signed = Signed::sign(&ticket, &redemption).unwrap();
        let certificate = roster
            .admit(&first, node.id(), grant.sign(&root).unwrap(), signed, NOW)
            .unwrap();
        assert_eq!(of(&certificate), label);
        let member = roster.get(&node.id()).unwrap();
        assert_eq!((member.residency.clone(), member.roles), (label, Roles::WORKER));
    }
}

/// A signature of version 1 does not cover a label, so none can be added to it, nor taken from a signature of version 2.
#[test]
fn a_label_cannot_be_added_or_taken_away() {
    let root = NodeKey::from_seed(&[1; 32]);
    let grant = |residency| TicketGrant {
        mesh: ContentId([7; 32]),
        ticket: root.id(),
        roles: Roles::WORKER,
        uses_max: 1,
        expires: NOW,
        residency,
    };
    let (plain, labelled) = (grant(None), grant(Some("ru".parse().unwrap())));
    let signature = |grant: &TicketGrant| grant.sign(&root).unwrap().signature_bytes();
    let rebuilt = |label, signature: [u8; 64]| plain.unlabelled().signed_by(root.id(), label, &signature);
    assert_eq!(rebuilt(None, signature(&plain)).unwrap().open().unwrap(), plain);
    let label = labelled.residency.clone();
    assert_eq!(
        rebuilt(label.clone(), signature(&labelled)).unwrap().open().unwrap(),
        labelled
    );
    assert_eq!(rebuilt(label, signature(&plain)), Err(SignedError::BadSignature));
    assert_eq!(rebuilt(None, signature(&labelled)), Err(SignedError::BadSignature));
}
