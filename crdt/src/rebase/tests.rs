//! Tests of [`super`]: a document on a base reads, judges and writes as the one with the whole history does.

use automerge::{AutoCommit, ObjId, ROOT, ReadDoc, ScalarValue, transaction::Transactable};
use keys::NodeKey;
use proptest::prelude::*;

use super::{base::BASE, showing::FILLER, *};
use crate::{
    envelope::Envelope,
    facts::ChangeHash,
    ingress::{Judgement, Right, judge},
    limits::BASE_BYTES_MAX,
    view::{View, actor, stored_change},
};

const REPLICAS: usize = 3;

fn key(author: usize) -> NodeKey {
    NodeKey::from_seed(&[author as u8 + 1; 32])
}

/// What happens at one of three nodes.
#[derive(Clone, Debug)]
enum Step {
    Put(usize, u8, u8),
    Delete(usize, u8),
    /// A process start: the node writes under another actor from now on.
    Restart(usize),
    Merge(usize, usize),
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let node = || 0..REPLICAS;
    let step = prop_oneof![
        8 => (node(), 0u8..4, any::<u8>()).prop_map(|(node, key, value)| Step::Put(node, key, value)),
        2 => (node(), 0u8..4).prop_map(|(node, key)| Step::Delete(node, key)),
        1 => node().prop_map(Step::Restart),
        3 => (node(), node()).prop_map(|(into, from)| Step::Merge(into, from)),
    ];
    proptest::collection::vec(step, 0..most)
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Three nodes with one document.
struct Nodes {
    views: Vec<View>,
    boots: [u8; REPLICAS],
    document: ContentId,
    /// In the order in which they were made.
    envelopes: Vec<Envelope>,
}

fn sign(
    view: &mut View,
    author: usize,
    boot: u8,
    document: Option<ContentId>,
    write: impl FnOnce(&mut AutoCommit),
) -> Option<Envelope> {
    let node = key(author).id();
    view.document.set_actor(actor(&node, &[boot; 16], b"test"));
    write(&mut view.document);
    view.document.commit()?;
    let change = view.written().unwrap();
    let bytes = change.raw_bytes().to_vec();
    let kind = RecordKind::Settings;
    let envelope = Envelope::seal(&key(author), kind, document, None, bytes, Vec::new()).unwrap();
    view.facts.add(&envelope, &change);
    Some(envelope)
}

impl Nodes {
    fn new() -> Self {
        let mut first = View::empty(RecordKind::Settings, None);
        let genesis = sign(&mut first, 0, 0, None, |document| document.put(ROOT, "k9", 0).unwrap()).unwrap();
        let views = (0..REPLICAS).map(|_| whole(std::slice::from_ref(&genesis))).collect();
        Self {
            views,
            boots: [1; REPLICAS],
            document: genesis.document,
            envelopes: vec![genesis],
        }
    }

    fn write(&mut self, node: usize, write: impl FnOnce(&mut AutoCommit)) {
        let written = sign(
            &mut self.views[node],
            node,
            self.boots[node],
            Some(self.document),
            write,
        );
        self.envelopes.extend(written);
    }

    fn put(&mut self, node: usize, key: u8, value: u8) {
        self.write(node, |document| {
            document.put(ROOT, format!("k{key}"), u64::from(value)).unwrap()
        });
    }

    fn merge(&mut self, into: usize, from: usize) {
        let known = |view: &View, envelope: &Envelope| {
            let hash = stored_change(envelope).unwrap().hash().0;
            view.facts.highest_of(&hash).is_some()
        };
        let missing = self.envelopes.iter();
        let missing =
            missing.filter(|envelope| known(&self.views[from], envelope) && !known(&self.views[into], envelope));
        let missing: Vec<Envelope> = missing.cloned().collect();
        self.views[into].extend(&missing).unwrap();
    }

    fn take(&mut self, steps: &[Step]) {
        for step in steps {
            match *step {
                Step::Put(node, key, value) => self.put(node, key, value),
                Step::Delete(node, key) => self.write(node, |document| {
                    document.delete(ROOT, format!("k{key}")).unwrap();
                }),
                Step::Restart(node) => self.boots[node] += 1,
                Step::Merge(into, from) => self.merge(into, from),
            }
        }
    }

