//! What the rows are made of: nodes with their directories, chats, words, and frames carried between two nodes.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crdt::{
    OpenReport, Outputs, Store, StoreSettings,
    ingress::Right,
    records::{
        account::{Account, Role},
        session::{Message, MessageId, Session, SessionEdit},
    },
    set::says_same,
};
use keys::{ContentId, NodeKey, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How much of everything is measured.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Puts at the shelf.
    pub puts: usize,
    /// Appends, one after the other.
    pub appends: usize,
    /// Messages of the session that is opened.
    pub opened: usize,
    /// How often it is opened.
    pub openings: usize,
    /// Messages of the long session.
    pub long: usize,
    /// Documents of which few differ.
    pub documents: usize,
    /// Documents that change during a split.
    pub split: usize,
    /// Copies for each of the four kinds of damage.
    pub copies: usize,
    /// Processes that are killed.
    pub kills: usize,
    /// The million.
    pub million: usize,
}

impl Scale {
    /// As the goals have it.
    pub const fn full() -> Self {
        Self {
            puts: 100_000,
            appends: 2000,
            opened: 1000,
            openings: 20,
            long: 10_000,
            documents: 100_000,
            split: 1000,
            copies: 60,
            kills: 100,
            million: 1_000_000,
        }
    }

    /// For the tests.
    pub const fn small() -> Self {
        Self {
            puts: 2000,
            appends: 50,
            opened: 100,
            openings: 2,
            long: 300,
            documents: 500,
            split: 50,
            copies: 3,
            kills: 4,
            million: 1000,
        }
    }
}

/// Where files go: below `STARLING_BENCH_DIR`, else below cargo's directory, which is on a disk where `/tmp` may be in memory.
pub struct Scratch {
    root: PathBuf,
}

impl Scratch {
    /// Nothing is made yet.
    pub fn new() -> Self {
        let named = std::env::var_os("STARLING_BENCH_DIR").map(PathBuf::from);
        // The bench itself lies in `target/<profile>/`.
        let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("bench-crdt"));
        Self {
            root: named.or_else(beside).expect("a place for files"),
        }
    }

    /// A fresh directory that goes with what is returned.
    pub fn fresh(&self) -> tempfile::TempDir {
        fs::create_dir_all(&self.root).expect("a directory for files");
        tempfile::tempdir_in(&self.root).expect("a directory for files")
    }

    /// A directory that stays for the next run.
    pub fn kept(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

/// The key of a node of the bench.
pub fn key(number: u8) -> NodeKey {
    NodeKey::from_seed(&[number; 32])
}

/// The directories of one node.
#[derive(Clone)]
pub struct Home(pub PathBuf);

impl Home {
    /// As which node, and where.
    pub fn settings(&self, number: u8) -> StoreSettings {
        let members: Vec<_> = (1..10).map(|number| key(number).id()).collect();
        StoreSettings {
            directory: self.0.join("store"),
            keys: self.0.join("keys"),
            key: key(number),
            right: Arc::new(move |node| match members.contains(node) {
                true => Right::Member,
                false => Right::Unknown,
            }),
        }
    }

    /// Opens the store there.
    pub fn open(&self, number: u8) -> (Store, Outputs, OpenReport) {
        Store::open(self.settings(number)).expect("the store opens")
    }

    /// Everything there is at another place, too: a node that has caught up costs no time in this way.
    pub fn copy(&self, to: &Path) -> Self {
        copy(&self.0, to);
        Self(to.to_owned())
    }
}

/// Copies a directory with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory for a copy");
    // Data keys lie in directories that nobody else may read.
    let permissions = fs::metadata(from).expect("a directory to copy").permissions();
    fs::set_permissions(to, permissions).expect("the same rights");
    for entry in fs::read_dir(from).expect("a directory to copy") {
        let entry = entry.expect("an entry to copy").path();
        let target = to.join(entry.file_name().expect("an entry has a name"));
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            fs::copy(&entry, &target).expect("a file to copy");
        }
    }
}

/// Every file below a directory, in order.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// Random numbers that are the same in each run.
pub fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

