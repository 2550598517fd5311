//! Golden bytes of what decides who belongs to a mesh: evidence, and invites of operators.

use keys::{
    ContentId, Timestamp,
    invite::{Invite, Terms},
    membership::{Certificate, Decree, Evidence, Powers, Roles, Roster, Target},
};

use super::{golden, kept, key, residency};

fn roster() -> Roster {
    let certificate = Certificate::found(&key(1), key(2).id(), "first", [3; 16], Timestamp(4)).unwrap();
    Roster::new(certificate).unwrap()
}

fn decree(name: &str, decree: &Decree) {
    let evidence = Evidence::Decree(decree.clone());
    golden(name, &evidence.to_bytes());
    let read = Evidence::from_bytes(&kept(name)).unwrap();
    assert_eq!(read, evidence);
    assert!(roster().take(vec![read]).refused.is_empty(), "the root may decide it");
}

#[test]
fn certificates_and_decrees_as_evidence() {
    let roster = roster();
    let certificate = roster.certificate(&key(2).id()).unwrap().clone();
    let evidence = Evidence::Certificate(certificate);
    golden("evidence-certificate-1.bin", &evidence.to_bytes());
    assert_eq!(Evidence::from_bytes(&kept("evidence-certificate-1.bin")), Ok(evidence));
    for (name, target) in [
        ("decree-revoked-node-1.bin", Target::Node(key(2).id())),
        ("decree-revoked-ticket-1.bin", Target::Ticket(key(9).id())),
        ("decree-revoked-operator-1.bin", Target::Operator(key(2).id())),
    ] {
        let decrees = roster.revoke(&key(1), target, "stolen", Timestamp(5)).unwrap();
        decree(name, &decrees[0]);
    }
    let grant = roster.appoint(&key(1), key(3).id(), Powers::ALL, Timestamp(6)).unwrap();
    decree("decree-operator-grant-1.bin", &grant);
    let succession = roster.rotate(&key(2), &key(4), Timestamp(8)).unwrap();
    decree("decree-succession-1.bin", &succession);
    let renewal = roster.renew(&key(1), key(2).id(), Timestamp(7)).unwrap();
    decree("decree-renewal-1.bin", &renewal);
}

#[test]
fn an_invite_that_an_operator_has_signed() {
    let address = "192.0.2.1:4001".parse().unwrap();
    let terms = Terms {
        residency: Some(residency()),
        ..Terms::new(Roles::WORKER, 1, Timestamp(1_800_000_000_000))
    };
    let invite = Invite::issue(&key(2), ContentId([5; 32]), key(2).id(), vec![address], [6; 32], terms).unwrap();
    golden("invite-3.txt", invite.to_text().as_bytes());
    let read = Invite::parse(std::str::from_utf8(&kept("invite-3.txt")).unwrap()).unwrap();
    assert_eq!(
        (read.operator(), read.residency()),
        (Some(key(2).id()), Some(&residency()))
    );
    // With the address of another member besides.
    let others = ["198.51.100.7:4001".parse().unwrap()];
    golden("invite-4.txt", invite.naming_others(others).to_text().as_bytes());
    let read = Invite::parse(std::str::from_utf8(&kept("invite-4.txt")).unwrap()).unwrap();
    assert_eq!((read.operator(), read.others()), (Some(key(2).id()), &others[..]));
}
