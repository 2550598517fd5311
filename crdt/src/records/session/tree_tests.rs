//! Tests of [`super`]: what is shown of chats with branches, further answers, edited questions and splits.

use keys::{ContentId, Timestamp};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::*;
use crate::records::session::{Ending, EntryId, Sealed, another_answer_id};

const CHAT: ContentId = ContentId([2; 32]);

/// A chat that is written step by step.
struct Script(Session);

impl Script {
    fn new() -> Self {
        Self(Session::new(ContentId([1; 32]), ContentId([3; 32]), Timestamp(0)))
    }

    fn add(&mut self, message: Message) -> MessageId {
        let id = message.id;
        let from = self.0.messages.partition_point(|other| other.id < id);
        self.0.messages.insert(from, message);
        id
    }

    fn say(&mut self, text: &str, parent: Option<MessageId>, at: u64) -> MessageId {
        self.add(Message::from_person(text, text, &CHAT, parent, Timestamp(at)))
    }

    fn answer(&mut self, question: MessageId, text: &str, at: u64) -> MessageId {
        self.add(Message::answer(question, text, Timestamp(at), "m", Ending::Complete))
    }

    fn answer_again(&mut self, question: MessageId, text: &str, at: u64) -> MessageId {
        let mut message = Message::answer(question, text, Timestamp(at), "m", Ending::Complete);
        message.id = another_answer_id(question, text, Timestamp(at));
        self.add(message)
    }

    fn edit(&mut self, replaced: MessageId, text: &str, at: u64) -> MessageId {
        let parent = self
            .0
            .messages
            .iter()
            .find(|message| message.id == replaced)
            .unwrap()
            .parent;
        let mut message = Message::from_person(text, text, &CHAT, parent, Timestamp(at));
        message.place = Place::Replaces(replaced);
        self.add(message)
    }

    fn tree(&self) -> Tree {
        Tree::of(&self.0)
    }

