//! Keys that take the place of others: of nodes, of operators, of the root.

use super::*;

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

fn evidence(decrees: impl IntoIterator<Item = Decree>) -> Vec<Evidence> {
    decrees.into_iter().map(Evidence::Decree).collect()
}

fn take(roster: &mut Roster, decrees: impl IntoIterator<Item = Decree>) {
    let refused = roster.take(evidence(decrees)).refused;
    assert!(refused.is_empty(), "{refused:?}");
}

/// The first node and one that it has admitted.
fn two() -> (World, NodeKey) {
    let mut world = world();
    let (node, ticket) = (key(3), key(9));
    let grant = grant(&world, &ticket, 1, NOW.plus(1000));
    let redemption = redemption(&world, &ticket, node.id());
    world
        .roster
        .admit(&world.first, node.id(), grant, redemption, NOW)
        .unwrap();
    (world, node)
}

fn admitted_by(
    world: &mut World,
    admitter: &NodeKey,
    ticket: u8,
    node: &NodeKey,
) -> Result<Certificate, MembershipError> {
    let ticket = key(ticket);
    let grant = grant(world, &ticket, 1, NOW.plus(1000));
    let redemption = redemption(world, &ticket, node.id());
    world.roster.admit(admitter, node.id(), grant, redemption, NOW)
}

#[test]
fn a_rotated_node_is_the_same_member_and_its_old_key_is_refused() {
    let (mut world, node) = two();
    let (heir, second) = (key(4), key(5));
    admitted_by(&mut world, &node, 10, &key(6)).unwrap();
    let before = world.roster.get(&node.id()).unwrap().clone();
    let decree = world.roster.rotate(&node, &heir, NOW.plus(5)).unwrap();
    take(&mut world.roster, [decree]);
    let after = world.roster.get(&heir.id()).unwrap();
    assert_eq!(
        (after.name.as_str(), after.roles, after.until),
        (before.name.as_str(), before.roles, before.until)
    );
    assert!(world.roster.get(&node.id()).is_none());
    let why = &world.roster.former(&node.id()).unwrap().why;
    assert_eq!(
        *why,
        Out::Rotated {
            to: heir.id(),
            at: NOW.plus(5)
        }
    );
    assert_eq!(world.roster.why_not(&node.id()), MembershipError::Rotated);
    assert!(world.roster.get(&key(6).id()).is_some(), "whom it admitted stays");
    assert!(world.roster.certificate(&heir.id()).is_some());
    // The old key decides nothing any more; the new one admits, is renewed, and hands over in its turn.
    assert_eq!(world.roster.rotate(&node, &second, NOW), Err(MembershipError::Rotated));
    admitted_by(&mut world, &heir, 11, &key(7)).unwrap();
    let renewal = world.roster.renew(&world.first, heir.id(), NOW.plus(1000)).unwrap();
    take(&mut world.roster, [renewal]);
    assert!(world.roster.get(&heir.id()).unwrap().until > before.until);
    let decree = world.roster.rotate(&heir, &second, NOW.plus(6)).unwrap();
    take(&mut world.roster, [decree]);
    assert!(world.roster.get(&second.id()).is_some() && world.roster.get(&heir.id()).is_none());
    assert!(world.roster.get(&key(7).id()).is_some());
    for used in [&node, &heir, &world.first.clone()] {
        assert_eq!(world.roster.rotate(&second, used, NOW), Err(MembershipError::KeyInUse));
    }
}

#[test]
fn what_is_decided_about_any_of_its_keys_counts_for_a_rotated_node() {
    for target in [3, 4] {
        let (mut world, node) = two();
        let heir = key(4);
        let decree = world.roster.rotate(&node, &heir, NOW).unwrap();
        let mut elsewhere = world.roster.clone();
        take(&mut world.roster, [decree.clone()]);
        if target == 4 {
            take(&mut elsewhere, [decree.clone()]);
        }
        // In the other half of a split, where nobody knows of the new key, the old one is put out.
        let revoked = elsewhere
            .revoke(&world.first, Target::Node(key(target).id()), "stolen", NOW)
            .unwrap();
        take(&mut world.roster, revoked);
        for out in [&node, &heir] {
            assert!(matches!(
                world.roster.former(&out.id()).unwrap().why,
                Out::Revoked { .. }
            ));
        }
        assert_eq!(world.roster.members().count(), 1);
    }
    let (mut world, node) = two();
    let decree = world.roster.rotate(&node, &key(4), NOW).unwrap();
    take(&mut world.roster, [decree]);
    let farewell = world.roster.leave(&key(4), "home", NOW).unwrap();
    take(&mut world.roster, [farewell]);
    assert!(matches!(
        world.roster.former(&key(4).id()).unwrap().why,
        Out::Left { .. }
    ));
}

