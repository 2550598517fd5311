//! Letters: through which server they go, and which node sends which of them.
//!
//! The server is a setting of the mesh. Its password is not: settings stand in plain words on every disk. It is the text of an outbox
//! record that is never sent, sealed under the key of the administrator who typed it; the setting names that record.
//!
//! ## Journey: a letter
//! An outbox record appears here or elsewhere -> [`deliver`] asks the record whose turn it is ([`Outbox::turn`]) -> lease, a moment for
//! everyone to hear of it, [`send`] -> finished, or an attempt that failed and is repeated later, here or elsewhere.

mod smtp;

use std::collections::{BTreeMap, BTreeSet};

use crdt::{
    Change, Store, StoreError,
    records::{
        EntryId, RecordKind,
        outbox::{Channel, Outbox, OutboxEdit, Turn},
        settings::{Setting, Settings, effective},
    },
};
use keys::{ContentId, NodeId, Timestamp, identity::random_bytes};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::Duration,
};

pub use smtp::{MailError, send};

/// Where the server is.
pub const HOST: &str = "mail.host";
/// Its port.
pub const PORT: &str = "mail.port";
/// `tls`, `starttls` or `none`.
pub const SECURITY: &str = "mail.security";
/// As whom to sign in there; without one nobody does.
pub const USER: &str = "mail.user";
/// Names the record that holds the password.
pub const PASSWORD: &str = "mail.password";
/// From whom letters come.
pub const FROM: &str = "mail.from";

/// Letters that wait at one time; those beyond wait until there is room.
const OPEN_MAX: usize = 10_000;
/// With nothing to wait for, it looks again after this: a server may have been configured on the other side of a split.
const LOOK_EVERY_MILLISECONDS: u64 = 60_000;
/// A letter whose key has not come is looked at again after this.
const LOCKED_MILLISECONDS: u64 = 1_000;

/// How a connection to the server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// From the first byte.
    Tls,
    /// After a greeting in the clear.
    StartTls,
    /// Not at all: for a server on the same machine.
    None,
}

impl Security {
    /// Reads the setting.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "tls" => Some(Self::Tls),
            "starttls" => Some(Self::StartTls),
            "none" => Some(Self::None),
            _ => None,
        }
    }
}

/// A server that takes letters.
#[derive(Clone, PartialEq, Eq)]
pub struct MailServer {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted.
    pub security: Security,
    /// Name and password there.
    pub login: Option<(String, String)>,
    /// From whom letters come.
    pub from: String,
}

impl std::fmt::Debug for MailServer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A password in a log would be read by whoever reads logs.
        write!(formatter, "MailServer({}:{})", self.host, self.port)
    }
}

