//! Three replicas of one document, for tests of merge laws: edits at each, merges between them, and the same reading at all of them
//! in the end, in whatever order they met.

use std::{collections::HashMap, fmt::Debug};

use automerge::{ActorId, AutoCommit, Change, transaction::CommitOptions};
use keys::NodeId;
use proptest::prelude::*;

use super::{
    Edit, Open, Payload, Reader, Record, RecordError, Writer,
    shape::{self, PayloadReference},
};

pub(crate) const REPLICAS: usize = 3;

pub(crate) struct Replicas {
    pub(crate) documents: Vec<AutoCommit>,
    payloads: HashMap<PayloadReference, Option<Vec<u8>>>,
    sealed: bool,
    /// Bytes of each change that was made, in order.
    pub(crate) changes: Vec<Vec<u8>>,
}

/// What happens at one of the replicas.
#[derive(Clone, Debug)]
pub(crate) enum Step<E> {
    Edit(usize, E),
    /// The first takes in everything that the second has.
    Merge(usize, usize),
}

/// Any order of edits and merges.
pub(crate) fn steps<E: Debug + Clone + 'static>(
    edit: impl Strategy<Value = E> + 'static,
) -> BoxedStrategy<Vec<Step<E>>> {
    let step = prop_oneof![
        5 => (0..REPLICAS, edit).prop_map(|(replica, edit)| Step::Edit(replica, edit)),
        1 => (0..REPLICAS, 0..REPLICAS).prop_map(|(into, from)| Step::Merge(into, from)),
    ];
    proptest::collection::vec(step, 0..30).boxed()
}

/// Few enough cases that all records together take seconds; no files of failed cases in the tree.
pub(crate) fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

pub(crate) fn node(replica: usize) -> NodeId {
    NodeId([u8::try_from(replica).unwrap() + 1; 32])
}

fn actor(replica: usize) -> ActorId {
    ActorId::from([u8::try_from(replica).unwrap() + 1; 16])
}

/// Stands for real encryption: as long as that (21 bytes more than the text), bound to its context, and not the text.
fn seal(context: &[u8], text: &[u8]) -> Vec<u8> {
    let tag = blake3::Hasher::new_keyed(&[7; 32]).update(context).finalize();
    let mut stream = vec![0; text.len()];
    blake3::Hasher::new_keyed(&[8; 32])
        .update(context)
        .finalize_xof()
        .fill(&mut stream);
    let cipher = text.iter().zip(stream).map(|(text, stream)| text ^ stream);
    [1; 5]
        .into_iter()
        .chain(tag.as_bytes()[..16].iter().copied())
        .chain(cipher)
        .collect()
}

pub(crate) fn open(context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let cipher = sealed.get(21..)?;
    let mut stream = vec![0; cipher.len()];
    blake3::Hasher::new_keyed(&[8; 32])
        .update(context)
        .finalize_xof()
        .fill(&mut stream);
    let text: Vec<u8> = cipher
        .iter()
        .zip(stream)
        .map(|(cipher, stream)| cipher ^ stream)
        .collect();
    (seal(context, &text) == sealed).then_some(text)
}

impl Replicas {
    /// Begins a document at some other node and gives it to all of them. What is personal is sealed.
    pub(crate) fn of<R: Record>(record: &R) -> Self {
        Self::begun_by(98, record)
    }

    /// Begins a document at a node and gives it to all of them.
    pub(crate) fn begun_by<R: Record>(replica: usize, record: &R) -> Self {
        let mut document = AutoCommit::new().with_actor(actor(replica));
        let sealed = R::PERSONAL;
        let mut replicas = Self {
            documents: Vec::new(),
            payloads: HashMap::new(),
            sealed,
            changes: Vec::new(),
        };
        record.validate().unwrap();
        replicas.write(&mut document, |writer| record.write(writer)).unwrap();
        replicas.documents = (0..REPLICAS)
            .map(|replica| document.fork().with_actor(actor(replica)))
            .collect();
        replicas
    }

