//! Which records are taken in.

use keys::{
    identity::random_bytes,
    invite::{Invite, Terms},
    membership::{Certificate, Roles},
};

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// A mesh of two: the first is who takes in, the second who speaks.
fn two() -> (NodeId, NodeKey, Roster) {
    let (root, first, second) = (NodeKey::generate(), NodeKey::generate(), NodeKey::generate());
    let certificate = Certificate::found(&root, first.id(), "first", random_bytes(), NOW).unwrap();
    let mut roster = Roster::new(certificate).unwrap();
    let terms = Terms::new(Roles::NODE, 1, NOW.plus(1000));
    let address = "192.0.2.1:4001".parse().unwrap();
    let invite = Invite::issue(&root, roster.mesh(), first.id(), vec![address], random_bytes(), terms).unwrap();
    let request = invite.redeem(second.id(), "second").unwrap();
    let (grant, redemption) = request.into_parts(root.id(), None).unwrap();
    roster.admit(&first, second.id(), grant, redemption, NOW).unwrap();
    (first.id(), second, roster)
}

fn hint(roster: &Roster, number: u64, made: Timestamp) -> AddressHint {
    AddressHint {
        mesh: roster.mesh(),
        addresses: vec!["203.0.113.7:4001".parse().unwrap()],
        websockets: vec![],
        relays: vec![NodeId([9; 32])],
        carries: false,
        number,
        made,
    }
}

#[test]
fn the_highest_number_counts_and_older_ones_are_refused() {
    let (own, speaker, roster) = two();
    let mut book = HintBook::default();
    let sign = |number, made| hint(&roster, number, made).sign(&speaker).unwrap();
    let newer = sign(2, NOW);
    assert_eq!(book.take(&newer, (own, &roster), NOW), Ok(speaker.id()));
    for (number, made) in [(1, NOW.plus(60_000)), (2, NOW.plus(60_000))] {
        let older = sign(number, made);
        assert_eq!(book.take(&older, (own, &roster), NOW), Err(HintRefused::Old));
    }
    assert_eq!(book.take(&sign(3, NOW), (own, &roster), NOW), Err(HintRefused::TooSoon));
    let later = NOW.plus(HINT_SOONEST_MS);
    assert_eq!(book.take(&sign(3, later), (own, &roster), later), Ok(speaker.id()));
    assert_eq!(book.get(&speaker.id()).map(|hint| hint.number), Some(3));
    assert_eq!(book.record(&speaker.id()).map(|(number, _)| number), Some(3));
}

#[test]
fn strangers_forgers_other_meshes_and_overfull_records_are_refused() {
    let (own, speaker, roster) = two();
    let mut book = HintBook::default();
    let good = hint(&roster, 1, NOW);
    let stranger = good.sign(&NodeKey::generate()).unwrap();
    assert_eq!(book.take(&stranger, (own, &roster), NOW), Err(HintRefused::NoMember));
    let mut forged = good.sign(&speaker).unwrap();
    let place = forged.len() - 70;
    forged[place] ^= 1;
    assert!(matches!(
        book.take(&forged, (own, &roster), NOW),
        Err(HintRefused::Signed(_))
    ));
    let elsewhere = AddressHint {
        mesh: ContentId::of(b"another"),
        ..good.clone()
    };
    let elsewhere = elsewhere.sign(&speaker).unwrap();
    assert_eq!(book.take(&elsewhere, (own, &roster), NOW), Err(HintRefused::OtherMesh));
    let overfull = AddressHint {
        relays: vec![NodeId([1; 32]); RELAYS_HELD + 1],
        ..good.clone()
    };
    let overfull = overfull.sign(&speaker).unwrap();
    assert_eq!(book.take(&overfull, (own, &roster), NOW), Err(HintRefused::Overfull));
    let large = AddressHint {
        addresses: vec!["[2001:db8::1]:4001".parse().unwrap(); 100],
        ..good.clone()
    };
    let large = large.sign(&speaker).unwrap();
    assert!(matches!(
        book.take(&large, (own, &roster), NOW),
        Err(HintRefused::Signed(SignedError::TooLarge(_)))
    ));
    let echo = good.sign(&speaker).unwrap();
    assert_eq!(book.take(&echo, (speaker.id(), &roster), NOW), Err(HintRefused::Own(1)));
    // The control: the same record as it should be is taken.
    assert_eq!(book.take(&echo, (own, &roster), NOW), Ok(speaker.id()));
}

#[test]
fn a_record_ends_by_itself_and_with_its_authors_membership() {
    let (own, speaker, roster) = two();
    let mut book = HintBook::default();
    let end = NOW.plus(HINT_LIVES_MS + HINT_CLOCK_SKEW_MS);
    let bytes = hint(&roster, 1, NOW).sign(&speaker).unwrap();
    assert_eq!(book.take(&bytes, (own, &roster), end), Err(HintRefused::Ended));
    let early = Timestamp(NOW.0 - HINT_CLOCK_SKEW_MS - 1);
    assert_eq!(book.take(&bytes, (own, &roster), early), Err(HintRefused::Ended));
    book.take(&bytes, (own, &roster), NOW).unwrap();
    assert_eq!(book.expire(&roster, Timestamp(end.0 - 1)), vec![]);
    assert_eq!(book.expire(&roster, end), vec![speaker.id()]);
    book.take(&bytes, (own, &roster), NOW).unwrap();
    let alone = Certificate::found(&NodeKey::generate(), own, "alone", random_bytes(), NOW).unwrap();
    let alone = Roster::new(alone).unwrap();
    assert_eq!(book.expire(&alone, NOW), vec![speaker.id()]);
}
