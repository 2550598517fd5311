//! A store is backed up while it is written to, restored elsewhere under the same key, and goes on without contradicting itself.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{path::Path, sync::Arc};

use crdt::{
    Store, StoreSettings,
    backup::{ContentKind, ContentWriter, Origin, Part, restore, write_records},
    erasure::Statement,
    ingress::Right,
    keyring::Keyring,
    records::{
        account::{Account, Role},
        session::{Message, Session, SessionEdit},
    },
    set::says_same,
};
use keys::{ContentId, NodeKey, Timestamp};

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

fn open(directory: &Path, keys: &Path, seed: u8) -> Store {
    let settings = StoreSettings {
        directory: directory.to_owned(),
        keys: keys.to_owned(),
        key: key(seed),
        right: Arc::new(|_| Right::Member),
    };
    Store::open(settings).unwrap().0
}

async fn say(store: &Store, session: ContentId, text: &str, at: u64) {
    let message = Message::from_person(text, text, &session, None, Timestamp(at));
    store.edit(session, SessionEdit::PutMessage(message)).await.unwrap();
}

async fn texts(store: &Store, session: ContentId) -> Vec<String> {
    let session: Session = store.read(session).await.unwrap();
    let messages = session.messages.iter();
    messages.map(|message| message.text.text().to_owned()).collect()
}

async fn reconcile(opener: &Store, answerer: &Store) {
    let mut frame = opener.reconcile_start(answerer.node()).await.unwrap();
    for (side, other) in [(answerer, opener), (opener, answerer)].iter().cycle().take(1000) {
        match side.reconcile_step(other.node(), frame).await.unwrap() {
            Some(answer) if !says_same(&answer) => frame = answer,
            _ => return,
        }
    }
    panic!("the talk has no end");
}

/// The two files of a backup of the store in `directory`, which is open.
fn backed_up(directory: &Path, keys: &Path, person: ContentId, seed: u8) -> (Vec<u8>, Vec<u8>) {
    let origin = Origin {
        mesh: ContentId([1; 32]),
        node: key(seed).id(),
        created: Timestamp(1),
    };
    let mut memory = ContentWriter::new(Vec::new(), ContentKind::Memory, origin).unwrap();
    write_records(&mut memory, &directory.join("journal"), Statement::is_one).unwrap();
    let mut secrets = ContentWriter::new(Vec::new(), ContentKind::Secrets, origin).unwrap();
    for part in [
        Part::NodeKey(key(seed)),
        Part::Membership(b"members"),
        Part::Configuration(""),
        Part::DataKeys(person, Keyring::open(keys).unwrap().all(&person).unwrap()),
    ] {
        secrets.write(&part).unwrap();
    }
    (memory.finish().unwrap().0, secrets.finish().unwrap().0)
}

#[tokio::test]
async fn a_restored_node_has_what_it_had_and_never_contradicts_itself() {
    let base = tempfile::tempdir().unwrap();
    let original_keys = base.path().join("original-keys");
    let original = open(&base.path().join("original"), &original_keys, 1);
    let person = Account::new("Rita", Role::User, Timestamp(1), [0; 16]);
    let person = original.create(person).await.unwrap();
    let session = Session::new(person, ContentId([2; 32]), Timestamp(1));
    let chat = original.create(session).await.unwrap();
    say(&original, chat, "before", 2).await;
    let (memory, secrets) = backed_up(&base.path().join("original"), &original_keys, person, 1);
    let at_backup = original.summary().await.unwrap().root;
    // After the backup, so the restored node does not know it, and writes with the same key where this was written.
    say(&original, chat, "after the backup", 3).await;

    let into = base.path().join("restored");
    restore(
        &memory[..],
        &secrets[..],
        &into.join("journal"),
        &base.path().join("keys"),
    )
    .unwrap();
    let restored = open(&into, &base.path().join("keys"), 1);
    assert_eq!(restored.summary().await.unwrap().root, at_backup);
    assert_eq!(texts(&restored, chat).await, ["before"]);
    say(&restored, chat, "after the restore", 4).await;

    // A third node takes both, in either order: the same actor and number twice would be refused.
    for order in [[&original, &restored], [&restored, &original]] {
        let other = tempfile::tempdir().unwrap();
        let other = open(&other.path().join("store"), &other.path().join("keys"), 2);
        for store in order {
            reconcile(store, &other).await;
        }
        assert_eq!(texts(&other, chat).await.len(), 3);
        assert_eq!(other.forks(chat).await.unwrap(), []);
    }
    reconcile(&restored, &original).await;
    assert_eq!(
        original.summary().await.unwrap().root,
        restored.summary().await.unwrap().root
    );
    assert_eq!(texts(&restored, chat).await, texts(&original, chat).await);
    assert_eq!(texts(&restored, chat).await.len(), 3);
}