const CONSONANTS: &[u8] = b"bcdfghklmnprstvz";
const CONSONANTS_CYRILLIC: [char; 16] = [
    'б', 'в', 'г', 'д', 'ж', 'з', 'к', 'л', 'м', 'н', 'п', 'р', 'с', 'т', 'ф', 'ш',
];

/// Words of two syllables, few of them often and many of them rarely, as in a language.
pub fn text(seed: u64, characters: usize, cyrillic: bool) -> String {
    let mut rng = rng(seed);
    let mut text = String::new();
    let mut count = 0;
    while count < characters {
        let rank = rng.random_range(0.0_f64..1.0).powi(3);
        let word = (rank * 4096.0) as usize;
        for syllable in [word % 64, word / 64 % 64] {
            let (consonant, vowel) = (syllable / 4, syllable % 4);
            match cyrillic {
                true => text.extend([CONSONANTS_CYRILLIC[consonant], ['а', 'е', 'и', 'о'][vowel]]),
                false => text.extend([char::from(CONSONANTS[consonant]), ['a', 'e', 'i', 'o'][vowel]]),
            }
        }
        text.push(' ');
        count += 5;
    }
    text.chars().take(characters).collect()
}

/// A person with chats.
pub async fn person_with_chats(store: &Store, chats: usize) -> (ContentId, Vec<ContentId>) {
    let person = Account::new("Rita", Role::User, Timestamp(1), [0; 16]);
    let person = store.create(person).await.expect("an account is made");
    let creations = (0..chats).map(|number| {
        let character = ContentId::of(&number.to_le_bytes());
        store.create(Session::new(person, character, Timestamp(1)))
    });
    let chats = futures::future::try_join_all(creations).await.expect("chats are made");
    (person, chats)
}

/// The message at a place of a chat: 200 characters that follow the message before.
pub fn message(chat: ContentId, number: u64, parent: Option<MessageId>) -> Message {
    message_saying(chat, number, parent, &text(number, 200, false))
}

/// As [`message`], with other words.
pub fn message_saying(chat: ContentId, number: u64, parent: Option<MessageId>, text: &str) -> Message {
    let outbox = format!("outbox-{number}");
    Message::from_person(
        text,
        &outbox,
        &chat,
        parent,
        Timestamp(1_700_000_000_000 + number * 1000),
    )
}

/// Says `count` messages in a chat, many at a time, each following the one before; returns the last one.
pub async fn say_many(store: &Store, chat: ContentId, from: u64, count: usize) -> Option<MessageId> {
    let mut parent = None;
    let mut numbers = (from..from + count as u64).peekable();
    while numbers.peek().is_some() {
        let edits: Vec<_> = numbers
            .by_ref()
            .take(256)
            .map(|number| {
                let message = message(chat, number, parent);
                parent = Some(message.id);
                store.edit(chat, SessionEdit::PutMessage(message))
            })
            .collect();
        futures::future::try_join_all(edits)
            .await
            .expect("messages are written");
    }
    parent
}

/// What a talk cost.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// Bytes of each frame, in order.
    pub frames: Vec<usize>,
}

impl Cost {
    /// Both ways.
    pub fn bytes(&self) -> usize {
        self.frames.iter().sum()
    }

    /// How often something goes there and back.
    pub fn round_trips(&self) -> usize {
        self.frames.len().div_ceil(2)
    }
}

/// One reconciliation, with this much time for each frame on its way.
pub async fn talk(opener: &Store, answerer: &Store, one_way: Duration) -> Cost {
    let mut cost = Cost::default();
    let mut frame = opener.reconcile_start(answerer.node()).await.expect("a talk begins");
    let sides = [(answerer, opener), (opener, answerer)];
    for (side, other) in sides.iter().cycle() {
        cost.frames.push(frame.len());
        if !one_way.is_zero() {
            tokio::time::sleep(one_way).await;
        }
        if says_same(&frame) {
            break;
        }
        match side.reconcile_step(other.node(), frame).await.expect("an honest frame") {
            Some(answer) => frame = answer,
            None => break,
        }
    }
    cost
}

/// Whether two stores hold the same.
pub async fn agree(one: &Store, other: &Store) -> bool {
    let (one, other) = (one.summary().await, other.summary().await);
    let (one, other) = (one.expect("a summary"), other.expect("a summary"));
    (one.root, one.statements_root) == (other.root, other.statements_root)
}
