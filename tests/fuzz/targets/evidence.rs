//! Bytes as a certificate or a decree, as a neighbour tells it: one form only, bounded, and a roster takes it or says why not.

use keys::{
    NodeKey, Timestamp,
    invite::{Invite, Terms},
    limits::{EVIDENCE_BYTES_MAX, SUCCESSION_STEPS_MAX},
    membership::{Certificate, Evidence, Powers, Roles, Roster, Target},
};

use super::member;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn root() -> NodeKey {
    NodeKey::from_seed(&[1; 32])
}

fn founded() -> Roster {
    let certificate = Certificate::found(&root(), member().id(), "first", [0; 16], NOW).expect("a good name");
    Roster::new(certificate).expect("a good certificate")
}

pub fn run(bytes: &[u8]) {
    let Ok(evidence) = Evidence::from_bytes(bytes) else {
        return;
    };
    assert!(bytes.len() <= EVIDENCE_BYTES_MAX);
    assert_eq!(evidence.to_bytes(), bytes);
    let mut roster = founded();
    let before = roster.digest();
    let taken = roster.take(vec![evidence]);
    assert!(taken.news.len() + taken.refused.len() <= 1);
    assert_eq!(taken.news.is_empty(), roster.digest() == before);
    roster.advance(Timestamp(u64::MAX));
    // A node, and each key that it ever had.
    assert!(roster.members().count() + roster.formers().count() <= 2 + SUCCESSION_STEPS_MAX);
}

pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut roster = founded();
    let terms = Terms::new(Roles::NODE, 1, NOW.plus(1));
    let node = NodeKey::from_seed(&[3; 32]).id();
    let invite =
        Invite::issue(&root(), roster.mesh(), member().id(), vec![], [9; 32], terms).expect("it can be signed");
    let request = invite.redeem(node, "second").expect("it can be signed");
    let (grant, redemption) = request.into_parts(root().id(), None).expect("the root has signed it");
    let joined = roster
        .admit(&member(), node, grant, redemption, NOW)
        .expect("a good invite");
    let mut seeds = vec![("joined".to_owned(), Evidence::Certificate(joined).to_bytes())];
    for (name, target) in [
        ("node", Target::Node(node)),
        ("ticket", Target::Ticket(invite.ticket())),
        ("operator", Target::Operator(member().id())),
    ] {
        let decrees = roster.revoke(&root(), target, "stolen", NOW).expect("the root may");
        seeds.push((name.to_owned(), Evidence::Decree(decrees[0].clone()).to_bytes()));
    }
    let grant = roster.appoint(&root(), node, Powers::ALL, NOW).expect("the root may");
    seeds.push(("grant".to_owned(), Evidence::Decree(grant).to_bytes()));
    let renewal = roster.renew(&member(), node, NOW).expect("an operator may");
    seeds.push(("renewal".to_owned(), Evidence::Decree(renewal).to_bytes()));
    let succession = founded().rotate(&member(), &NodeKey::from_seed(&[4; 32]), NOW);
    let succession = Evidence::Decree(succession.expect("it is a member"));
    seeds.push(("succession".to_owned(), succession.to_bytes()));
    let founding = founded().evidence().map(|(_, evidence)| evidence.to_bytes()).next();
    seeds.extend(founding.map(|bytes| ("founding".to_owned(), bytes)));
    seeds
}
