//! Tests of [`super`]: drafts, versions, differences, and three replicas that come to agree.

use automerge::{ROOT, transaction::Transactable};
use proptest::prelude::*;

use super::*;
use crate::records::testing::{Replicas, config, steps};

fn fox() -> Definition {
    Definition {
        alternatives: vec!["Hi.".into()],
        examples: vec!["A: who are you? B: a fox.".into()],
        filters: vec!["politics".into()],
        avatar: Some(ContentId([4; 32])),
        card: Some(ContentId([5; 32])),
        ..Definition::new("Лис", "Хитрый лис", "Привет!", "Ты Лис.")
    }
}

fn id(number: u64) -> EntryId {
    EntryId::new(Timestamp(100 + number), u128::from(number))
}

fn any_field() -> impl Strategy<Value = DefinitionField> {
    prop_oneof![
        "[a-z]{2,5}".prop_map(DefinitionField::Name),
        "[a-z]{0,5}".prop_map(DefinitionField::Description),
        "[a-z]{0,5}".prop_map(DefinitionField::Greeting),
        "[a-z]{1,5}".prop_map(DefinitionField::Prompt),
        proptest::collection::vec("[a-z]{1,5}", 0..7).prop_map(DefinitionField::Examples),
        proptest::collection::vec("[a-z]{1,5}", 0..3).prop_map(DefinitionField::Alternatives),
        proptest::collection::vec("[a-z]{1,5}", 0..3).prop_map(DefinitionField::Filters),
        (0u32..30).prop_map(|tenths| DefinitionField::Temperature(f64::from(tenths) / 10.0)),
        (50u64..2100).prop_map(DefinitionField::AnswerCharactersMax),
        proptest::option::of(Just(ContentId([9; 32]))).prop_map(DefinitionField::Avatar),
        proptest::option::of(Just(ContentId([8; 32]))).prop_map(DefinitionField::Card),
    ]
}

