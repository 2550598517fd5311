//! Stores on real disks that hold different documents: one reads through the other, and says so when it cannot.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use crdt::{
    FetchRequest, Outputs, Store, StoreError, StoreSettings,
    erasure::EraseTarget,
    fetch::Ask,
    ingress::Right,
    keyring::KeyFrame,
    placement::{Placement, Ranks, Rules, Seat},
    records::{
        account::{Account, Role},
        session::{Message, Session, SessionEdit},
    },
    replica::{Cursor, Held},
    set::ShardSet,
};
use keys::{ContentId, NodeId, NodeKey, Timestamp};
use tokio::sync::mpsc;

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

fn open(directory: &Path, seed: u8) -> (Store, Outputs) {
    let settings = StoreSettings {
        directory: directory.join("store"),
        keys: directory.join("keys"),
        key: key(seed),
        right: Arc::new(|_| Right::Member),
    };
    let (store, outputs, _) = Store::open(settings).unwrap();
    (store, outputs)
}

/// Only the first node keeps documents.
fn placement() -> Placement {
    let seat = Seat {
        node: key(1).id(),
        residency: None,
        silent_for: Duration::ZERO,
    };
    Placement::of(&Rules::default(), &[seat], &mut Ranks::default())
}

/// Sees to what the reader wants, as the node does, and says how often it was asked.
fn see_to(reader: Store, holder: Store, mut requests: mpsc::Receiver<FetchRequest>) -> mpsc::Receiver<Ask> {
    let (asked, counter) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            asked.try_send(request.what.clone()).unwrap();
            let mut from = Some(Cursor::default());
            let mut open = request.shards;
            while let Some(cursor) = from {
                let (batch, answered) = holder.give(request.what.clone(), request.shards, cursor).await.unwrap();
                reader.take_fetched(key(1).id(), batch.envelopes).await.unwrap();
                from = batch.next;
                open = open.iter().filter(|shard| !answered.contains(*shard)).collect();
            }
            let _ = request.reply.send(open);
        }
    });
    counter
}

async fn give_keys(from: &Store, to: &Store) {
    let wanted = to.wanted_keys().await.unwrap();
    let given = from.answer_keys(KeyFrame::Ask(wanted)).await.unwrap().unwrap();
    to.answer_keys(given).await.unwrap();
}

fn rita() -> Account {
    Account::new("Рита", Role::User, Timestamp(1), [0; 16])
}

fn say(chat: ContentId, text: &str) -> SessionEdit {
    SessionEdit::PutMessage(Message::from_person(text, text, &chat, None, Timestamp(9)))
}

fn texts(session: &Session) -> Vec<&str> {
    session.messages.iter().map(|message| message.text.text()).collect()
}

/// A holder with a person and a chat, and a node that holds nothing.
struct Pair {
    holder: Store,
    reader: Store,
    _holders: Outputs,
    person: ContentId,
    chat: ContentId,
}

async fn pair(directory: &Path) -> (Pair, Outputs) {
    let (holder, holders) = open(&directory.join("holder"), 1);
    let (reader, outputs) = open(&directory.join("reader"), 2);
    holder.place(placement()).await.unwrap();
    reader.place(placement()).await.unwrap();
    let person = holder.create(rita()).await.unwrap();
    let chat = Session::new(person, ContentId([2; 32]), Timestamp(1));
    let chat = holder.create(chat).await.unwrap();
    holder.edit(chat, say(chat, "hello")).await.unwrap();
    let pair = Pair {
        holder,
        reader,
        _holders: holders,
        person,
        chat,
    };
    (pair, outputs)
}

