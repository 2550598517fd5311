//! Tests of [`super`]: each rule of version 3, and books that mean harm.

use std::time::Instant;

use serde_json::json;

use super::*;

const WORDS: Words<'_> = Words {
    character: "Лис",
    person: "Рита",
    original: "",
    seed: 1,
};

/// One talk: the person and the character take turns, the person first.
fn said(book: &Value, talk: &[&str]) -> Lore {
    said_in(book, talk, |scene| scene)
}

fn said_in(book: &Value, talk: &[&str], change: impl for<'a> FnOnce(Scene<'a>) -> Scene<'a>) -> Lore {
    let lines: Vec<Line<'_>> = (0..)
        .zip(talk)
        .map(|(number, text)| Line {
            is_character: number % 2 == 1,
            text,
        })
        .collect();
    let scene = Scene {
        lines: &lines,
        greeting: 0,
        words: &WORDS,
        tokens: |text| text.split_whitespace().count(),
        is_full: false,
    };
    Lorebook::read(book).unwrap().lore(&change(scene))
}

fn texts(lore: &Lore) -> Vec<&str> {
    lore.placed.iter().map(|placed| placed.text.as_str()).collect()
}

/// A book of one entry.
fn book(entry: Value) -> Value {
    let mut full =
        json!({"keys": ["fox"], "content": "Foxes are sly.", "enabled": true, "insertion_order": 1, "extensions": {}});
    for (name, value) in entry.as_object().unwrap() {
        full[name] = value.clone();
    }
    json!({"extensions": {}, "entries": [full]})
}

/// Whether the entry speaks in a talk.
fn speaks(entry: Value, talk: &[&str]) -> bool {
    !said(&book(entry), talk).placed.is_empty()
}

#[test]
fn keys_wake_an_entry() {
    for (entry, text, expected) in [
        (json!({}), "A Fox!", true),
        (json!({"case_sensitive": true}), "A Fox!", false),
        (json!({"case_sensitive": true}), "a fox", true),
        (json!({}), "a wolf", false),
        (json!({"keys": ["Лиса"]}), "рыжая ЛИСА", true),
        (json!({"keys": "wolf,fox"}), "a fox", true),
        (json!({"enabled": false}), "a fox", false),
        (json!({"content": ""}), "a fox", false),
        (json!({"keys": [], "constant": true}), "nothing", true),
        (json!({"keys": [], "constant": false}), "nothing", false),
        (json!({"selective": true, "secondary_keys": ["red"]}), "a fox", false),
        (json!({"selective": true, "secondary_keys": ["red"]}), "a red fox", true),
        (json!({"selective": false, "secondary_keys": ["red"]}), "a fox", true),
        (json!({"use_regex": true, "keys": ["f.x$"]}), "a FIX", true),
        (json!({"use_regex": true, "keys": ["/f.x$/"]}), "a FIX", false),
        (json!({"use_regex": true, "keys": ["/f.x$/i"]}), "a FIX", true),
        (json!({"use_regex": true, "keys": ["\\bлис\\w*"]}), "Лисица", true),
        (json!({"use_regex": true, "keys": ["fox", "("]}), "a fox", false),
        (json!({"use_regex": true, "keys": ["(?=fox)"]}), "a fox", false),
        (
            json!({"use_regex": true, "keys": ["x"], "constant": true}),
            "none",
            false,
        ),
        (json!({"use_regex": false, "keys": ["f.x"]}), "a fox", false),
    ] {
        assert_eq!(speaks(entry.clone(), &[text]), expected, "{entry} in {text:?}");
    }
}

#[test]
fn decorators_decide_when_an_entry_speaks() {
    let talk = ["fox", "one", "no", "two", "none"];
    for (decorators, talk, expected) in [
        ("@@activate", &["wolf"][..], true),
        ("@@dont_activate", &["fox"], false),
        ("@@dont_activate\n@@activate", &["wolf"], true),
        ("@@activate_only_after 2", &talk, true),
        ("@@activate_only_after 3", &talk, false),
        ("@@activate_only_every 2", &talk, true),
        ("@@activate_only_every 3", &talk, false),
        ("@@scan_depth 1", &talk, false),
        ("@@scan_depth 5", &talk, true),
        ("@@scan_depth 1\n@@keep_activate_after_match", &talk, true),
        ("@@dont_activate_after_match", &talk, false),
        ("@@dont_activate_after_match", &["a", "b", "fox"], true),
        ("@@is_greeting 0", &["fox"], true),
        ("@@is_greeting 1", &["fox"], false),
        ("@@additional_keys red,brown", &["fox"], false),
        ("@@additional_keys red,brown", &["brown fox"], true),
        ("@@exclude_keys dead, stuffed", &["stuffed fox"], false),
        ("@@exclude_keys dead, stuffed", &["fox"], true),
        ("@@unheard_of 3", &["fox"], true),
        ("@@unheard_of 3\n@@@dont_activate", &["fox"], false),
        ("@@unheard_of 3\n@@@neither\n@@@dont_activate", &["fox"], false),
        ("@@role user\n@@@dont_activate", &["fox"], true),
        ("@@depth many\n@@@dont_activate", &["fox"], false),
        ("@@scan_depth 5\n@@scan_depth 1", &talk, true),
        ("@@is_user_icon me", &["fox"], true),
    ] {
        let entry = json!({"content": format!("{decorators}\n\nFoxes are sly.")});
        let lore = said(&book(entry), talk);
        let expected: &[&str] = if expected { &["Foxes are sly."] } else { &[] };
        assert_eq!(texts(&lore), expected, "{decorators} in {talk:?}");
    }
}

