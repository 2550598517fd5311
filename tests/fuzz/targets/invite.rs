//! Text as an invite, as a person pastes it: what is read is written again as it came, and leads to a request that can be judged.

use keys::{
    ContentId, NodeKey, Timestamp,
    invite::{Invite, Terms},
    limits::INVITE_CHARACTERS_MAX,
    membership::Roles,
};

use super::member;

pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(invite) = Invite::parse(text) else {
        return;
    };
    let again = invite.to_text();
    assert!(again.len() <= INVITE_CHARACTERS_MAX);
    assert_eq!(Invite::parse(&again), Ok(invite.clone()));
    let request = invite.redeem(member().id(), "new").expect("it can be signed");
    // Whether the issuer has signed it is for the member that is asked to see.
    let issuer = invite.operator().unwrap_or(invite.member);
    drop(request.into_parts(issuer, invite.residency().cloned()));
}

pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let root = NodeKey::from_seed(&[1; 32]);
    let addresses = ["192.0.2.1:4001", "[2001:db8::1]:4001"].map(|address| address.parse().expect("an address"));
    let terms = |residency: Option<&str>| Terms {
        residency: residency.map(|label| label.parse().expect("a label")),
        ..Terms::new(Roles::NODE, 1, Timestamp(1_800_000_000_000))
    };
    let issue = |key: &NodeKey, residency| {
        let mesh = ContentId([5; 32]);
        let invite = Invite::issue(key, mesh, member().id(), addresses.to_vec(), [9; 32], terms(residency));
        invite.expect("it can be signed")
    };
    let text = |invite: Invite| invite.to_text().into_bytes();
    vec![
        ("root".to_owned(), text(issue(&root, None))),
        ("labelled".to_owned(), text(issue(&root, Some("ru")))),
        ("operator".to_owned(), text(issue(&member(), None))),
        ("operator-labelled".to_owned(), text(issue(&member(), Some("ru")))),
        (
            "others".to_owned(),
            text(issue(&root, Some("ru")).naming_others(addresses)),
        ),
    ]
}