#[tokio::test]
async fn a_node_that_holds_nothing_reads_lists_and_writes_through_one_that_does() {
    let directory = tempfile::tempdir().unwrap();
    let (pair, outputs) = pair(directory.path()).await;
    let Pair {
        holder, reader, chat, ..
    } = &pair;
    let mut asked = see_to(reader.clone(), holder.clone(), outputs.fetches);
    assert!(reader.read::<Session>(*chat).await.is_ok());
    give_keys(holder, reader).await;
    let read: Session = reader.read(*chat).await.unwrap();
    assert_eq!(texts(&read), ["hello"]);
    let accounts = reader.list::<Account>().await.unwrap();
    assert_eq!(accounts.len(), 1);
    assert_eq!(reader.documents_owned_by(pair.person).await.unwrap(), [*chat]);
    assert_eq!(reader.list_of::<Session>(pair.person).await.unwrap().len(), 1);
    let mut asks = Vec::new();
    while let Ok(ask) = asked.try_recv() {
        asks.push(ask);
    }
    assert_eq!(asks.len(), 3, "once for the chat, once for each list: {asks:?}");
    // What it writes is handed over, and confirmed.
    reader.edit(*chat, say(*chat, "an answer")).await.unwrap();
    assert_eq!(reader.held().await.unwrap().unconfirmed, 1);
    assert_eq!(
        reader.unconfirmed_holders().await.unwrap(),
        BTreeSet::from([key(1).id()])
    );
    let due = reader.unconfirmed_for(key(1).id()).await.unwrap();
    let held = holder.take_offered(key(2).id(), due).await.unwrap();
    reader.confirmed(key(1).id(), held.into_iter().collect()).await.unwrap();
    assert_eq!(reader.held().await.unwrap().unconfirmed, 0);
    let read: Session = holder.read(*chat).await.unwrap();
    assert_eq!(texts(&read).len(), 2);
    let nothing = reader.read::<Session>(ContentId([5; 32])).await;
    assert!(
        matches!(nothing, Err(StoreError::NotFound)),
        "the holder knows that there is none: {nothing:?}"
    );
}

#[tokio::test]
async fn when_no_holder_can_be_asked_it_is_said_and_what_was_read_before_is_still_there() {
    let directory = tempfile::tempdir().unwrap();
    let (pair, outputs) = pair(directory.path()).await;
    let Pair {
        holder, reader, chat, ..
    } = &pair;
    // Nobody sees to what is wanted.
    let (requests, chat) = (outputs.fetches, *chat);
    drop(requests);
    let read = reader.read::<Session>(chat).await;
    assert!(matches!(read, Err(StoreError::Elsewhere(id)) if id == chat), "{read:?}");
    let listed = reader.list::<Account>().await;
    assert!(matches!(listed, Err(StoreError::Unanswered(256))), "{listed:?}");
    assert_eq!(reader.list_here::<Account>().await.unwrap(), []);
    let asked = Ask::Documents(vec![(chat, [0; 8])]);
    let (batch, _) = holder.give(asked, ShardSet::all(), Cursor::default()).await.unwrap();
    reader.take_fetched(key(1).id(), batch.envelopes).await.unwrap();
    assert!(reader.read::<Session>(chat).await.is_ok());
    // Others can be told to forget what this node has never seen.
    assert!(reader.erase(EraseTarget::Account(pair.person)).await.is_ok());
    let nothing = holder.erase(EraseTarget::Document(ContentId([5; 32]))).await;
    assert!(matches!(nothing, Err(StoreError::NotFound)), "the control: {nothing:?}");
}

#[tokio::test]
async fn a_node_that_holds_everything_asks_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let (pair, _) = pair(directory.path()).await;
    let (directory, holder) = (directory.path().join("holder"), pair.holder);
    assert!(matches!(
        holder.read::<Session>(ContentId([5; 32])).await,
        Err(StoreError::NotFound)
    ));
    assert_eq!(holder.list_of::<Session>(pair.person).await.unwrap().len(), 1);
    let all = Held {
        own: 256,
        ..Held::default()
    };
    let held = holder.held().await.unwrap();
    assert_eq!((held.own, held.leaving, held.followed), (256, 0, 0));
    // And knows it again after a restart.
    let node: NodeId = holder.node();
    holder.stop().await;
    let (holder, _outputs) = open(&directory, 1);
    assert_eq!(holder.node(), node);
    holder.place(placement()).await.unwrap();
    assert_eq!(holder.held().await.unwrap(), all);
}
