//! A node's data directory with people who are signed in, and the node that runs on it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crdt::{
    Store, StoreSettings,
    ingress::Right,
    records::{
        EntryId,
        account::{Account, Device, Role},
        character::{Character, Definition},
        session::{Ending, Message, Session, SessionEdit},
        settings::{Setting, Settings},
    },
};
use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use keys::{
    ContentId, NodeId, NodeKey, Timestamp,
    identity::random_bytes,
    limits::ACCESS_TOKEN_MILLISECONDS,
    token::{self, AccessToken},
};
use node::data_directory::DataDirectory;
use tests::process::NodeProcess;

/// What one person may have.
pub const DEVICES: usize = 5;
/// More than a gateway keeps as read, so that one after the other each is read anew.
pub const LONG_CHATS: usize = 4;
pub const LONG_MESSAGES: usize = 10_000;
/// Writes under way at the same time.
const AT_ONCE: usize = 64;
/// Messages of one chat under way at the same time.
const SAID_AT_ONCE: usize = 256;
/// Addresses of this machine that the load comes from.
const ADDRESSES: usize = 200;

/// Somebody with a chat.
pub struct Person {
    id: ContentId,
    devices: Vec<EntryId>,
    pub session: ContentId,
}

/// Everything that is measured on.
pub struct Prepared {
    pub node: NodeProcess,
    key: NodeKey,
    mesh: ContentId,
    pub people: Vec<Person>,
    /// All of the first person.
    pub long_chats: Vec<ContentId>,
}

impl Prepared {
    /// Writes everything. The node does not run afterwards.
    pub async fn make(people: usize, long_chats: usize) -> Self {
        let mut node = NodeProcess::init("bench", "mock:20");
        // Its first start makes what every mesh begins with.
        node.start();
        let status = node.wait_for_status("the engine is ready", |status| status["engine"] == "ready");
        let mesh = status["mesh_id"]
            .as_str()
            .and_then(ContentId::parse)
            .expect("a mesh has an id");
        node.terminate();
        let directory = DataDirectory::open(&node.path()).expect("a data directory");
        let key = directory.key().expect("a key");
        let settings = StoreSettings {
            directory: directory.store_path(),
            keys: directory.keys_path(),
            key: key.clone(),
            right: Arc::new(|_: &NodeId| Right::Member),
        };
        let (store, outputs, _) = Store::open(settings).expect("the store opens");
        eprintln!("writing {people} people and {long_chats} chats of {LONG_MESSAGES} messages");
        let (people, long_chats) = write(&store, people, long_chats).await;
        store.stop().await;
        drop(outputs);
        Self {
            node,
            key,
            mesh,
            people,
            long_chats,
        }
    }

    /// Starts the node anew, so that no row is measured on what another has left in memory.
    pub fn start(&mut self) {
        self.node.start();
        self.node
            .wait_for_status("the engine is ready", |status| status["engine"] == "ready");
    }

    /// Ends the node.
    pub fn stop(&mut self) {
        self.node.terminate();
    }

    /// What a device of a person shows.
    pub fn token(&self, person: usize, device: usize) -> String {
        let (now, person) = (Timestamp::now(), &self.people[person]);
        let token = AccessToken {
            mesh: self.mesh,
            person: person.id,
            device: *person.devices[device].bytes(),
            issued: now,
            expires: now.plus(ACCESS_TOKEN_MILLISECONDS),
            second_factor: None,
        };
        token::issue(&self.key, &token).expect("a token")
    }

    pub fn address(&self) -> SocketAddr {
        self.node.http
    }

    /// Resident memory of the node: now, and at its highest since it started.
    pub fn memory(&self) -> (f64, f64) {
        let pid = self.node.pid().expect("the node runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
        let megabytes = |name: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .expect("a figure");
            let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
            kibibytes * 1024.0 / 1e6
        };
        (megabytes("VmRSS:"), megabytes("VmHWM:"))
    }
}

/// Where the nth connection comes from.
pub fn source(number: usize) -> IpAddr {
    let number = u8::try_from(number % ADDRESSES).unwrap_or(0);
    IpAddr::from([127, 0, 1, 1 + number])
}

async fn write(store: &Store, people: usize, long_chats: usize) -> (Vec<Person>, Vec<ContentId>) {
    let limit = Setting::Number(100_000);
    let values = ["address", "account"].map(|who| (format!("limits.requests_per_second_{who}"), limit.clone()));
    let settings = Settings {
        values: values.into_iter().collect(),
    };
    store.create(settings).await.expect("settings are written");
    let definition = Definition {
        answer_characters_max: 2000,
        ..Definition::new("Bench", "Says words.", "Hello.", "You say words.")
    };
    let character = Character::published(definition, None, Timestamp::now());
    let character = store.create(character).await.expect("a character is written");
    let people: Vec<Person> = stream::iter(0..people)
        .map(|number| person(store, number, character))
        .buffered(AT_ONCE)
        .try_collect()
        .await
        .expect("people are written");
    let mut long = Vec::new();
    for _ in 0..long_chats {
        long.push(long_chat(store, people[0].id, character).await);
    }
    (people, long)
}

async fn person(store: &Store, number: usize, character: ContentId) -> Result<Person, crdt::StoreError> {
    let now = Timestamp::now();
    let devices = [(); DEVICES].map(|()| EntryId::new(now, u128::from_le_bytes(random_bytes())));
    let mut account = Account::new(&format!("Person {number}"), Role::User, now, random_bytes());
    account.devices = devices
        .iter()
        .map(|id| Device {
            id: *id,
            label: "a bench".into(),
            seen: now,
            generation: 0,
            signed_out: false,
        })
        .collect();
    let id = store.create(account).await?;
    let session = store.create(Session::new(id, character, now)).await?;
    Ok(Person {
        id,
        devices: devices.to_vec(),
        session,
    })
}

/// Questions and answers of 200 characters, each following the one before.
async fn long_chat(store: &Store, person: ContentId, character: ContentId) -> ContentId {
    let began = Timestamp(Timestamp::now().0 - Duration::from_secs(86_400).as_millis() as u64);
    let chat = store
        .create(Session::new(person, character, began))
        .await
        .expect("a chat is written");
    let (mut last, text) = (None, "слово ".repeat(33));
    let mut numbers = (0..LONG_MESSAGES as u64).peekable();
    while numbers.peek().is_some() {
        let edits: Vec<_> = numbers
            .by_ref()
            .take(SAID_AT_ONCE)
            .map(|number| {
                let (text, at) = (format!("{number} {text}"), began.plus(1 + number * 1000));
                let message = match last {
                    Some(question) if number % 2 == 1 => Message::answer(question, &text, at, "mock", Ending::Complete),
                    _ => Message::from_person(&text, &format!("outbox-{number}"), &chat, last, at),
                };
                last = Some(message.id);
                store.edit(chat, SessionEdit::PutMessage(message))
            })
            .collect();
        try_join_all(edits).await.expect("messages are written");
    }
    chat
}
