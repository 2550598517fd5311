//! Row 6: what it costs two nodes to find out which of very many documents differ.

use std::time::{Duration, Instant};

use crdt::{
    disk::DiskShelf,
    keyring::Keyring,
    records::{
        account::{Account, Role},
        session::{Session, SessionEdit},
    },
    replica::{Recoveries, Replica, ReplicaSettings},
};
use keys::{ContentId, Timestamp};

use crate::{
    Bench,
    figure::{Figure, Report},
    fixture::{Cost, Home, agree, message, talk},
};

/// Documents of one person.
const PER_PERSON: usize = 1000;
/// Documents that begin with one commit.
const GROUP: usize = crdt::limits::GROUP_COMMIT_MAX;

/// Measures the row.
pub fn run(bench: &Bench, report: &mut Report) {
    let directory = bench.scratch.fresh();
    let (one, other) = (directory.path().join("one"), directory.path().join("other"));
    let home = Home(one);
    let chats = documents(&home, bench.scale.documents);
    let costs = bench.block_on(measure(&home, &home.copy(&other), &chats));
    let [idle, one, hundred] = costs;
    let all = chats.len();
    report.say(Figure::lower("idle reconciliation tick", idle.0.bytes() as f64, "B").goal(64.0));
    for (count, (cost, envelopes), goal) in [(1, one, 3000.0), (100, hundred, 75_000.0)] {
        let name = format!("{count} of {all} documents differ");
        let without = cost.bytes() - envelopes;
        report.say(
            Figure::lower(
                format!("{name}: bytes beside the changes themselves"),
                without as f64,
                "B",
            )
            .goal(goal)
            .with("bytes_of_changes", envelopes)
            .with("frames", cost.frames.clone()),
        );
        report.say(Figure::lower(format!("{name}: round trips"), cost.round_trips() as f64, "round trips").goal(4.0));
    }
}

/// What it costs when nothing, one and a hundred documents differ, and the bytes of the changes that moved.
async fn measure(one: &Home, other: &Home, chats: &[ContentId]) -> [(Cost, usize); 3] {
    let ((a, mut outputs, _), (b, _b_outputs, _)) = (one.open(1), other.open(2));
    assert!(agree(&a, &b).await, "the copy is one");
    let mut costs = Vec::new();
    for count in [0, 1, 100] {
        let mut bytes = 0;
        for number in 0..count {
            let chat = chats[(number * 997 + count) % chats.len()];
            let message = message(chat, (1000 * count + number) as u64, None);
            a.edit(chat, SessionEdit::PutMessage(message))
                .await
                .expect("a message is written");
            bytes += outputs.outgoing.recv().await.expect("a message is pushed").len();
        }
        costs.push((talk(&a, &b, Duration::ZERO).await, bytes));
        assert!(agree(&a, &b).await, "{count} changes arrived");
    }
    a.stop().await;
    b.stop().await;
    costs
        .try_into()
        .unwrap_or_else(|_| unreachable!("three were asked for"))
}

/// Begins this many chats on an empty disk, as the engine would, without a thread of its own; returns their ids.
pub fn documents(home: &Home, count: usize) -> Vec<ContentId> {
    let settings = home.settings(1);
    let (shelf, _) = DiskShelf::open(&settings.directory).expect("an empty shelf");
    let keyring = Keyring::open(&settings.keys).expect("an empty keyring");
    let replica = ReplicaSettings {
        key: settings.key,
        right: settings.right,
        boot: keys::identity::random_bytes(),
        recoveries: Recoveries::default(),
    };
    let mut replica = Replica::new(replica, shelf, Box::new(keyring));
    let (mut chats, mut person, mut said) = (Vec::with_capacity(count), ContentId([0; 32]), Instant::now());
    for number in 0..count {
        if number % PER_PERSON == 0 {
            let account = Account::new("Rita", Role::User, Timestamp(number as u64), [0; 16]);
            person = replica.create(&account, Timestamp(1)).expect("an account is made");
        }
        let session = Session::new(person, ContentId::of(&number.to_le_bytes()), Timestamp(1));
        chats.push(replica.create(&session, Timestamp(1)).expect("a chat is made"));
        if number % GROUP == GROUP - 1 || number + 1 == count {
            replica.commit(Timestamp(1)).expect("a commit");
            replica.take_events();
        }
        if said.elapsed() > Duration::from_secs(10) {
            eprintln!("   {} of {count} documents", number + 1);
            said = Instant::now();
        }
    }
    chats
}
