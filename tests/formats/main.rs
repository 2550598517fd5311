//! Golden bytes of everything that lasts: what an older node wrote must be readable for ever. A test that fails here means that a
//! format changed: then its version byte must change, too, and the old one must still be read.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod document;
mod hint;
mod liveness;
mod protocol;
mod records;
mod trust;

use std::{collections::BTreeMap, sync::Arc};

use crdt::{
    envelope::Envelope,
    erasure::{Erase, EraseTarget, Receipt, Statement, StatementContent},
    fetch::{Ask, FetchFrame},
    ingress::Right,
    journal::Journal,
    rebase::Base,
    records::{
        RecordKind,
        settings::{Setting, Settings, SettingsEdit},
    },
    replica::{Event, MemoryKeys, MemoryShelf, Recoveries, Replica, ReplicaSettings},
};
use keys::{
    ContentId, NodeKey, Timestamp,
    invite::{Invite, Terms},
    membership::{Certificate, Genesis, Residency, Roles, Roster},
    token::{self, PersonRole},
};

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

/// Compares with the kept bytes; `STARLING_UPDATE=1` writes them anew.
fn golden(name: &str, bytes: &[u8]) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("formats")
        .join(name);
    if std::env::var_os("STARLING_UPDATE").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    let kept = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        kept == bytes,
        "the format of {name} changed: give it a new version and keep reading the old one"
    );
}

#[test]
fn a_signed_object_and_a_certificate() {
    let certificate = Certificate::found(&key(1), key(2).id(), "first", [3; 16], Timestamp(4)).unwrap();
    let signed = certificate.genesis.to_bytes();
    golden("signed-genesis-1.bin", &signed);
    let read: Genesis = keys::Signed::from_bytes(&signed).unwrap().open().unwrap();
    assert_eq!(read.root, key(1).id());
    golden("certificate-1.bin", &postcard::to_stdvec(&certificate).unwrap());
    assert_eq!(certificate.verify().unwrap().1.residency, None);
}

fn residency() -> Residency {
    "ru".parse().unwrap()
}

fn verified(name: &str) -> (Option<Residency>, Roles) {
    let certificate: Certificate = postcard::from_bytes(&kept(name)).unwrap();
    let (_, member) = certificate.verify().unwrap();
    (member.residency, member.roles)
}

/// What says where a node stands is of version 2; version 1, which cannot say it, is still written for the rest, and read.
#[test]
fn certificates_that_say_where_a_node_stands() {
    let (label, founder) = (residency(), Roles::NODE.with(Roles::OPERATOR));
    let certificate = Certificate::found_in(
        Some(label.clone()),
        &key(1),
        key(2).id(),
        "first",
        [3; 16],
        Timestamp(4),
    )
    .unwrap();
    golden("certificate-2.bin", &postcard::to_stdvec(&certificate).unwrap());
    assert_eq!(verified("certificate-1.bin"), (None, founder));
    assert_eq!(verified("certificate-2.bin"), (Some(label.clone()), founder));
    golden("certificate-ticket-1.bin", &by_ticket(None));
    golden("certificate-ticket-2.bin", &by_ticket(Some(label.clone())));
    assert_eq!(verified("certificate-ticket-1.bin"), (None, Roles::WORKER));
    assert_eq!(verified("certificate-ticket-2.bin"), (Some(label), Roles::WORKER));
}

/// The certificate of a node that joined with an invite.
fn by_ticket(residency: Option<Residency>) -> Vec<u8> {
    let founded = Certificate::found(&key(1), key(2).id(), "first", [3; 16], Timestamp(4)).unwrap();
    let mut roster = Roster::new(founded).unwrap();
    let terms = Terms {
        residency: residency.clone(),
        ..Terms::new(Roles::WORKER, 1, Timestamp(6))
    };
    let invite = Invite::issue(&key(1), roster.mesh(), key(2).id(), vec![], [6; 32], terms).unwrap();
    let node = key(7).id();
    let request = invite.redeem(node, "second").unwrap();
    let (grant, redemption) = request.into_parts(key(1).id(), residency).unwrap();
    let certificate = roster.admit(&key(2), node, grant, redemption, Timestamp(5)).unwrap();
    postcard::to_stdvec(&certificate).unwrap()
}