#[test]
fn decorators_decide_where_and_as_whom() {
    let talk = ["fox", "one", "two"];
    for (entry, position, role) in [
        (json!({}), Position::BeforeCharacter, Role::System),
        (
            json!({"position": "after_char"}),
            Position::AfterCharacter,
            Role::System,
        ),
        (
            json!({"content": "@@position after_desc\n@@depth 1\nx"}),
            Position::AfterCharacter,
            Role::System,
        ),
        (
            json!({"content": "@@position scenario\nx"}),
            Position::Scenario,
            Role::System,
        ),
        (
            json!({"content": "@@position personality\nx"}),
            Position::Personality,
            Role::System,
        ),
        (
            json!({"content": "@@position nowhere\nx"}),
            Position::BeforeCharacter,
            Role::System,
        ),
        (
            json!({"content": "@@depth 1\n@@role user\nx"}),
            Position::Depth(1),
            Role::User,
        ),
        (
            json!({"content": "@@depth -4\n@@role assistant\nx"}),
            Position::Depth(0),
            Role::Assistant,
        ),
        (json!({"content": "@@depth 99\nx"}), Position::Depth(3), Role::System),
        (
            json!({"content": "@@reverse_depth 1\nx"}),
            Position::Depth(2),
            Role::System,
        ),
        (
            json!({"content": "@@depth 1\n@@reverse_depth 3\nx"}),
            Position::Depth(1),
            Role::System,
        ),
    ] {
        let lore = said(&book(entry.clone()), &talk);
        let placed = &lore.placed[0];
        assert_eq!((placed.position, placed.role), (position, role), "{entry}");
        assert!(!placed.text.contains("@@"));
    }
    let lore = said(&book(json!({"content": "@@disable_ui_prompt system_prompt\n"})), &talk);
    assert!(lore.placed.is_empty() && lore.disabled.contains("system_prompt"));
}

#[test]
fn the_least_important_go_when_not_all_fit() {
    let entry = |text: &str, order: i64, more: Value| {
        let mut entry = json!({"keys": ["fox"], "content": text, "insertion_order": order});
        for (name, value) in more.as_object().unwrap() {
            entry[name] = value.clone();
        }
        entry
    };
    let entries = json!([
        entry("three words each", 3, json!({})),
        entry("first in order", 1, json!({"priority": 100})),
        entry("second of them", 2, json!({})),
        entry("@@ignore_on_max_context\nonly with room", 50, json!({})),
    ]);
    let all = json!({"entries": entries});
    let everything = ["first in order", "second of them", "three words each", "only with room"];
    assert_eq!(texts(&said(&all, &["fox"])), everything);
    let full = said_in(&all, &["fox"], |scene| Scene { is_full: true, ..scene });
    assert_eq!(texts(&full), everything[..3]);
    for (budget, expected) in [
        (0, &everything[..0]),
        (3, &everything[..1]),
        (6, &["first in order", "three words each"][..]),
        (9, &everything[..3]),
    ] {
        let tight = json!({"entries": entries, "token_budget": budget});
        assert_eq!(texts(&said(&tight, &["fox"])), expected, "{budget}");
    }
}

#[test]
fn entries_wake_each_other_only_when_the_book_says_so() {
    let entries = json!([
        {"keys": ["fox"], "content": "The fox lives in a den{{hidden_key:secret}}.", "insertion_order": 1},
        {"keys": ["den"], "content": "A den has two exits.", "insertion_order": 2},
        {"keys": ["exits"], "content": "One leads to the river.", "insertion_order": 3},
        {"keys": ["secret"], "content": "Hidden.", "insertion_order": 4},
    ]);
    let alone = said(&json!({"entries": entries}), &["fox"]);
    assert_eq!(texts(&alone), ["The fox lives in a den."]);
    let woken = said(
        &json!({"spec": "lorebook_v3", "data": {"entries": entries, "recursive_scanning": true}}),
        &["fox"],
    );
    assert_eq!(texts(&woken).len(), 4);
    assert_eq!(
        texts(&said(&json!({"entries": entries, "scan_depth": 1}), &["fox", "wolf"])).len(),
        0
    );
}

/// Expressions that take ages in an engine that goes back, texts made for them, and books of any size.
#[test]
fn hostile_books_take_little_time() {
    let bombs = [
        "(a+)+$",
        "(a|a)*b",
        "(a|aa)+$",
        "(x+x+)+y",
        "((a{0,30}){0,30}){0,30}",
        "\\w{5000}",
        "(?:a?){50}a{50}",
    ];
    let entries: Vec<Value> = (0..3000)
        .map(|number| json!({"keys": [bombs[number % bombs.len()]], "use_regex": true, "content": "x", "insertion_order": number}))
        .collect();
    let text = "a".repeat(100_000);
    let began = Instant::now();
    let book = json!({"entries": entries, "recursive_scanning": true});
    let read = Lorebook::read(&book).unwrap();
    assert_eq!(read.entries().len(), LOREBOOK_ENTRIES_MAX);
    assert!(
        read.entries().iter().any(|entry| entry.broken_keys() > 0),
        "some are too large"
    );
    let lore = said(&book, &[&text, &text]);
    assert!(lore.placed.len() < LOREBOOK_ENTRIES_MAX);
    assert!(began.elapsed().as_secs() < 30, "{:?} in a debug build", began.elapsed());
    assert!(Lorebook::read(&json!({"entries": "none"})).is_none());
    let nonsense =
        json!({"entries": [null, 1, {"keys": 5, "content": 7, "insertion_order": "x"}, {"content": "@@".repeat(999)}]});
    assert_eq!(said(&nonsense, &["fox"]), Lore::default());
}