#[test]
fn of_two_rotations_in_two_halves_one_wins_everywhere() {
    let (world, node) = two();
    let decrees: Vec<Decree> = (20..28)
        .map(|heir| {
            world
                .roster
                .rotate(&node, &key(heir), NOW.plus(u64::from(heir)))
                .unwrap()
        })
        .collect();
    let mut winners = BTreeMap::new();
    for first in 0..decrees.len() {
        let mut roster = world.roster.clone();
        for index in 0..decrees.len() {
            take(&mut roster, [decrees[(first + index * 3) % decrees.len()].clone()]);
        }
        let heirs: Vec<NodeId> = (20..28)
            .map(|heir| key(heir).id())
            .filter(|heir| roster.get(heir).is_some())
            .collect();
        assert_eq!((heirs.len(), roster.members().count()), (1, 2));
        winners.insert((heirs[0], roster.digest()), ());
    }
    assert_eq!(winners.len(), 1, "whatever came first");
}

#[test]
fn nobody_becomes_an_heir_alone() {
    let (mut world, node) = two();
    let Decree::Succession(succession) = world.roster.rotate(&node, &key(4), NOW).unwrap() else {
        panic!("a succession")
    };
    let bytes = Evidence::Decree(Decree::Succession(succession)).to_bytes();
    // Whatever byte is changed, the signatures do not hold, or it is no evidence at all.
    for place in 2..bytes.len() {
        let mut forged = bytes.clone();
        forged[place] ^= 1;
        if let Ok(forged) = Evidence::from_bytes(&forged) {
            assert_eq!(world.roster.take(vec![forged]).news, vec![]);
        }
    }
    let stranger = key(50);
    assert!(world.roster.rotate(&stranger, &key(51), NOW).is_err());
}

#[test]
fn an_operators_powers_go_with_its_key() {
    let (mut world, node) = two();
    let heir = key(4);
    let grant = world
        .roster
        .appoint(&world.root, node.id(), Powers::INVITE, NOW)
        .unwrap();
    take(&mut world.roster, [grant]);
    let decree = world.roster.rotate(&node, &heir, NOW).unwrap();
    take(&mut world.roster, [decree]);
    assert_eq!(world.roster.powers(&heir.id()), Powers::INVITE);
    assert_eq!(world.roster.powers(&node.id()), Powers::NONE);
    assert!(world.roster.get(&heir.id()).unwrap().roles.contains(Roles::OPERATOR));
    // The root unmakes it under either key.
    let unmade = world
        .roster
        .revoke(&world.root, Target::Operator(node.id()), "", NOW)
        .unwrap();
    take(&mut world.roster, unmade);
    assert_eq!(world.roster.powers(&heir.id()), Powers::NONE);
    assert!(world.roster.get(&heir.id()).is_some());
}

#[test]
fn a_new_root_decides_and_the_old_one_does_no_longer() {
    let (mut world, node) = two();
    let (old, new) = (world.root.clone(), key(60));
    let kicked = key(61);
    let first = world.first.clone();
    admitted_by(&mut world, &first, 12, &kicked).unwrap();
    let out = world
        .roster
        .revoke(&old, Target::Node(kicked.id()), "out", NOW)
        .unwrap();
    take(&mut world.roster, out);
    assert_eq!(
        world.roster.hand_over_root(&node, &new, NOW),
        Err(MembershipError::NotAllowed)
    );
    let before: Vec<NodeId> = world.roster.members().map(|member| member.node).collect();
    let decrees = world.roster.hand_over_root(&old, &new, NOW).unwrap();
    // Elsewhere the other half knows nothing yet; the old root puts somebody out and makes an operator there.
    let mut elsewhere = world.roster.clone();
    take(&mut world.roster, decrees.clone());
    assert_eq!(world.roster.root(), new.id());
    let after: Vec<NodeId> = world.roster.members().map(|member| member.node).collect();
    assert_eq!(before, after, "members follow");
    assert_eq!(
        world.roster.powers(&world.first.id()),
        Powers::ALL,
        "the operators stay"
    );
    assert_eq!(world.roster.powers(&old.id()), Powers::NONE);
    assert_eq!(
        world.roster.appoint(&old, node.id(), Powers::ALL, NOW),
        Err(MembershipError::NotAllowed)
    );
    assert_eq!(
        admitted_by(&mut world, &node, 13, &key(62)).unwrap_err(),
        MembershipError::UnknownOperator
    );
    let appointed = elsewhere.appoint(&old, node.id(), Powers::ALL, NOW).unwrap();
    let put_out = elsewhere.revoke(&old, Target::Node(node.id()), "out", NOW).unwrap();
    take(&mut elsewhere, put_out.into_iter().chain([appointed]));
    let told: Vec<Evidence> = elsewhere.evidence().map(|(_, evidence)| evidence).collect();
    world.roster.take(told);
    take(&mut elsewhere, decrees);
    for roster in [&world.roster, &elsewhere] {
        assert_eq!(roster.powers(&node.id()), Powers::NONE);
        assert!(roster.get(&node.id()).is_none(), "who is out stays out");
        assert!(roster.get(&kicked.id()).is_none());
    }
    assert_eq!(world.roster.digest(), elsewhere.digest());
    assert!(
        world
            .roster
            .appoint(&new, world.first.id(), Powers::INVITE, NOW)
            .is_ok()
    );
}