#[test]
fn an_invite() {
    let address = "192.0.2.1:4001".parse().unwrap();
    let terms = Terms::new(Roles::NODE, 1, Timestamp(1_800_000_000_000));
    let issue = |terms| Invite::issue(&key(1), ContentId([5; 32]), key(2).id(), vec![address], [6; 32], terms).unwrap();
    golden("invite-1.txt", issue(terms.clone()).to_text().as_bytes());
    let labelled = Terms {
        residency: Some(residency()),
        ..terms
    };
    golden("invite-2.txt", issue(labelled).to_text().as_bytes());
    let read = |name| Invite::parse(std::str::from_utf8(&kept(name)).unwrap()).unwrap();
    assert_eq!(read("invite-1.txt").residency(), None);
    assert_eq!(read("invite-2.txt").residency(), Some(&residency()));
}

#[test]
fn tokens_and_links_of_people() {
    let mesh = ContentId([5; 32]);
    let access = token::AccessToken {
        mesh,
        person: ContentId([6; 32]),
        device: [7; 16],
        issued: Timestamp(8),
        expires: Timestamp(9),
        second_factor: Some(Timestamp(10)),
    };
    golden("access-token-1.txt", token::issue(&key(2), &access).unwrap().as_bytes());
    let refresh = token::RefreshToken {
        mesh,
        person: ContentId([6; 32]),
        device: [7; 16],
        generation: 8,
        expires: Timestamp(9),
        second_factor: None,
    };
    golden(
        "refresh-token-1.txt",
        token::issue(&key(2), &refresh).unwrap().as_bytes(),
    );
    let link = token::AccountLink {
        mesh,
        account: ContentId([6; 32]),
        purpose: token::AccountLinkPurpose::ResetPassword,
        generation: 7,
        expires: Timestamp(8),
    };
    golden("account-link-1.txt", token::issue(&key(2), &link).unwrap().as_bytes());
    let link = token::OneTimeLink {
        mesh,
        role: PersonRole::Administrator,
        first: true,
        nonce: [9; 16],
        expires: Timestamp(10),
    };
    golden("one-time-link-1.txt", token::issue(&key(2), &link).unwrap().as_bytes());
}

#[test]
fn an_envelope_of_each_version() {
    let kept = kept("envelope-1.bin");
    let first = Envelope::open(&kept).unwrap();
    assert_eq!(
        (first.change.as_slice(), first.document),
        (&[1, 2, 3][..], ContentId([5; 32]))
    );
    assert_eq!(first.to_bytes(), kept, "it is passed on as it came");
    golden("envelope-2.bin", &envelope().to_bytes());
    let second = Envelope::open(&envelope().to_bytes()).unwrap();
    assert_eq!(second.payloads[0].1.as_deref(), Some(&b"sealed"[..]));
}

/// Bytes that an older node wrote.
fn kept(name: &str) -> Vec<u8> {
    std::fs::read(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("formats")
            .join(name),
    )
    .unwrap()
}

fn envelope() -> Envelope {
    let (document, payloads) = (Some(ContentId([5; 32])), vec![b"sealed".to_vec()]);
    Envelope::seal(&key(2), RecordKind::Session, document, None, vec![1, 2, 3], payloads).unwrap()
}

#[test]
fn an_erasure_and_a_receipt() {
    let target = EraseTarget::Account(ContentId([6; 32]));
    let erase = Erase {
        target,
        at: Timestamp(7),
    };
    let statement = Statement::sign(&key(2), StatementContent::Erase(erase)).unwrap();
    golden("erase-1.bin", &statement.bytes);
    let receipt = Receipt {
        erase: statement.id,
        subject: target.subject(),
        at: Timestamp(8),
        envelopes: 9,
        keys: 1,
    };
    let receipt = Statement::sign(&key(2), StatementContent::Receipt(receipt)).unwrap();
    golden("erase-receipt-1.bin", &receipt.bytes);
}