    fn write(
        &mut self,
        document: &mut AutoCommit,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let mut writer = Writer::new(document, if self.sealed { Some(&seal) } else { None });
        let written = write(&mut writer);
        let payloads = writer.payloads;
        if written.is_err() {
            document.rollback();
            return written;
        }
        if document.commit_with(CommitOptions::default().with_time(0)).is_some() {
            self.changes
                .push(document.get_last_local_change().unwrap().raw_bytes().to_vec());
        }
        for payload in payloads {
            self.payloads.insert(shape::reference_of(&payload), Some(payload));
        }
        Ok(())
    }

    pub(crate) fn edit<E: Edit>(&mut self, replica: usize, edit: &E) -> Result<(), RecordError> {
        let mut document = std::mem::take(&mut self.documents[replica]);
        let result = self.write(&mut document, |writer| edit.apply(writer));
        self.documents[replica] = document;
        result
    }

    /// Writes as somebody would who keeps to no limit.
    pub(crate) fn forge(&mut self, replica: usize, write: impl FnOnce(&mut AutoCommit)) {
        write(&mut self.documents[replica]);
        self.documents[replica].commit();
    }

    pub(crate) fn merge(&mut self, into: usize, from: usize) {
        let mut other = self.documents[from].clone();
        self.documents[into].merge(&mut other).unwrap();
    }

    /// Gives the last change to one replica; far faster than a merge.
    pub(crate) fn pass_on(&mut self, into: usize) {
        let change = Change::from_bytes(self.changes.last().unwrap().clone()).unwrap();
        self.documents[into].apply_changes([change]).unwrap();
    }

    pub(crate) fn merge_all(&mut self) {
        for (into, from) in [(0, 1), (0, 2), (1, 0), (2, 0)] {
            self.merge(into, from);
        }
    }

    /// Drops every ciphertext, as an erasure does.
    pub(crate) fn erase(&mut self) {
        self.payloads.values_mut().for_each(|payload| *payload = None);
    }

    pub(crate) fn read<R: Record>(&self, replica: usize) -> R {
        self.try_read(&self.documents[replica]).unwrap()
    }

    pub(crate) fn try_read<R: Record>(&self, document: &AutoCommit) -> Result<R, RecordError> {
        self.read_with(document, &open)
    }

    pub(crate) fn read_with<R: Record>(&self, document: &AutoCommit, open: Open<'_>) -> Result<R, RecordError> {
        self.read_by(document, open, R::read)
    }

    pub(crate) fn read_by<T>(&self, document: &AutoCommit, open: Open<'_>, read: impl FnOnce(&Reader<'_>) -> T) -> T {
        let payload = |reference: &PayloadReference| match self.payloads.get(reference) {
            Some(Some(payload)) => Payload::Here(payload),
            Some(None) => Payload::Erased,
            None => Payload::Missing,
        };
        let author = |actor: &ActorId| {
            let first = *actor.to_bytes().first()?;
            (first < 99).then_some(NodeId([first; 32]))
        };
        read(&Reader {
            document,
            payload: &payload,
            open,
            author: &author,
        })
    }

    /// Takes the steps; what a limit refuses is left out, as it would be.
    pub(crate) fn take<E: Edit>(&mut self, steps: &[Step<E>]) {
        for step in steps {
            match step {
                Step::Edit(replica, edit) => {
                    let _ = self.edit(*replica, edit);
                }
                Step::Merge(into, from) => self.merge(*into, *from),
            }
        }
    }

    /// Merges in every order, once more, and change by change; asserts that everything reads alike, and returns what it says.
    pub(crate) fn agreed<R: Record + PartialEq + Debug>(&mut self) -> R {
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let mut expected: Option<R> = None;
        for order in orders {
            let mut merged = self.documents[order[0]].clone();
            // The last one twice: what is known already changes nothing.
            for other in [order[1], order[2], order[2]] {
                merged.merge(&mut self.documents[other].clone()).unwrap();
            }
            let read: R = self.try_read(&merged).unwrap();
            let mut backwards = AutoCommit::new();
            let changes: Vec<_> = merged.get_changes(&[]).into_iter().rev().collect();
            backwards.apply_changes(changes).unwrap();
            assert_eq!(
                self.try_read::<R>(&backwards).unwrap(),
                read,
                "in another order of changes"
            );
            match &expected {
                Some(expected) => assert_eq!(&read, expected, "merged in the order {order:?}"),
                None => expected = Some(read),
            }
        }
        expected.unwrap()
    }
}
