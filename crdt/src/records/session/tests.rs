//! Tests of [`super`]: laws of messages, flags, summaries and marks; bytes of a message; three replicas that come to agree.

use automerge::{ObjType, transaction::Transactable};
use proptest::prelude::*;

use super::*;
use crate::records::testing::{REPLICAS, Replicas, config, node, open, steps};

const CHAT: ContentId = ContentId([2; 32]);

fn chat() -> Session {
    Session::new(ContentId([1; 32]), ContentId([3; 32]), Timestamp(1_790_000_000_000))
}

fn said(text: &str, parent: Option<MessageId>, at: u64) -> Message {
    Message::from_person(text, text, &CHAT, parent, Timestamp(at))
}

fn answer(question: MessageId, text: &str, at: u64) -> Message {
    Message::answer(question, text, Timestamp(at), "built-in", Ending::Complete)
}

fn put(replicas: &mut Replicas, replica: usize, message: &Message) {
    replicas
        .edit(replica, &SessionEdit::PutMessage(message.clone()))
        .unwrap();
}

fn choice(candidates: u32) -> AnswerChoice {
    AnswerChoice {
        candidates,
        how: ChoiceHow::Stayed,
        winner: ChoiceCost::new(node(7), "m", [(ChoiceTerm::Decode, 100.25), (ChoiceTerm::Queue, 0.5)]),
        runner_up: None,
    }
}

/// Any of a small set of messages that refer to each other.
fn any_message() -> impl Strategy<Value = Message> {
    (0u64..12, proptest::option::of(0u64..12), 0usize..4).prop_map(|(number, parent, place)| {
        let id = |number: u64| said(&number.to_string(), None, 100 + number).id;
        let parent = parent.filter(|parent| *parent < number).map(id);
        let mut message = said(&number.to_string(), parent, 100 + number);
        match (place, parent) {
            (1, Some(question)) => return answer(question, "an answer", 150 + number),
            (2, _) => message.place = Place::Branches,
            (3, Some(replaced)) => {
                message.place = Place::Replaces(replaced);
                message.parent = None;
            }
            _ => {}
        }
        message
    })
}

