//! Random histories of the index against plain maps, over both databases, with restarts and crashes at random points.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    tests::{RedbStore, SledStore, at, id},
    *,
};

const KINDS: [RecordKind; 3] = [RecordKind::Member, RecordKind::Session, RecordKind::Character];

#[derive(Clone, Debug)]
enum Action {
    Apply(Vec<IndexChange>),
    Load(Vec<IndexChange>),
    Reopen,
    Verify,
    Compact,
}

fn lane() -> impl Strategy<Value = Lane> {
    prop::sample::select(Lane::ALL.to_vec())
}

/// Few ids and fewer groups, so that changes meet.
fn change() -> impl Strategy<Value = IndexChange> {
    let record = || (lane(), 0..5_u32, 0..40_u32);
    let document = || (0..12_u32).prop_map(id);
    prop_oneof![
        5 => (record(), 0..5000_u32).prop_map(|((lane, group, record), place)| IndexChange::Put {
            lane,
            group: Group::of(&id(group)),
            id: id(record),
            position: at(place),
        }),
        2 => record().prop_map(|(lane, group, record)| IndexChange::Remove {
            lane,
            group: Group::of(&id(group)),
            id: id(record),
        }),
        3 => (document(), prop::sample::select(KINDS.to_vec()), prop::option::of((0..4_u32).prop_map(id)))
            .prop_map(|(document, kind, owner)| IndexChange::Document { document, kind, owner }),
        1 => document().prop_map(|document| IndexChange::ForgetDocument { document }),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => prop::collection::vec(change(), 0..30).prop_map(Action::Apply),
        4 => prop::collection::vec(change(), 0..30).prop_map(|mut changes| {
            // What stands in a journal.
            changes.retain(|change| matches!(change, IndexChange::Put { .. } | IndexChange::Document { .. }));
            Action::Load(changes)
        }),
        1 => Just(Action::Reopen),
        1 => Just(Action::Verify),
        1 => Just(Action::Compact),
    ]
}

#[derive(Clone, Default)]
struct Model {
    records: BTreeMap<(Lane, Group, ContentId), Position>,
    documents: BTreeMap<ContentId, (RecordKind, Option<ContentId>)>,
    checkpoint: Option<Position>,
}

impl Model {
    fn apply(&mut self, changes: &[IndexChange], checkpoint: Position) {
        for change in changes {
            match *change {
                IndexChange::Put {
                    lane,
                    group,
                    id,
                    position,
                } => {
                    self.records.insert((lane, group, id), position);
                }
                IndexChange::Remove { lane, group, id } => {
                    self.records.remove(&(lane, group, id));
                }
                IndexChange::Document { document, kind, owner } => {
                    self.documents.insert(document, (kind, owner));
                }
                IndexChange::ForgetDocument { document } => {
                    self.documents.remove(&document);
                }
            }
        }
        self.checkpoint = Some(checkpoint);
    }

    /// Asks the index everything.
    fn compare<S: IndexStore>(&self, index: &IndexOver<S>) {
        assert_eq!(index.checkpoint(), self.checkpoint);
        for lane in Lane::ALL {
            let mut found = BTreeMap::new();
            index
                .for_each(lane, &mut |group, id, position| {
                    assert!(found.insert((lane, group, id), position).is_none())
                })
                .unwrap();
            let expected: BTreeMap<_, _> = self
                .records
                .iter()
                .filter(|(key, _)| key.0 == lane)
                .map(|(key, value)| (*key, *value))
                .collect();
            assert_eq!(index.len(lane), expected.len() as u64);
            assert_eq!(found, expected);
            for group in (0..5).map(|group| Group::of(&id(group))) {
                for record in (0..40).map(id) {
                    let expected = self.records.get(&(lane, group, record)).copied();
                    assert_eq!(index.position(lane, group, &record), expected);
                }
                let expected: Vec<_> = self
                    .records
                    .iter()
                    .filter(|(key, _)| (key.0, key.1) == (Lane::Envelopes, group))
                    .map(|(key, position)| (key.2, *position))
                    .collect();
                assert_eq!(index.ids_of(Lane::Envelopes, group), expected);
            }
        }
        for document in (0..12).map(id) {
            assert_eq!(index.document(&document), self.documents.get(&document).copied());
        }
        for kind in KINDS {
            assert_eq!(index.documents_of(kind), self.documents_where(|(of, _)| *of == kind));
        }
        for account in (0..4).map(id) {
            assert_eq!(
                index.documents_owned_by(&account),
                self.documents_where(|(_, owner)| *owner == Some(account))
            );
        }
        assert!(!index.rebuild_needed());
    }

