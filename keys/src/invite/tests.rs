//! Invites as people handle them: pasted, damaged, too long.

use super::*;

fn terms(residency: Option<&str>) -> Terms {
    Terms {
        roles: Roles::NODE,
        uses_max: 1,
        expires: Timestamp(1_800_000_000_000),
        residency: residency.map(|label| label.parse().unwrap()),
    }
}

fn issued(addresses: &[&str], terms: Terms) -> (NodeKey, Invite) {
    let root = NodeKey::from_seed(&[1; 32]);
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let mesh = ContentId::of(b"mesh");
    let member = NodeKey::from_seed(&[2; 32]).id();
    let invite = Invite::issue(&root, mesh, member, addresses, [9; 32], terms).unwrap();
    (root, invite)
}

const ADDRESSES: [&str; 4] = [
    "192.0.2.1:4001",
    "198.51.100.7:4001",
    "[2001:db8::1]:4001",
    "127.0.0.1:4001",
];

#[test]
fn an_invite_survives_a_paste_and_fits_its_limit() {
    for residency in [None, Some("ru"), Some("sixteen-letters-")] {
        let (root, invite) = issued(&ADDRESSES, terms(residency));
        let text = invite.to_text();
        assert!(text.len() <= INVITE_CHARACTERS_MAX, "{} characters", text.len());
        assert_eq!(invite.addresses.len(), ADDRESSES.len());
        assert_eq!(Invite::parse(&format!("  {}\n", text.to_uppercase())).unwrap(), invite);
        assert_eq!(invite.residency().map(Residency::as_str), residency);
        let node = NodeKey::from_seed(&[3; 32]).id();
        let request = || invite.redeem(node, "second").unwrap();
        let label = || invite.residency().cloned();
        let (grant, redemption) = request().into_parts(root.id(), label()).unwrap();
        let granted = grant.open().unwrap();
        assert_eq!((granted.uses_max, granted.residency), (1, label()));
        assert_eq!(redemption.open().unwrap().node, node);
        assert!(request().into_parts(node, label()).is_err(), "another root");
        // The newcomer cannot choose where it stands.
        let other = if residency.is_some() {
            None
        } else {
            Some("ru".parse().unwrap())
        };
        assert!(request().into_parts(root.id(), other).is_err(), "another label");
        let elsewhere = Some("elsewhere".parse().unwrap());
        assert!(request().into_parts(root.id(), elsewhere).is_err(), "another label");
    }
}

/// Long addresses give way: an invite that could not be read back would be of no use.
#[test]
fn an_invite_with_long_addresses_keeps_as_many_as_fit() {
    let long = [
        "[2001:db8:1111:2222:3333:4444:5555:6661]:40001",
        "[2001:db8:1111:2222:3333:4444:5555:6662]:40001",
        "[2001:db8:1111:2222:3333:4444:5555:6663]:40001",
        "[2001:db8:1111:2222:3333:4444:5555:6664]:40001",
    ];
    let terms = Terms {
        uses_max: u32::MAX,
        expires: Timestamp(u64::MAX),
        ..terms(Some("sixteen-letters-"))
    };
    let (_, invite) = issued(&long, terms);
    let text = invite.to_text();
    assert!(text.len() <= INVITE_CHARACTERS_MAX, "{} characters", text.len());
    assert_eq!(Invite::parse(&text).unwrap(), invite);
    let kept: Vec<_> = invite.addresses.iter().map(SocketAddr::to_string).collect();
    assert_eq!(kept, long[..kept.len()], "the first ones, which are the best");
    assert!(kept.len() >= 2, "{kept:?}");
}

/// One more member to ask is worth more than a third address of the first; two of that stay.
#[test]
fn an_invite_names_other_members_as_far_as_there_is_room() {
    let others: Vec<SocketAddr> = [
        "203.0.113.1:4001",
        "203.0.113.2:4001",
        "203.0.113.3:4001",
        "203.0.113.4:4001",
    ]
    .map(|address| address.parse().unwrap())
    .into();
    for residency in [None, Some("sixteen-letters-")] {
        let (_, invite) = issued(&ADDRESSES, terms(residency));
        let invite = invite.naming_others(others.clone());
        let text = invite.to_text();
        assert!(
            text.starts_with(OTHERS_PREFIX) && text.len() <= INVITE_CHARACTERS_MAX,
            "{text}"
        );
        assert_eq!(Invite::parse(&text).unwrap(), invite);
        assert_eq!(invite.residency().map(Residency::as_str), residency);
        assert!(!invite.others().is_empty() && invite.addresses.len() >= 2);
        assert_eq!(invite.others(), &others[..invite.others().len()], "the best ones");
    }
    let (_, plain) = issued(&ADDRESSES[..1], terms(None));
    assert_eq!(
        plain.clone().naming_others(others.clone()).others(),
        &others[..INVITE_OTHERS_MAX]
    );
    assert_eq!(plain.clone().naming_others([]), plain, "the release before reads it");
    let long: Vec<SocketAddr> = (1..=4)
        .map(|last| {
            format!("[2001:db8:1111:2222:3333:4444:5555:666{last}]:40001")
                .parse()
                .unwrap()
        })
        .collect();
    let texts: Vec<String> = long.iter().map(SocketAddr::to_string).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (_, invite) = issued(&texts, terms(None));
    let before = invite.addresses.len();
    let invite = invite.naming_others(long);
    assert!(
        before > 2 && invite.addresses.len() == 2 && !invite.others().is_empty(),
        "{invite:?}"
    );
}

#[test]
fn a_damaged_text_is_said_to_be_damaged() {
    for residency in [None, Some("ru")] {
        let (_, invite) = issued(&ADDRESSES, terms(residency));
        let text = invite.to_text();
        assert_eq!(Invite::parse("hello"), Err(InviteError::NotAnInvite));
        assert_eq!(Invite::parse(&"a".repeat(1000)), Err(InviteError::NotAnInvite));
        assert_eq!(Invite::parse(&text[..text.len() - 3]), Err(InviteError::Damaged));
        // One form under the other's prefix.
        let other = if residency.is_some() { PREFIX } else { LABELLED_PREFIX };
        let swapped = format!("{other}{}", &text[PREFIX.len()..]);
        assert_eq!(Invite::parse(&swapped), Err(InviteError::Damaged));
        for position in PREFIX.len()..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[position] = if damaged[position] == b'a' { b'b' } else { b'a' };
            assert_eq!(
                Invite::parse(&String::from_utf8(damaged).unwrap()),
                Err(InviteError::Damaged)
            );
        }
    }
}

#[test]
fn debug_text_does_not_hold_the_seed() {
    let (_, invite) = issued(&ADDRESSES, terms(None));
    assert!(!format!("{invite:?}").contains("9, 9, 9"));
}