fn any_edit() -> impl Strategy<Value = CharacterEdit> {
    prop_oneof![
        4 => proptest::collection::vec(any_field(), 1..3).prop_map(CharacterEdit::SetDraft),
        2 => (0u64..20).prop_map(|number| CharacterEdit::Publish {
            id: id(number),
            by: Some(ContentId([1; 32])),
            note: "a note".into(),
        }),
        1 => (0u64..20, 0u64..20).prop_map(|(to, number)| CharacterEdit::RollBack {
            to: id(to),
            id: id(number),
            by: None,
        }),
        1 => Just(CharacterEdit::Withdraw),
        1 => any::<bool>().prop_map(CharacterEdit::SetRetired),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn replicas_agree_whatever_was_done_in_which_order(steps in steps(any_edit())) {
        let mut replicas = Replicas::of(&Character::new(fox(), None, Timestamp(1)));
        replicas.take(&steps);
        let read: Character = replicas.agreed();
        read.validate().unwrap();
        // A version never changes, whatever happens afterwards.
        let before = read.versions;
        replicas.merge_all();
        replicas.edit(0, &CharacterEdit::SetDraft(vec![DefinitionField::Prompt("else".into())])).unwrap();
        prop_assert_eq!(replicas.read::<Character>(0).versions, before);
    }

    #[test]
    fn setting_what_differs_makes_two_definitions_equal(fields in proptest::collection::vec(any_field(), 0..12)) {
        let mut other = fox();
        fields.into_iter().for_each(|field| other.set(field));
        let mut own = fox();
        let difference = own.difference(&other);
        difference.iter().cloned().for_each(|field| own.set(field));
        prop_assert_eq!(&own, &other);
        prop_assert!(own.difference(&other).is_empty());
    }
}

#[test]
fn what_is_written_is_read() {
    let mut full = Character::published(fox(), Some(ContentId([1; 32])), Timestamp(7));
    full.draft.prompt = "Ты другой лис.".into();
    full.retired = true;
    let mut replicas = Replicas::of(&full);
    let read: Character = replicas.agreed();
    assert_eq!(read, full);
    assert_eq!(
        read.definition(),
        Some(&fox()),
        "people chat with what is published, not with the draft"
    );
}

#[test]
fn two_people_who_change_different_fields_both_keep_their_change() {
    let mut replicas = Replicas::of(&Character::new(fox(), None, Timestamp(1)));
    replicas
        .edit(1, &CharacterEdit::SetDraft(vec![DefinitionField::Prompt("one".into())]))
        .unwrap();
    let examples = DefinitionField::Examples(vec!["two".into()]);
    replicas.edit(2, &CharacterEdit::SetDraft(vec![examples])).unwrap();
    let read: Character = replicas.agreed();
    assert_eq!(
        (read.draft.prompt.as_str(), read.draft.examples[0].as_str()),
        ("one", "two")
    );
    assert_eq!(read.definition(), None);
}

#[test]
fn rolling_back_is_a_new_version_equal_to_an_old_one() {
    let mut replicas = Replicas::of(&Character::new(fox(), None, Timestamp(1)));
    let publish = |number| CharacterEdit::Publish {
        id: id(number),
        by: None,
        note: String::new(),
    };
    replicas.edit(0, &publish(1)).unwrap();
    let change = CharacterEdit::SetDraft(vec![
        DefinitionField::Name("Волк".into()),
        DefinitionField::Avatar(None),
        DefinitionField::Filters(Vec::new()),
    ]);
    replicas.edit(0, &change).unwrap();
    replicas.edit(0, &publish(2)).unwrap();
    assert_eq!(
        replicas.edit(0, &publish(2)),
        Err(RecordError::Limit("version")),
        "a newer version has a greater id"
    );
    let back = |to, number| CharacterEdit::RollBack {
        to: id(to),
        id: id(number),
        by: None,
    };
    assert_eq!(replicas.edit(0, &back(9, 3)), Err(RecordError::Absent("version")));
    replicas.edit(0, &back(1, 3)).unwrap();
    let read: Character = replicas.agreed();
    assert_eq!((read.versions.len(), read.published), (3, Some(id(3))));
    assert_eq!(read.draft, fox());
    assert_eq!(read.versions[2].definition, read.versions[0].definition);
    assert_ne!(read.versions[1].definition, read.versions[0].definition);
}

#[test]
fn of_two_published_at_once_the_later_one_counts_and_publishing_wins() {
    let mut replicas = Replicas::of(&Character::new(fox(), None, Timestamp(1)));
    for (replica, number) in [(1, 5), (2, 3)] {
        let publish = CharacterEdit::Publish {
            id: id(number),
            by: None,
            note: replica.to_string(),
        };
        replicas.edit(replica, &publish).unwrap();
    }
    let read: Character = replicas.agreed();
    assert_eq!((read.published, read.versions.len()), (Some(id(5)), 2), "both are kept");
    replicas.merge_all();
    let publish = CharacterEdit::Publish {
        id: id(9),
        by: None,
        note: String::new(),
    };
    replicas.edit(1, &publish).unwrap();
    replicas.edit(2, &CharacterEdit::Withdraw).unwrap();
    assert_eq!(replicas.agreed::<Character>().published, Some(id(9)));
    replicas.merge_all();
    replicas.edit(0, &CharacterEdit::Withdraw).unwrap();
    assert_eq!(replicas.agreed::<Character>().definition(), None);
}

#[test]
fn what_breaks_a_limit_is_refused_here() {
    let refused = |field: DefinitionField| {
        let name = field.name();
        let mut definition = fox();
        definition.set(field.clone());
        let expected = match &field {
            DefinitionField::Examples(list) | DefinitionField::Filters(list) if list.iter().all(|text| text == "x") => {
                RecordError::Full(name)
            }
            _ => RecordError::Limit(name),
        };
        assert_eq!(definition.validate(), Err(expected.clone()));
        let mut replicas = Replicas::of(&Character::new(fox(), None, Timestamp(1)));
        let result = replicas.edit(
            0,
            &CharacterEdit::SetDraft(vec![DefinitionField::Greeting("!".into()), field]),
        );
        assert_eq!(result, Err(expected));
        assert_eq!(replicas.read::<Character>(0).draft, fox(), "nothing half-applied");
    };
    refused(DefinitionField::Name(" x ".into()));
    refused(DefinitionField::Name("x".repeat(51)));
    refused(DefinitionField::Description("x".repeat(501)));
    refused(DefinitionField::Greeting("x".repeat(1001)));
    refused(DefinitionField::Prompt(String::new()));
    refused(DefinitionField::Prompt("x".repeat(2001)));
    refused(DefinitionField::Temperature(2.1));
    refused(DefinitionField::Temperature(f64::NAN));
    refused(DefinitionField::AnswerCharactersMax(99));
    refused(DefinitionField::AnswerCharactersMax(2001));
    refused(DefinitionField::Examples(vec!["x".into(); 6]));
    refused(DefinitionField::Examples(vec!["y".repeat(1001)]));
    refused(DefinitionField::Filters(vec!["x".into(); 21]));
    refused(DefinitionField::Alternatives(vec!["y".repeat(1001)]));
    let mut large = fox();
    large.alternatives = vec!["ы".repeat(1000); 10];
    large.examples = vec!["ы".repeat(1000); 5];
    assert_eq!(large.validate(), Err(RecordError::Limit("definition")));
}

/// A node that keeps to no limit writes into the document; everyone still reads it, and reads the same.
#[test]
fn what_others_write_is_sanitised() {
    let mut replicas = Replicas::of(&Character::published(fox(), None, Timestamp(1)));
    let long = "ы".repeat(10_000);
    let version = StoredVersion {
        definition: Definition {
            name: long.clone(),
            temperature: f64::NAN,
            answer_characters_max: 9,
            examples: vec![long.clone(); 9],
            ..fox()
        },
        by: None,
        note: long.clone(),
    };
    let version = crate::records::migrate::Migrate::encode(&version);
    assert!(version.is_err(), "more than a change may hold");
    replicas.forge(0, |document| {
        document.put(ROOT, "prompt", long.as_str()).unwrap();
        document.put(ROOT, "temperature", 99.0).unwrap();
        document.put(ROOT, "answer_characters_max", 7u64).unwrap();
        document.put(ROOT, "examples", "not a list").unwrap();
        document.put(ROOT, "greeting", 1).unwrap();
        document.put(ROOT, "published", vec![1u8; 16]).unwrap();
        document.put(ROOT, format!("v{}", id(1)), vec![1u8, 255]).unwrap();
    });
    let read: Character = replicas.agreed();
    assert_eq!(read.draft.prompt.chars().count(), PROMPT_CHARACTERS_MAX);
    assert_eq!((read.draft.temperature, read.draft.answer_characters_max), (2.0, 100));
    assert!(read.draft.examples.is_empty() && read.draft.greeting.is_empty());
    assert_eq!(read.versions.len(), 1);
    assert_eq!(read.definition(), None, "what was published is not there");
    let sanitised = Definition {
        temperature: f64::NAN,
        examples: vec!["y".repeat(3000); 9],
        ..fox()
    }
    .sanitised()
    .unwrap();
    sanitised.validate().unwrap();
    replicas.forge(0, |document| document.delete(ROOT, "name").unwrap());
    assert_eq!(
        replicas.try_read::<Character>(&replicas.documents[0]),
        Err(RecordError::Field("name"))
    );
}