fn any_edit() -> impl Strategy<Value = SessionEdit> {
    let id = || any_message().prop_map(|message| message.id);
    let summary = (id(), id(), 0usize..3).prop_map(|(first, last, origin)| Summary {
        first: first.min(last),
        last: first.max(last),
        covers: Coverage::of([first, last]),
        origin: [SummaryOrigin::Extract, SummaryOrigin::Model, SummaryOrigin::Person][origin],
        text: "short".into(),
    });
    prop_oneof![
        6 => any_message().prop_map(SessionEdit::PutMessage),
        1 => (id(), 0u64..5).prop_map(|(message, number)| SessionEdit::PutVersion {
            message,
            version: Version::new(EntryId::new(Timestamp(500 + number), 1), &number.to_string()),
        }),
        1 => (id(), any::<bool>()).prop_map(|(message, deleted)| SessionEdit::SetDeleted { message, deleted }),
        1 => (id(), any::<bool>()).prop_map(|(message, pinned)| SessionEdit::SetPinned { message, pinned }),
        1 => (id(), any::<bool>()).prop_map(|(message, excluded)| SessionEdit::SetExcluded { message, excluded }),
        1 => id().prop_map(SessionEdit::SetRead),
        1 => id().prop_map(SessionEdit::SetCurrent),
        1 => (90u64..110).prop_map(|at| SessionEdit::BeginThread(EntryId::new(Timestamp(at), u128::from(at) << 70))),
        1 => "[a-z]{0,5}".prop_map(SessionEdit::SetTitle),
        1 => ("[a-z]{0,5}", id()).prop_map(|(title, message)| SessionEdit::SetTitleFrom { title, message }),
        1 => summary.prop_map(SessionEdit::PutSummary),
        1 => (id(), 1u32..5).prop_map(|(answer, candidates)| SessionEdit::PutChoice {
            answer,
            choice: Box::new(choice(candidates)),
        }),
        1 => any::<bool>().prop_map(SessionEdit::SetArchived),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn replicas_agree_whatever_was_done_in_which_order(steps in steps(any_edit())) {
        let mut replicas = Replicas::of(&chat());
        replicas.take(&steps);
        let read: Session = replicas.agreed();
        prop_assert!(read.messages.is_sorted_by_key(|message| message.id));
        // Every message can be reached, and the tree says of each where it stands.
        let tree = Tree::of(&read);
        for message in &read.messages {
            let path = tree.path_through(message.id);
            prop_assert_eq!(path.contains(&message.id), !read.deleted.contains(&message.id));
            prop_assert!(tree.alternatives(message.id).contains(&message.id));
        }
    }

    #[test]
    fn a_chat_read_without_its_texts_is_the_same_chat(
        steps in steps(any_edit()), oldest in 0usize..4, newest in 0usize..4,
    ) {
        let mut replicas = Replicas::of(&chat());
        replicas.take(&steps);
        let (mut full, document): (Session, _) = (replicas.read(0), &replicas.documents[0]);
        let ids: Vec<MessageId> = full.messages.iter().map(|message| message.id).collect();
        let mut texts = replicas.read_by(document, &open, |reader| read_texts(reader, &ids));
        let count = ids.len();
        for (place, message) in full.messages.iter_mut().enumerate() {
            prop_assert_eq!(texts.remove(&message.id), Some(message.text.clone()));
            if place >= oldest && place + newest < count {
                message.text = Sealed::Unopened;
                message.versions.iter_mut().for_each(|version| version.text = Sealed::Unopened);
            }
        }
        prop_assert!(texts.is_empty());
        let opening = Opening { oldest, newest };
        let read = replicas.read_by(document, &open, |reader| Session::read_opening(reader, opening));
        prop_assert_eq!(read.unwrap(), full);
    }
}

#[test]
fn texts_of_messages_that_are_not_there_are_left_out() {
    let mut replicas = Replicas::of(&chat());
    let (there, absent) = (said("there", None, 10), said("absent", None, 11));
    put(&mut replicas, 0, &there);
    let ask = |replicas: &Replicas, ids: &[MessageId]| {
        let texts = replicas.read_by(&replicas.documents[0], &open, |reader| read_texts(reader, ids));
        texts.into_iter().collect::<Vec<_>>()
    };
    let ids = [there.id, absent.id];
    assert_eq!(ask(&replicas, &ids), [(there.id, Sealed::from("there"))]);
    replicas.erase();
    assert_eq!(ask(&replicas, &ids), [(there.id, Sealed::Erased)]);
    assert_eq!(ask(&replicas, &[]), []);
}

#[test]
fn what_is_written_is_read() {
    let mut full = chat();
    let thread = EntryId::new(Timestamp(1_790_000_005_000), 77);
    let mut question = said("question", None, 1_790_000_001_000);
    question.speaker = Speaker::Person { gateway: Some(node(7)) };
    let mut first = answer(question.id, "first", 1_790_000_003_000);
    first.speaker = Speaker::Character {
        node: Some(node(8)),
        model: "m".into(),
        ending: Ending::Length,
    };
    let later = Version::new(EntryId::new(Timestamp(1_790_000_004_000), 5), "first, and more");
    let original = Version {
        id: first.id,
        text: first.text.clone(),
        truncated: false,
    };
    first.text = later.text.clone();
    first.versions = vec![original, later];
    let mut edited = said("edited", None, 1_790_000_004_500);
    edited.place = Place::Replaces(question.id);
    edited.speaker = question.speaker.clone();
    let mut anew = said("anew", Some(thread), 1_790_000_006_000);
    anew.speaker = question.speaker.clone();
    full.title = Some("my chat".into());
    full.threads = vec![thread];
    full.current = Some(edited.id);
    full.read = Some(first.id);
    full.deleted = BTreeSet::from([anew.id]);
    full.pinned = BTreeSet::from([question.id]);
    full.excluded = BTreeSet::from([first.id]);
    full.choices = BTreeMap::from([(first.id, choice(3))]);
    full.summaries = vec![Summary {
        first: question.id,
        last: first.id,
        covers: Coverage::of([question.id, first.id]),
        origin: SummaryOrigin::Model,
        text: "they met".into(),
    }];
    full.archived = true;
    full.messages = vec![question, first, edited, anew];
    full.messages.sort_by_key(|message| message.id);
    let mut replicas = Replicas::of(&full);
    assert_eq!(replicas.agreed::<Session>(), full);
    for change in &replicas.changes {
        for text in ["question", "first", "edited", "anew", "my chat", "they met"] {
            let found = change.windows(text.len()).any(|bytes| bytes == text.as_bytes());
            assert!(!found, "{text} in a change");
        }
    }
}

/// The promise of the records to the envelope: its own parts take 172 bytes at most, a sealed text of 200 characters 221.
#[test]
fn a_message_of_200_characters_makes_a_small_change() {
    let mut replicas = Replicas::of(&chat());
    let mut parent = None;
    let mut sizes = Vec::new();
    // A long chat between two nodes that were not the one that began it, as it usually is.
    for number in 0..200u64 {
        let text = format!("{number:0200}");
        let question = said(&text, parent, 1_790_000_000_000 + number * 60_000);
        put(&mut replicas, 1, &question);
        sizes.push(replicas.changes.last().unwrap().len());
        replicas.pass_on(2);
        let reply = answer(question.id, &text, question.at.0 + 2500);
        put(&mut replicas, 2, &reply);
        sizes.push(replicas.changes.last().unwrap().len());
        replicas.pass_on(1);
        parent = Some(reply.id);
    }
    let questions: Vec<usize> = sizes.iter().copied().step_by(2).collect();
    let answers: Vec<usize> = sizes.iter().copied().skip(1).step_by(2).collect();
    println!(
        "question {} to {}, answer {} to {} bytes",
        questions[0], questions[199], answers[0], answers[199]
    );
    assert!(
        questions.iter().all(|size| *size <= 560 - 221 - 172),
        "{:?}",
        questions.iter().max()
    );
    assert!(answers.iter().all(|size| *size <= 190), "{:?}", answers.iter().max());
    assert_eq!(replicas.read::<Session>(1).messages.len(), 400);
}

#[test]
fn who_signed_a_message_is_its_gateway_unless_it_says_another() {
    let mut replicas = Replicas::of(&chat());
    let question = said("question", None, 10);
    put(&mut replicas, 1, &question);
    replicas.merge_all();
    let own = answer(question.id, "own", 20);
    put(&mut replicas, 2, &own);
    let mut for_another = answer(question.id, "for another", 30);
    for_another.id = another_answer_id(question.id, "again", Timestamp(25));
    for_another.speaker = Speaker::Character {
        node: Some(node(8)),
        model: "m".into(),
        ending: Ending::Stopped,
    };
    put(&mut replicas, 2, &for_another);
    let read: Session = replicas.agreed();
    assert_eq!(read.messages[0].speaker, Speaker::Person { gateway: Some(node(1)) });
    let nodes: Vec<_> = read.messages[1..]
        .iter()
        .map(|message| match &message.speaker {
            Speaker::Character { node, .. } => *node,
            Speaker::Person { .. } => None,
        })
        .collect();
    assert_eq!(nodes, [Some(node(2)), Some(node(8))]);
    assert_eq!(
        (read.messages[1].at, read.messages[1].parent),
        (Timestamp(20), Some(question.id))
    );
}

#[test]
fn one_outbox_id_and_one_question_make_one_entry() {
    let mut replicas = Replicas::of(&chat());
    // One outbox id accepted by two gateways: the earlier one stands for both, with what follows the later one.
    put(&mut replicas, 0, &said("same", None, 10));
    let later = said("same", None, 20);
    put(&mut replicas, 1, &later);
    put(&mut replicas, 1, &answer(later.id, "of the later", 30));
    replicas
        .edit(
            1,
            &SessionEdit::SetPinned {
                message: later.id,
                pinned: true,
            },
        )
        .unwrap();
    let read: Session = replicas.agreed();
    let earlier = said("same", None, 10).id;
    assert_eq!(
        read.messages
            .iter()
            .map(|message| message.text.text())
            .collect::<Vec<_>>(),
        ["same", "of the later"]
    );
    assert_eq!(read.messages[0].id, earlier);
    assert_eq!(read.messages[1].parent, Some(earlier));
    assert_eq!(read.pinned, BTreeSet::from([earlier]));
    // Two nodes answer one question: one answer stands, the same everywhere.
    put(&mut replicas, 0, &answer(earlier, "of one", 40));
    put(&mut replicas, 2, &answer(earlier, "of another", 50));
    assert_eq!(replicas.agreed::<Session>().messages.len(), 3);
}

#[test]
fn flags_marks_and_summaries_keep_their_laws() {
    let mut replicas = Replicas::of(&chat());
    let messages: Vec<Message> = (0..4)
        .map(|number| said(&number.to_string(), None, 10 + number))
        .collect();
    for message in &messages {
        put(&mut replicas, 0, message);
    }
    let message = messages[1].id;
    for (deleted, set) in [(true, true), (false, false)] {
        replicas.edit(0, &SessionEdit::SetDeleted { message, deleted }).unwrap();
        replicas
            .edit(0, &SessionEdit::SetPinned { message, pinned: set })
            .unwrap();
        replicas
            .edit(0, &SessionEdit::SetExcluded { message, excluded: set })
            .unwrap();
        replicas.merge_all();
        let read: Session = replicas.read(2);
        let sets = [&read.deleted, &read.pinned, &read.excluded];
        assert!(sets.iter().all(|set| set.contains(&message) == deleted), "{read:?}");
    }
    // At the same time, each way, whichever node does it.
    for (setter, clearer) in [(1, 2), (2, 1)] {
        replicas
            .edit(setter, &SessionEdit::SetDeleted { message, deleted: true })
            .unwrap();
        replicas
            .edit(setter, &SessionEdit::SetPinned { message, pinned: true })
            .unwrap();
        replicas.edit(setter, &SessionEdit::SetArchived(true)).unwrap();
        for _ in 0..2 {
            replicas
                .edit(clearer, &SessionEdit::SetDeleted { message, deleted: true })
                .unwrap();
            replicas
                .edit(
                    clearer,
                    &SessionEdit::SetDeleted {
                        message,
                        deleted: false,
                    },
                )
                .unwrap();
            replicas
                .edit(clearer, &SessionEdit::SetPinned { message, pinned: true })
                .unwrap();
            replicas
                .edit(clearer, &SessionEdit::SetPinned { message, pinned: false })
                .unwrap();
            replicas.edit(clearer, &SessionEdit::SetArchived(true)).unwrap();
            replicas.edit(clearer, &SessionEdit::SetArchived(false)).unwrap();
        }
        let read: Session = replicas.agreed();
        assert!(!read.deleted.contains(&message), "restored wins");
        assert!(read.pinned.contains(&message), "pinned wins");
        assert!(!read.archived, "back in the list wins");
        replicas.merge_all();
    }
    // The mark only advances.
    replicas.edit(1, &SessionEdit::SetRead(messages[2].id)).unwrap();
    replicas.edit(2, &SessionEdit::SetRead(messages[3].id)).unwrap();
    replicas.merge_all();
    replicas.edit(0, &SessionEdit::SetRead(messages[0].id)).unwrap();
    assert_eq!(replicas.agreed::<Session>().read, Some(messages[3].id));
    // A person's summary goes before a model's, whoever was last.
    let summary = |origin, text: &str| {
        SessionEdit::PutSummary(Summary {
            first: messages[0].id,
            last: messages[2].id,
            covers: Coverage::of(messages[..3].iter().map(|message| message.id)),
            origin,
            text: text.into(),
        })
    };
    replicas.edit(0, &summary(SummaryOrigin::Extract, "extract")).unwrap();
    replicas.merge_all();
    replicas.edit(1, &summary(SummaryOrigin::Person, "person")).unwrap();
    replicas.edit(2, &summary(SummaryOrigin::Extract, "extract 2")).unwrap();
    replicas.edit(2, &summary(SummaryOrigin::Model, "model")).unwrap();
    let read: Session = replicas.agreed();
    assert_eq!(
        read.summaries
            .iter()
            .map(|summary| summary.text.text())
            .collect::<Vec<_>>(),
        ["person"]
    );
}

#[test]
fn a_message_changed_on_two_devices_keeps_both_versions() {
    let mut replicas = Replicas::of(&chat());
    let question = said("question", None, 10);
    put(&mut replicas, 0, &question);
    replicas.merge_all();
    for replica in 1..REPLICAS {
        let id = EntryId::new(Timestamp(50 + replica as u64), 1);
        let version = Version::new(id, &format!("changed at {replica}"));
        replicas
            .edit(
                replica,
                &SessionEdit::PutVersion {
                    message: question.id,
                    version,
                },
            )
            .unwrap();
    }
    let read: Session = replicas.agreed();
    let texts: Vec<_> = read.messages[0]
        .versions
        .iter()
        .map(|version| version.text.text())
        .collect();
    assert_eq!(texts, ["question", "changed at 1", "changed at 2"]);
    assert_eq!(read.messages[0].text.text(), "changed at 2");
}

#[test]
fn erased_text_leaves_its_message_behind() {
    let mut replicas = Replicas::of(&chat());
    put(&mut replicas, 0, &said("question", None, 10));
    replicas.erase();
    let read: Session = replicas.read(0);
    assert_eq!((read.messages.len(), &read.messages[0].text), (1, &Sealed::Erased));
}

#[test]
fn what_breaks_a_limit_is_refused_here() {
    let mut replicas = Replicas::of(&chat());
    let changes = replicas.changes.len();
    let mut refused = |edit: SessionEdit, expected: RecordError| assert_eq!(replicas.edit(0, &edit), Err(expected));
    let question = said("question", None, 10);
    let mut long = question.clone();
    long.text = "x".repeat(1001).into();
    refused(SessionEdit::PutMessage(long), RecordError::Limit("text"));
    let mut erased = question.clone();
    erased.text = Sealed::Erased;
    refused(SessionEdit::PutMessage(erased), RecordError::Field("text"));
    refused(SessionEdit::SetTitle("x".repeat(121)), RecordError::Limit("title"));
    let summary = Summary {
        first: answer_id(question.id),
        last: question.id,
        covers: Coverage::of([question.id, answer_id(question.id)]),
        origin: SummaryOrigin::Person,
        text: "x".into(),
    };
    let silent = Summary {
        first: question.id,
        covers: Coverage::of([answer_id(question.id)]),
        ..summary.clone()
    };
    refused(SessionEdit::PutSummary(summary), RecordError::Limit("first"));
    refused(SessionEdit::PutSummary(silent), RecordError::Limit("covers"));
    let version = Version::new(question.id, "x");
    refused(
        SessionEdit::PutVersion {
            message: question.id,
            version,
        },
        RecordError::Limit("version"),
    );
    let unset = SessionEdit::SetDeleted {
        message: question.id,
        deleted: false,
    };
    replicas.edit(0, &unset).unwrap();
    assert_eq!(
        replicas.changes.len(),
        changes,
        "nothing is signed for what is refused or is so already"
    );
}

/// A node that keeps to no limit writes into the document; everyone still reads it, and reads the same.
#[test]
fn what_others_write_is_sanitised() {
    let mut replicas = Replicas::of(&chat());
    let good = said("good", None, 10);
    put(&mut replicas, 0, &good);
    let id = |number: u64| EntryId::new(Timestamp(number), u128::from(number) << 72);
    let key = |number: u64| id(number).to_string();
    let stored = |text: String, link| {
        let message = StoredMessage {
            link,
            speaker: StoredSpeaker::Person,
            truncated: false,
            text: crate::records::shape::StoredText::Plain(text),
        };
        crate::records::migrate::Migrate::encode(&message).unwrap()
    };
    replicas.forge(0, |document| {
        let long = stored("ы".repeat(10_000), StoredLink::After([9; 4]));
        document.put(ROOT, key(20), long).unwrap();
        let circle = id(40).short();
        document
            .put(ROOT, key(30), stored("early".into(), StoredLink::After(circle)))
            .unwrap();
        document
            .put(ROOT, key(40), stored("late".into(), StoredLink::InsteadOf([7; 4])))
            .unwrap();
        document.put(ROOT, key(50), vec![2u8, 250, 250]).unwrap();
        document.put(ROOT, key(60), vec![99u8; 30]).unwrap();
        document.put(ROOT, key(70), "text").unwrap();
        document.put_object(ROOT, key(80), ObjType::List).unwrap();
        document.put(ROOT, "read", vec![1u8; 3]).unwrap();
        document.put(ROOT, "current", true).unwrap();
        document.put(ROOT, "archived", 1).unwrap();
        document.put(ROOT, "title", vec![1u8; 9]).unwrap();
        document.put(ROOT, format!("d{}", key(10)), "yes").unwrap();
        document.put(ROOT, format!("s{}", key(10)), vec![1u8; 5]).unwrap();
    });
    let read: Session = replicas.agreed();
    let lengths: Vec<usize> = read
        .messages
        .iter()
        .map(|message| message.text.text().chars().count())
        .collect();
    assert_eq!(lengths, [4, READ_CHARACTERS_MAX, 5, 4]);
    assert_eq!(
        read.messages[1].parent,
        Some(good.id),
        "an unknown parent: what stands before it"
    );
    assert_eq!(
        read.messages[2].parent,
        Some(read.messages[1].id),
        "what is younger cannot be followed"
    );
    assert_eq!(read.messages[3].place, Place::Branches);
    assert_eq!((read.read, read.current, read.archived), (None, None, false));
    assert_eq!(read.title, Some(Sealed::Missing));
    assert!(read.deleted.is_empty() && read.summaries.is_empty());
}

#[test]
fn questions_that_want_an_answer_are_found() {
    let mut replicas = Replicas::of(&chat());
    let questions: Vec<Message> = (0..5)
        .map(|number| said(&number.to_string(), None, 10 + 10 * number))
        .collect();
    for question in &questions {
        put(&mut replicas, 0, question);
    }
    put(&mut replicas, 0, &answer(questions[1].id, "answered", 99));
    let deleted = questions[2].id;
    replicas
        .edit(
            0,
            &SessionEdit::SetDeleted {
                message: deleted,
                deleted: true,
            },
        )
        .unwrap();
    let mut edited = said("edited", None, 100);
    edited.place = Place::Replaces(questions[3].id);
    put(&mut replicas, 0, &edited);
    let read: Session = replicas.agreed();
    let wanting: Vec<&str> = read.unanswered().map(|message| message.text.text()).collect();
    let one_by_one = read.messages.iter().filter(|message| read.is_unanswered(message));
    assert_eq!(
        one_by_one.map(|message| message.text.text()).collect::<Vec<_>>(),
        wanting
    );
    assert_eq!(wanting, ["0", "4", "edited"]);
}