#[test]
fn a_rebase_and_its_base() {
    let settings = ReplicaSettings {
        key: key(2),
        right: Arc::new(|_| Right::Member),
        boot: [3; 16],
        recoveries: Recoveries::default(),
    };
    let mut replica = Replica::new(settings, MemoryShelf::default(), Box::new(MemoryKeys::default()));
    let now = Timestamp(1_000_000);
    let settings = Settings {
        values: BTreeMap::from([("mail.host".to_owned(), Setting::Text("mail.example.org".into()))]),
    };
    let document = replica.create(&settings, now).unwrap();
    let values = [
        Setting::Flag(true),
        Setting::Number(587),
        Setting::Decimal(0.9),
        Setting::Flag(false),
    ];
    for (number, value) in values.into_iter().enumerate() {
        let edit = SettingsEdit::Set(format!("setting.{}", number % 3), value);
        replica.edit(document, &edit, now).unwrap();
    }
    let edit = SettingsEdit::Reset("setting.1".to_owned());
    replica.edit(document, &edit, now).unwrap();
    replica.commit(now).unwrap();
    replica.take_events();
    let id = replica.rebase(document).unwrap();
    replica.commit(now).unwrap();
    let published = replica.take_events().into_iter().find_map(|event| match event {
        Event::Publish(bytes) => Some(bytes),
        _ => None,
    });
    golden("rebase-1.bin", &published.unwrap());
    let base = replica.below().records().find(|bytes| Base::is_one(bytes)).unwrap();
    golden("base-1.bin", base);
    let read = Base::open(&kept("base-1.bin")).unwrap();
    assert_eq!((read.id(), read.document(), read.covered_changes()), (id, document, 6));
    assert!(read.can_be_shown());
}

#[test]
fn a_fetch_frame() {
    let ask = FetchFrame::Ask {
        what: Ask::Documents(vec![(ContentId([5; 32]), [6; 8])]),
        shards: [7, 8].into_iter().collect(),
    };
    golden("fetch-1.bin", &ask.encode());
    assert_eq!(FetchFrame::decode(&kept("fetch-1.bin")), Ok(ask));
}

#[test]
fn a_calibration_profile() {
    use inference::engine::calibration::{Profile, decode, encode};
    let profile = Profile {
        threads: 4,
        is_unified: true,
        prefill: 87.5,
        decode: 28.25,
        decode_eight: 39.0,
    };
    golden("calibration-profile-1.bin", &encode(&profile));
    assert_eq!(decode(&kept("calibration-profile-1.bin")), Some(profile));
}

#[test]
fn changes_of_breakers() {
    use inference::{
        desk::breakers::{decode, encode},
        swarm::router::{
            BreakerEvent, Operation,
            breaker::{BreakerState, Transition},
        },
    };
    let event = |operation, from, to, pause: Option<u64>| BreakerEvent {
        node: key(3).id(),
        model: "built-in".into(),
        operation,
        transition: Transition {
            from,
            to,
            pause: pause.map(std::time::Duration::from_millis),
        },
    };
    let (opened, tried) = (
        event(
            Operation::Generate,
            BreakerState::Closed,
            BreakerState::Open,
            Some(5000),
        ),
        event(Operation::Continue, BreakerState::Open, BreakerState::HalfOpen, None),
    );
    let events = vec![
        (Timestamp(1_800_000_000_000), opened),
        (Timestamp(1_800_000_005_000), tried),
    ];
    golden("breakers-1.bin", &encode(&events));
    assert_eq!(decode(&kept("breakers-1.bin")), Some(events));
}

#[test]
fn a_journal_segment() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path(), None, |_, _| {}).unwrap();
    journal.append(&[&kept("envelope-1.bin")]).unwrap();
    golden(
        "journal-segment-1.bin",
        &std::fs::read(directory.path().join("00000001.log")).unwrap(),
    );
}

#[test]
fn a_key_of_a_program() {
    let key = keys::ApiKey::from_parts(ContentId([1; 32]), [2; 16], [3; 32]);
    golden("api-key-1.txt", key.to_text().as_bytes());
    golden("api-key-hash-1.bin", &key.hash());
    assert_eq!(
        keys::ApiKey::parse(std::str::from_utf8(&kept("api-key-1.txt")).unwrap()),
        Some(key)
    );
}