impl MailServer {
    /// The configured server; `None` when there is none, or its password has not come to this node.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn configured(store: &Store) -> Result<Option<Self>, StoreError> {
        let documents: BTreeMap<ContentId, Settings> = store.list::<Settings>().await?.into_iter().collect();
        let values = effective(&documents);
        let text = |name: &str| match values.get(name) {
            Some(Setting::Text(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        };
        let (Some(host), Some(from)) = (text(HOST), text(FROM)) else {
            return Ok(None);
        };
        let security = text(SECURITY)
            .and_then(|name| Security::from_name(&name))
            .unwrap_or(Security::Tls);
        let port = match values.get(PORT) {
            Some(Setting::Number(port)) => u16::try_from(*port).ok(),
            _ => None,
        };
        let usual = match security {
            Security::Tls => 465,
            Security::StartTls => 587,
            Security::None => 25,
        };
        let login = match text(USER) {
            None => None,
            Some(user) => {
                let Some(document) = text(PASSWORD).and_then(|id| ContentId::parse(&id)) else {
                    return Ok(None);
                };
                match store.read::<Outbox>(document).await {
                    Ok(kept) if kept.body.is_readable() => Some((user, kept.body.text().to_owned())),
                    Ok(_) | Err(StoreError::NotFound | StoreError::Erased) => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
        };
        Ok(Some(Self {
            host,
            port: port.unwrap_or(usual),
            security,
            login,
            from,
        }))
    }
}

/// Sends letters whose turn it is on this node, until the store stops. `able` are the nodes that could send and are within reach, this
/// one among them; `troubled` is told what goes wrong.
pub async fn deliver(
    store: Store,
    able: impl Fn() -> BTreeSet<NodeId> + Send,
    troubled: impl Fn(&(dyn std::fmt::Display + Sync)) + Send,
) {
    let mut changes = store.changes();
    let mut open: Option<BTreeSet<ContentId>> = None;
    loop {
        let round = look(&store, &able, &troubled, &mut open).await;
        let until = match round {
            Ok(until) => until,
            Err(StoreError::Stopped) => return,
            Err(error) => {
                troubled(&error);
                Timestamp::now().plus(LOOK_EVERY_MILLISECONDS)
            }
        };
        let wait = Duration::from_millis(until.since(Timestamp::now()).max(1));
        if tokio::time::timeout(wait, news(&mut changes, &mut open)).await == Ok(false) {
            return;
        }
    }
}

/// Waits for a change that matters; false when the store has stopped.
async fn news(changes: &mut Receiver<Change>, open: &mut Option<BTreeSet<ContentId>>) -> bool {
    loop {
        match changes.recv().await {
            Ok(change) if change.kind == RecordKind::Outbox => {
                if let Some(open) = open.as_mut().filter(|open| open.len() < OPEN_MAX) {
                    open.insert(change.document);
                }
                return true;
            }
            Ok(change) if change.kind == RecordKind::Settings => return true,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => {
                *open = None;
                return true;
            }
            Err(RecvError::Closed) => return false,
        }
    }
}

/// Does what is due, and says when to look again.
async fn look(
    store: &Store,
    able: &(impl Fn() -> BTreeSet<NodeId> + Send),
    troubled: &(impl Fn(&(dyn std::fmt::Display + Sync)) + Send),
    open: &mut Option<BTreeSet<ContentId>>,
) -> Result<Timestamp, StoreError> {
    let mut next = Timestamp::now().plus(LOOK_EVERY_MILLISECONDS);
    let Some(server) = MailServer::configured(store).await? else {
        // What waits is found again when there is a server.
        *open = None;
        return Ok(next);
    };
    if open.is_none() {
        let letters = store.list_here::<Outbox>().await?;
        let waiting = letters
            .into_iter()
            .filter(|(_, letter)| letter.channel == Channel::Mail && letter.done.is_none() && !letter.abandoned);
        *open = Some(waiting.map(|(id, _)| id).take(OPEN_MAX).collect());
    }
    for document in open.clone().unwrap_or_default() {
        let letter = match store.read::<Outbox>(document).await {
            Ok(letter) if letter.channel == Channel::Mail => letter,
            Ok(_) | Err(StoreError::NotFound | StoreError::Erased) => {
                forget(open, document);
                continue;
            }
            Err(error) => return Err(error),
        };
        if !letter.recipient.is_readable() || !letter.body.is_readable() {
            next = next.min(Timestamp::now().plus(LOCKED_MILLISECONDS));
            continue;
        }
        match letter.turn(&store.node(), &able(), Timestamp::now()) {
            Turn::Over => forget(open, document),
            Turn::Wait(at) => next = next.min(at),
            Turn::Take => {
                store.edit(document, OutboxEdit::TakeLease(Timestamp::now())).await?;
                // At once again: the record now says how long to wait.
                next = Timestamp::now();
            }
            Turn::Send => match send(&server, &letter).await {
                Ok(()) => {
                    store.edit(document, OutboxEdit::Finish(Timestamp::now())).await?;
                    forget(open, document);
                }
                Err(error) => {
                    troubled(&error);
                    let id = EntryId::new(Timestamp::now(), u128::from_le_bytes(random_bytes()));
                    let error = error.to_string();
                    store.edit(document, OutboxEdit::AddAttempt { id, error }).await?;
                    next = Timestamp::now();
                }
            },
        }
    }
    Ok(next)
}

fn forget(open: &mut Option<BTreeSet<ContentId>>, document: ContentId) {
    if let Some(open) = open {
        open.remove(&document);
    }
}