    fn documents_where(&self, is_wanted: impl Fn(&(RecordKind, Option<ContentId>)) -> bool) -> Vec<ContentId> {
        self.documents
            .iter()
            .filter(|(_, is)| is_wanted(is))
            .map(|(document, _)| *document)
            .collect()
    }
}

fn run<S: IndexStore>(actions: Vec<Action>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    let open = || {
        let (index, was_damaged) = IndexOver::<S>::open(&path).unwrap();
        assert!(!was_damaged);
        index
    };
    let mut index = open();
    let mut model = Model::default();
    for (number, action) in actions.into_iter().enumerate() {
        match action {
            Action::Apply(changes) => {
                let checkpoint = at(u32::try_from(number).unwrap());
                index.apply(&changes, checkpoint).unwrap();
                model.apply(&changes, checkpoint);
            }
            Action::Load(changes) => {
                let checkpoint = at(u32::try_from(number).unwrap());
                index.load(&changes, checkpoint).unwrap();
                model.apply(&changes, checkpoint);
            }
            Action::Reopen => {
                drop(index);
                index = open();
                model.compare(&index);
            }
            Action::Verify => index.verify().unwrap(),
            Action::Compact => index.compact_now().unwrap(),
        }
    }
    model.compare(&index);
    drop(index);
    model.compare(&open());
}

/// Copies the files of the open index, as a crash would leave them, after every apply; each copy is some state that was applied, or
/// is told to be damaged.
fn crash<S: IndexStore>(batches: Vec<Vec<IndexChange>>) -> (usize, usize) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    let (mut index, _) = IndexOver::<S>::open(&path).unwrap();
    let mut models = BTreeMap::from([(None, Model::default())]);
    let mut model = Model::default();
    let (mut whole, mut told) = (0, 0);
    for (number, changes) in batches.iter().enumerate() {
        let checkpoint = at(u32::try_from(number).unwrap());
        index.apply(changes, checkpoint).unwrap();
        model.apply(changes, checkpoint);
        models.insert(Some(checkpoint), model.clone());
        let crashed = directory.path().join(format!("crash-{number}"));
        copy(&path, &crashed);
        let (crashed, was_damaged) = IndexOver::<S>::open(&crashed).unwrap();
        whole += usize::from(!was_damaged && crashed.checkpoint().is_some());
        told += usize::from(was_damaged);
        models[&crashed.checkpoint()].compare(&crashed);
        // Closing writes everything out: the crashes after it find more than an empty index.
        if number % 3 == 0 {
            drop(index);
            index = IndexOver::<S>::open(&path).unwrap().0;
        }
    }
    (whole, told)
}

/// A copy of a directory with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn sled_answers_like_plain_maps(actions in prop::collection::vec(action(), 1..20)) {
        run::<SledStore>(actions);
    }

    #[test]
    fn redb_answers_like_plain_maps(actions in prop::collection::vec(action(), 1..20)) {
        run::<RedbStore>(actions);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn after_a_crash_redb_holds_a_state_that_was_applied(batches in prop::collection::vec(prop::collection::vec(change(), 1..30), 10)) {
        let (whole, told) = crash::<RedbStore>(batches);
        prop_assert_eq!((whole, told), (10, 0));
    }

    #[test]
    fn after_a_crash_sled_holds_a_state_that_was_applied(batches in prop::collection::vec(prop::collection::vec(change(), 1..30), 10)) {
        let (whole, told) = crash::<SledStore>(batches);
        prop_assert!(whole > 0, "{whole} whole, {told} told to be damaged");
    }
}

#[test]
fn a_model_that_differs_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let (mut index, _) = IndexOver::<SledStore>::open(&directory.path().join("index")).unwrap();
    let mut model = Model::default();
    let change = IndexChange::Document {
        document: id(1),
        kind: RecordKind::Session,
        owner: Some(id(2)),
    };
    index.apply(&[change], at(1)).unwrap();
    model.apply(&[change], at(1));
    model.compare(&index);
    let wrong: [fn(&mut Model); 4] = [
        |model| model.checkpoint = Some(at(2)),
        |model| model.documents.clear(),
        |model| model.documents.extend([(id(1), (RecordKind::Session, Some(id(3))))]),
        |model| {
            model
                .records
                .extend([((Lane::Envelopes, Group::of(&id(1)), id(2)), at(3))])
        },
    ];
    let mut noticed = BTreeSet::new();
    for (number, change) in wrong.into_iter().enumerate() {
        let mut other = model.clone();
        change(&mut other);
        let compared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| other.compare(&index)));
        noticed.extend(compared.is_err().then_some(number));
    }
    assert_eq!(noticed.len(), 4);
}