    /// The base of what a node has.
    fn base(&mut self, node: usize) -> Base {
        let heads = self.views[node].facts.heads();
        Base::of(self.document, &mut self.views[node], &heads).unwrap()
    }
}

fn whole(envelopes: &[Envelope]) -> View {
    View::build(RecordKind::Settings, None, &[], envelopes)
}

fn on(base: &Base, envelopes: &[Envelope]) -> View {
    on_all(std::slice::from_ref(base), envelopes)
}

fn on_all(bases: &[Base], envelopes: &[Envelope]) -> View {
    let stays = |envelope: &&Envelope| !bases.iter().any(|base| base.drops(envelope));
    let stays: Vec<Envelope> = envelopes.iter().filter(stays).cloned().collect();
    View::build(RecordKind::Settings, None, bases, &stays)
}

/// Every value of every key, which counts first, under which operation and by which node.
fn content(view: &View) -> Vec<(String, String)> {
    let keys: Vec<String> = view.document.keys(ROOT).filter(|key| key != FILLER).collect();
    let values = keys.into_iter().flat_map(|key| {
        let counts = view.document.get(ROOT, key.as_str()).unwrap().unwrap();
        let all = view.document.get_all(ROOT, key.as_str()).unwrap();
        std::iter::once(counts)
            .chain(all)
            .map(move |value| (key.clone(), value))
    });
    let told = values.map(|(key, (value, id))| {
        let ObjId::Id(counter, actor, _) = id else {
            panic!("a value has an id")
        };
        let author = view.facts.author_of(actor.to_bytes());
        (key, format!("{value:?} {counter} {actor} {author:?}"))
    });
    told.collect()
}

fn is_accepted(view: &View, envelope: &Envelope) -> bool {
    let judged = judge(
        envelope,
        Some(&view.facts),
        Right::Member,
        crate::replica::Recoveries::default(),
    );
    matches!(judged, Judgement::Accept(_))
}

proptest! {
    #![proptest_config(config())]

    /// The law on which everything else stands: whatever was written before, after and beside the rebase, knowing of it or not,
    /// a view on the base reads as one of the whole history, and both judge alike.
    #[test]
    fn on_a_base_everything_reads_as_with_its_history(
        before in steps(30),
        after in steps(30),
        node in 0..REPLICAS,
        writer in 0..REPLICAS,
        order in any::<prop::sample::Index>(),
    ) {
        let mut nodes = Nodes::new();
        nodes.take(&before);
        let base = nodes.base(node);
        prop_assert_eq!(&Base::open(&base.to_bytes()).unwrap(), &base);
        let there = on(&base, &nodes.envelopes[..0]);
        prop_assert_eq!(content(&there), content(&nodes.views[node]), "the base alone");
        prop_assert!(there.facts.changes.is_empty());
        // One of the nodes goes on from the base, the others do not know of it.
        let writer_has = nodes.views[writer].facts.clone();
        let held: Vec<Envelope> = nodes.envelopes.iter().filter(|envelope| {
            let hash = stored_change(envelope).unwrap().hash().0;
            writer_has.changes.contains_key(&hash) || base.highest_of(&hash).is_some()
        }).cloned().collect();
        nodes.views[writer] = on(&base, &held);
        nodes.take(&after);
        let full = whole(&nodes.envelopes);
        let mut rotated = nodes.envelopes.clone();
        rotated.rotate_left(order.index(nodes.envelopes.len()));
        let based = on(&base, &rotated);
        prop_assert_eq!(content(&based), content(&full));
        // Change by change, as they come.
        let mut growing = on(&base, &[]);
        let mut all = whole(&nodes.envelopes[..1]);
        for envelope in &nodes.envelopes[1..] {
            let change = stored_change(envelope).unwrap();
            let is_covered = base.highest_of(&change.hash().0).is_some();
            prop_assert!(is_accepted(&all, envelope));
            prop_assert_eq!(is_accepted(&growing, envelope), !is_covered);
            all.apply(envelope, change.clone()).unwrap();
            if !is_covered {
                growing.apply(envelope, change).unwrap();
            }
        }
        prop_assert_eq!(content(&growing), content(&full));
        prop_assert_eq!(content(&all), content(&full));
    }

    /// The next base is the same whether it is made from the whole history or on top of an older base.
    #[test]
    fn a_base_is_a_function_of_what_it_covers(before in steps(20), after in steps(20)) {
        let mut nodes = Nodes::new();
        nodes.take(&before);
        let first = nodes.base(0);
        nodes.take(&after);
        nodes.put(0, 1, 1);
        for from in 1..REPLICAS {
            nodes.merge(0, from);
        }
        nodes.put(0, 2, 2);
        let second = nodes.base(0);
        let mut based = on(&first, &nodes.envelopes);
        let heads = based.facts.heads();
        prop_assert_eq!(heads.as_slice(), second.heads());
        let again = Base::of(nodes.document, &mut based, &heads).unwrap();
        prop_assert_eq!(&again, &second);
        // With more on top, the base of the same heads is the same.
        nodes.put(1, 3, 3);
        nodes.put(0, 3, 4);
        let mut full = whole(&nodes.envelopes);
        prop_assert_eq!(&Base::of(nodes.document, &mut full, &heads).unwrap(), &second);
        prop_assert!(second.contains(&first) && !first.contains(&second));
        prop_assert_eq!(content(&on(&second, &nodes.envelopes)), content(&full));
    }

    /// Of bases that neither contains the other, together and with what no one of them covers.
    #[test]
    fn several_bases_read_as_what_they_cover_together(before in steps(30), after in steps(30), nodes in Just([0, 1, 2]).prop_shuffle()) {
        let [one, other, last] = nodes;
        let mut nodes = Nodes::new();
        nodes.take(&before);
        let first = nodes.base(one);
        nodes.take(&after);
        let bases = [first, nodes.base(other), nodes.base(last)];
        let full = whole(&nodes.envelopes);
        let together = on_all(&bases, &nodes.envelopes);
        prop_assert_eq!(content(&together), content(&full));
        let [a, b, c] = bases;
        let joined = a.clone().join(&b).join(&c);
        prop_assert_eq!(&c.clone().join(&b).join(&a), &joined);
        prop_assert_eq!(&joined.clone().join(&b), &joined);
        for base in [&a, &b, &c] {
            prop_assert!(joined.contains(base));
        }
        // What is made on top of them is what is made of the whole history.
        let mut heads = full.facts.heads();
        heads.sort_unstable();
        let mut views = [full, together];
        let made = views.each_mut().map(|view| Base::of(nodes.document, view, &heads));
        match made {
            [Ok(full), Ok(together)] => prop_assert_eq!(full, together),
            [Ok(full), Err(RebaseRefusal::NothingNew)] => prop_assert_eq!(full, joined),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn bytes_are_refused_or_read_as_one_base(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [&[BASE][..], &bytes].concat();
        if let Ok(base) = Base::open(&bytes) {
            prop_assert_eq!(base.to_bytes(), bytes);
        }
    }
}

fn overwritten(times: u16) -> Nodes {
    let mut nodes = Nodes::new();
    for number in 0..times {
        nodes.put(0, 1, number as u8);
    }
    nodes
}

#[test]
fn a_snapshot_of_a_document_on_a_base_is_written_on() {
    let mut nodes = overwritten(100);
    let base = nodes.base(0);
    nodes.views[0] = on(&base, &nodes.envelopes);
    nodes.put(0, 2, 7);
    let bytes = nodes.views[0].snapshot().unwrap();
    nodes.views[0] = View::from_snapshot(&bytes).unwrap();
    nodes.put(0, 3, 8);
    nodes.merge(1, 0);
    assert_eq!(content(&nodes.views[1]), content(&nodes.views[0]));
    assert_eq!(content(&nodes.views[1]), content(&whole(&nodes.envelopes)));
}

#[test]
fn every_flipped_bit_of_a_base_is_another_base_or_none() {
    let base = overwritten(20).base(0);
    let bytes = base.to_bytes();
    let mut shown = 0;
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = Base::open(&damaged) {
            assert_ne!(other.id(), base.id(), "bit {bit}");
            // Whatever it says, it is shown or not, and automerge's panics stay inside.
            shown += usize::from(other.can_be_shown());
        }
    }
    assert!(shown > 0, "some say something else");
    for length in 0..bytes.len() {
        assert_eq!(Base::open(&bytes[..length]), Err(BaseError::Malformed));
    }
    let large = vec![BASE; BASE_BYTES_MAX + 1];
    assert_eq!(Base::open(&large), Err(BaseError::TooLarge(BASE_BYTES_MAX + 1)));
}

/// The control: it is the base that makes a change of a node that was away understood, not what is left of the history.
#[test]
fn without_the_base_nobody_can_judge_what_was_written_beside_it() {
    let mut nodes = overwritten(20);
    nodes.merge(1, 0);
    nodes.put(0, 1, 99);
    let base = nodes.base(0);
    nodes.put(1, 2, 7);
    let late = nodes.envelopes.last().unwrap().clone();
    let left: Vec<Envelope> = nodes.envelopes[..22]
        .iter()
        .filter(|envelope| !base.drops(envelope))
        .cloned()
        .collect();
    assert_eq!(left.len(), 1, "what certifies the document");
    assert!(is_accepted(&on(&base, &left), &late));
    assert!(!is_accepted(&whole(&left), &late));
    assert_ne!(content(&whole(&left)), content(&on(&base, &left)));
}

#[test]
fn what_cannot_be_kept_under_its_operation_is_refused() {
    let refused = |write: fn(&mut AutoCommit)| {
        let mut nodes = Nodes::new();
        nodes.write(0, write);
        let heads = nodes.views[0].facts.heads();
        Base::of(nodes.document, &mut nodes.views[0], &heads)
    };
    let shape = Err(RebaseRefusal::Shape);
    assert_eq!(
        refused(|document| {
            document.put_object(ROOT, "map", automerge::ObjType::Map).unwrap();
        }),
        shape
    );
    // Also when it counts no more: somebody may still write into it.
    assert_eq!(
        refused(|document| {
            document.put_object(ROOT, "k1", automerge::ObjType::Map).unwrap();
            document.put(ROOT, "k1", 1).unwrap();
        }),
        shape
    );
    assert_eq!(
        refused(|document| document.put(ROOT, "count", ScalarValue::counter(1)).unwrap()),
        shape
    );
    assert!(refused(|document| document.put(ROOT, "text", "plain").unwrap()).is_ok());
    let mut nodes = Nodes::new();
    let document = nodes.document;
    let mut of = |heads: &[ChangeHash]| Base::of(document, &mut nodes.views[0], heads);
    assert_eq!(of(&[]), Err(RebaseRefusal::TooLarge));
    assert_eq!(of(&[[7; 32]]), Err(RebaseRefusal::Incomplete));
}

#[test]
fn a_turn_taken_anew_after_the_rebase_is_beside_on_every_node() {
    let mut nodes = overwritten(20);
    nodes.merge(1, 0);
    // The same node writes again in a turn that it has had: the first after the document's first change.
    let mut twin = whole(&nodes.envelopes[..1]);
    let document = Some(nodes.document);
    let rival = sign(&mut twin, 0, 1, document, |document| {
        document.put(ROOT, "k1", "rival").unwrap()
    })
    .unwrap();
    let base = nodes.base(0);
    let with_rival = [nodes.envelopes.clone(), vec![rival.clone()]].concat();
    let at_once = on(&base, &with_rival);
    let mut later = on(&base, &nodes.envelopes);
    assert!(is_accepted(&later, &rival));
    let effect = later.apply(&rival, stored_change(&rival).unwrap()).unwrap();
    assert_ne!(effect, crate::facts::Effect::Extends);
    for view in [&at_once, &later] {
        assert_eq!(content(view), content(&nodes.views[0]));
        assert_eq!(view.facts.forks(), [(stored_change(&rival).unwrap().hash().0, None)]);
    }
}

/// Until it hears of the base, such a node shows the rival, which has the smaller hash.
#[test]
fn a_node_on_which_a_rival_has_won_makes_the_same_base() {
    let mut nodes = overwritten(20);
    let base = nodes.base(0);
    let document = Some(nodes.document);
    let first = stored_change(&nodes.envelopes[1]).unwrap().hash();
    let rivals = (0u64..).map(|number| {
        let mut twin = whole(&nodes.envelopes[..1]);
        sign(&mut twin, 0, 1, document, |document| {
            document.put(ROOT, "k1", number).unwrap()
        })
        .unwrap()
    });
    let mut winners = rivals.filter(|rival| stored_change(rival).unwrap().hash() < first);
    let rival = winners.next().unwrap();
    let all = [nodes.envelopes.clone(), vec![rival]].concat();
    let mut forked = whole(&all);
    assert_ne!(content(&forked), content(&nodes.views[0]));
    assert_eq!(
        Base::of(nodes.document, &mut forked, base.heads()),
        Err(RebaseRefusal::Forked)
    );
    let mut below = forked.below(base.heads(), &[], &all);
    assert_eq!(Base::of(nodes.document, &mut below, base.heads()).unwrap(), base);
    assert_eq!(content(&on(&base, &all)), content(&nodes.views[0]));
}
