//! What was done by whom: every act that matters is written into this node's chain of hashes before it is answered.

use crdt::{
    Store, StoreError,
    records::{
        RecordError,
        audit::{Audit, AuditEdit, AuditEvent, Continuation, TEXT_CHARACTERS_MAX},
    },
};
use keys::{ContentId, Timestamp};
use tokio::sync::{mpsc, oneshot};

use crate::{auth::Person, error::ApiError, idle::Peer, limits::AUDIT_QUEUE};

struct Note {
    event: AuditEvent,
    written: oneshot::Sender<Result<(), StoreError>>,
}

/// Writes the chain; cheap to clone.
#[derive(Clone)]
pub(crate) struct AuditLog(mpsc::Sender<Note>);

/// An act of a person, for the log.
pub(crate) struct Act<'a> {
    pub(crate) by: Option<&'a Person>,
    /// Such as `account.block`.
    pub(crate) action: &'a str,
    pub(crate) subject: String,
    pub(crate) detail: String,
    pub(crate) peer: Peer,
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARACTERS_MAX).collect()
}

impl AuditLog {
    /// The log, and the work that writes it.
    pub(crate) fn new(store: Store) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (notes, queue) = mpsc::channel(AUDIT_QUEUE);
        (Self(notes), Writer { store, document: None }.run(queue))
    }

    /// Writes down what a person is about to do to a record that others see.
    pub(crate) async fn note_of(
        &self,
        person: &Person,
        peer: Peer,
        action: &str,
        subject: ContentId,
        detail: &str,
    ) -> Result<(), ApiError> {
        self.note(Act {
            by: Some(person),
            action,
            subject: subject.to_string(),
            detail: detail.to_owned(),
            peer,
        })
        .await
    }

    /// Writes an act down; it is on disk when this returns.
    pub(crate) async fn note(&self, act: Act<'_>) -> Result<(), ApiError> {
        let device = act.by.and_then(|person| {
            let devices = &person.account.devices;
            let device = devices.iter().find(|device| device.id == person.device)?;
            Some(device.label.text().to_owned())
        });
        let event = AuditEvent {
            at: Timestamp::now(),
            by: act.by.map(|person| person.id),
            action: act.action.to_owned(),
            subject: cut(&act.subject),
            address: act.peer.0.ip().to_string(),
            device: cut(&device.unwrap_or_default()),
            detail: cut(&act.detail),
        };
        let (written, answer) = oneshot::channel();
        let gone = |_| ApiError::StorageUnavailable;
        self.0
            .send(Note { event, written })
            .await
            .map_err(|_| ApiError::StorageUnavailable)?;
        Ok(answer.await.map_err(gone)??)
    }
}

struct Writer {
    store: Store,
    /// The document that is written now.
    document: Option<ContentId>,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Note>) {
        while let Some(note) = queue.recv().await {
            let result = self.append(note.event).await;
            if result.is_err() {
                self.document = None;
            }
            // Who asked may be gone; the act is written all the same.
            let _ = note.written.send(result);
        }
    }

    async fn append(&mut self, event: AuditEvent) -> Result<(), StoreError> {
        let document = match self.document {
            Some(document) => document,
            None => self.find().await?,
        };
        self.document = Some(document);
        match self.store.edit(document, AuditEdit::Append(event.clone())).await {
            Err(StoreError::Record(RecordError::Full(_))) => {
                let next = self.go_on(document).await?;
                self.document = Some(next);
                self.store.edit(next, AuditEdit::Append(event)).await
            }
            result => result,
        }
    }

    /// The last document of this node's chain, or a first one.
    async fn find(&self) -> Result<ContentId, StoreError> {
        let own = self.store.node();
        let chains = self.store.list_here::<Audit>().await?;
        let newest = chains
            .into_iter()
            .filter(|(_, chain)| chain.node == Some(own))
            .max_by_key(|(id, chain)| (chain.created, *id));
        match newest {
            Some((id, _)) => Ok(id),
            None => self.store.create(Audit::new(Timestamp::now(), None)).await,
        }
    }

    async fn go_on(&self, full: ContentId) -> Result<ContentId, StoreError> {
        let chain = self.store.read::<Audit>(full).await?;
        let hash = chain.entries.last().map_or([0; 32], |entry| entry.hash);
        let continues = Continuation { document: full, hash };
        self.store.create(Audit::new(Timestamp::now(), Some(continues))).await
    }
}