    fn texts(&self, ids: &[MessageId]) -> String {
        let text = |id: &MessageId| {
            let message = self.0.messages.iter().find(|message| message.id == *id).unwrap();
            message.text.text().to_owned()
        };
        ids.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    fn shown(&self) -> String {
        self.texts(&self.tree().main_path(None))
    }
}

#[test]
fn a_plain_chat_is_one_line() {
    let mut script = Script::new();
    let q1 = script.say("q1", None, 10);
    let a1 = script.answer(q1, "a1", 11);
    let q2 = script.say("q2", Some(a1), 20);
    let a2 = script.answer(q2, "a2", 21);
    let tree = script.tree();
    assert_eq!(script.shown(), "q1 a1 q2 a2");
    assert_eq!(script.texts(&tree.path_to(q2)), "q1 a1 q2");
    assert_eq!((tree.parent(a2), tree.parent(q1)), (Some(q2), None));
    assert_eq!(tree.children(Some(a1)), [q2]);
    assert_eq!(tree.children(None), [q1]);
    assert!(tree.children(Some(a2)).is_empty());
    let unknown = EntryId::new(Timestamp(9), 9);
    assert!(tree.path_to(unknown).is_empty() && tree.path_through(unknown).is_empty());
    assert!(tree.alternatives(unknown).is_empty());
    assert!(Script::new().tree().main_path(None).is_empty());
}

#[test]
fn five_answers_to_one_question_are_alternatives_and_the_chosen_one_is_shown() {
    let mut script = Script::new();
    let question = script.say("q", None, 10);
    let mut answers = vec![script.answer(question, "a1", 11)];
    for number in 2..=5u64 {
        answers.push(script.answer_again(question, &format!("a{number}"), 20 + number));
    }
    assert_eq!(script.tree().children(Some(question)), answers);
    assert_eq!(script.tree().alternatives(answers[3]), answers);
    // All are as long: the smaller hash decides, the same everywhere.
    let smallest = answers.iter().min_by_key(|id| id.hash_half()).copied().unwrap();
    assert_eq!(script.tree().main_path(None), [question, smallest]);
    for chosen in &answers {
        script.0.current = Some(*chosen);
        assert_eq!(script.tree().main_path(None), [question, *chosen]);
    }
    // Longer wins over hash, as long as nothing is chosen.
    script.0.current = None;
    let longer = answers.iter().copied().find(|id| *id != smallest).unwrap();
    let next = script.say("next", Some(longer), 40);
    assert_eq!(script.tree().main_path(None), [question, longer, next]);
    script.0.current = Some(smallest);
    assert_eq!(script.tree().main_path(None), [question, smallest]);
}

#[test]
fn an_edited_question_begins_a_branch_and_the_old_one_stays_reachable() {
    let mut script = Script::new();
    let mut last = None;
    let mut questions = Vec::new();
    for number in 1..=5u64 {
        let question = script.say(&format!("q{number}"), last, number * 10);
        questions.push(question);
        last = Some(script.answer(question, &format!("a{number}"), number * 10 + 1));
    }
    let edited = script.edit(questions[1], "q2'", 100);
    script.answer(edited, "a2'", 101);
    let again = script.edit(edited, "q2''", 110);
    let old = "q1 a1 q2 a2 q3 a3 q4 a4 q5 a5";
    assert_eq!(script.shown(), old, "the longer one is shown until another is chosen");
    script.0.current = Some(edited);
    assert_eq!(script.shown(), "q1 a1 q2' a2'");
    let tree = script.tree();
    assert_eq!(tree.alternatives(edited), [questions[1], edited, again]);
    assert_eq!(script.texts(&tree.path_through(questions[1])), old);
    assert_eq!(script.texts(&tree.path_through(again)), "q1 a1 q2''");
    // The chat goes on in the new branch.
    let a2 = answer_of(&script, edited);
    script.say("q3'", Some(a2), 120);
    assert_eq!(script.shown(), "q1 a1 q2' a2' q3'");
}

fn answer_of(script: &Script, question: MessageId) -> MessageId {
    let answers = script.0.messages.iter().filter(|message| !message.is_from_person());
    answers
        .filter(|message| message.parent == Some(question))
        .map(|message| message.id)
        .next()
        .unwrap()
}

#[test]
fn what_two_devices_wrote_in_a_split_stands_one_behind_the_other() {
    let mut script = Script::new();
    let q1 = script.say("q1", None, 10);
    let a1 = script.answer(q1, "a1", 11);
    for (device, from) in [("b", 20), ("c", 21)] {
        let mut last = a1;
        for number in 0..3u64 {
            let question = script.say(&format!("{device}{number}"), Some(last), from + 100 * number);
            last = script.answer(question, &format!("{device}{number}'"), from + 100 * number + 1);
        }
    }
    assert_eq!(
        script.shown(),
        "q1 a1 b0 b0' b1 b1' b2 b2' c0 c0' c1 c1' c2 c2'",
        "nothing is hidden"
    );
    // Both devices also edited the same old message: both edits are there.
    let first = script.edit(q1, "q1 at b", 500);
    let second = script.edit(q1, "q1 at c", 501);
    assert_eq!(script.tree().alternatives(q1), [q1, first, second]);
    // What is edited in the later chain is an alternative there.
    let c0 = script.tree().main_path(None)[8];
    let edited = script.edit(c0, "c0 edited", 600);
    assert_eq!(script.tree().alternatives(edited), [c0, edited]);
    script.0.current = Some(edited);
    assert_eq!(script.shown(), "q1 a1 b0 b0' b1 b1' b2 b2' c0 edited");
}

#[test]
fn a_question_sent_before_the_answer_came_follows_the_answer() {
    let mut script = Script::new();
    let q1 = script.say("q1", None, 10);
    let q2 = script.say("q2", Some(q1), 12);
    assert_eq!(script.shown(), "q1 q2");
    let a1 = script.answer(q1, "a1", 20);
    assert_eq!(script.shown(), "q1 a1 q2");
    script.answer(q2, "a2", 21);
    assert_eq!(script.shown(), "q1 a1 q2 a2");
    // Another answer takes its place when it is chosen, and what follows follows it.
    let other = script.answer_again(q1, "a1'", 30);
    script.0.current = Some(other);
    assert_eq!(script.shown(), "q1 a1' q2 a2");
    assert_eq!(script.tree().alternatives(other).len(), 2);
    assert!(script.tree().alternatives(a1).contains(&other));
}

#[test]
fn branches_begun_on_purpose_are_alternatives() {
    let mut script = Script::new();
    let q1 = script.say("q1", None, 10);
    let a1 = script.answer(q1, "a1", 11);
    let q2 = script.say("q2", Some(a1), 20);
    script.answer(q2, "a2", 21);
    let mut branch = Message::from_person("b", "b", &CHAT, Some(a1), Timestamp(30));
    branch.place = Place::Branches;
    let branch = script.add(branch);
    assert_eq!(script.shown(), "q1 a1 q2 a2");
    assert_eq!(script.tree().children(Some(a1)), [q2, branch]);
    script.0.current = Some(branch);
    assert_eq!(script.shown(), "q1 a1 b");
}

#[test]
fn dialogues_stand_apart_and_deleted_messages_are_passed_over() {
    let mut script = Script::new();
    let q1 = script.say("q1", None, 10);
    let a1 = script.answer(q1, "a1", 11);
    let thread = EntryId::new(Timestamp(50), 5);
    script.0.threads.push(thread);
    let greeting = script.add(Message::greeting("hello", &CHAT, Some(thread), 0, Timestamp(51)));
    let other = script.add(Message::greeting("hi", &CHAT, Some(thread), 1, Timestamp(51)));
    let q2 = script.say("q2", Some(greeting), 60);
    let tree = script.tree();
    assert_eq!(script.shown(), "q1 a1");
    assert_eq!(script.texts(&tree.main_path(Some(thread))), "hello q2");
    let mut greetings = [greeting, other];
    greetings.sort();
    assert_eq!(tree.children(Some(thread)), greetings);
    assert_eq!(
        (tree.thread_of(q2), tree.thread_of(a1), tree.thread_of(thread)),
        (Some(thread), None, Some(thread))
    );
    assert_eq!(script.texts(&tree.path_to(q2)), "hello q2");
    script.0.deleted.insert(a1);
    let q3 = script.say("q3", Some(a1), 70);
    let tree = script.tree();
    assert_eq!(script.shown(), "q1 q3");
    assert_eq!(tree.parent(q3), Some(a1));
    assert!(tree.path_to(a1) == [q1]);
}

/// Parents that make circles or point nowhere, as nobody's program writes them: every message stays reachable and nothing hangs.
#[test]
fn circles_and_unknown_parents_do_no_harm() {
    let mut script = Script::new();
    let ids: Vec<MessageId> = (0..6)
        .map(|number| script.say(&number.to_string(), None, 10 + number))
        .collect();
    for number in 0..6 {
        script.0.messages[number].parent = Some(ids[(number + 1) % 6]);
        script.0.messages[number].place = Place::Replaces(ids[(number + 2) % 6]);
    }
    script.0.current = Some(ids[3]);
    let tree = script.tree();
    for id in &ids {
        assert_eq!(tree.path_to(*id).last(), Some(id));
    }
}

/// Whatever is written, each message stands in one place, and each is shown on the path through itself.
#[test]
fn every_tree_is_whole_and_depends_on_nothing_but_the_messages() {
    for seed in 0..200u64 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut script = Script::new();
        let mut ids: Vec<MessageId> = Vec::new();
        for number in 0..40u64 {
            let pick = |random: &mut ChaCha8Rng| ids.get(random.next_u32() as usize % (ids.len() + 1)).copied();
            let (at, parent, text) = (10 * number + 10, pick(&mut random), number.to_string());
            let id = match (random.next_u32() % 5, parent) {
                (0 | 1, Some(parent)) => script.answer_again(parent, &text, at),
                (2, Some(parent)) => script.edit(parent, &text, at),
                _ => script.say(&text, parent, at),
            };
            ids.push(id);
        }
        if random.next_u32().is_multiple_of(2) {
            script.0.current = Some(ids[7]);
        }
        let tree = script.tree();
        let mut placed: Vec<MessageId> = tree.children.values().flatten().copied().collect();
        placed.sort();
        let mut all = ids.clone();
        all.sort();
        assert_eq!(placed, all, "seed {seed}: every message in exactly one place");
        for id in &ids {
            assert!(tree.path_through(*id).contains(id), "seed {seed}");
        }
        if let Some(current) = script.0.current {
            assert!(
                tree.main_path(None).contains(&current),
                "seed {seed}: the chosen message is shown"
            );
        }
        assert_eq!(tree, script.tree());
    }
}

/// Twenty thousand messages in one line and as one star: no recursion, no squares.
#[test]
fn large_chats_are_built() {
    let message = |number: u64, parent: Option<MessageId>| {
        let mut message = Message::from_person("x", &number.to_string(), &CHAT, parent, Timestamp(number + 1));
        message.text = Sealed::Erased;
        message
    };
    let mut line = Script::new();
    let mut last = None;
    for number in 0..20_000 {
        let next = message(number, last);
        last = Some(next.id);
        line.0.messages.push(next);
    }
    assert_eq!(line.tree().main_path(None).len(), 20_000);
    let mut star = Script::new();
    let first = message(0, None);
    let center = first.id;
    star.0.messages.push(first);
    star.0
        .messages
        .extend((1..20_000).map(|number| message(number, Some(center))));
    assert_eq!(star.tree().main_path(None).len(), 20_000, "one behind the other");
}
