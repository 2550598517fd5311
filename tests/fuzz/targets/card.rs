//! Bytes as the card of a character, as anybody uploads them: what is read keeps every limit, leaves as it came when nobody edited it,
//! and differs in nothing but the edited field when somebody did. Its lorebook speaks without a panic.

use crdt::cards::{
    Card,
    content::{content, edits},
    lorebook::{Line, Lorebook, Scene},
    macros::Words,
};
use keys::ContentId;

pub fn run(bytes: &[u8]) {
    let Ok(card) = Card::read(bytes) else {
        return;
    };
    let id = ContentId::of(bytes);
    let read = content(&card, id);
    read.definition.validate().expect("a draft keeps every limit");
    assert!(edits(&card, id, &read.definition, 1).is_empty());
    let mut edited = read.definition;
    edited.greeting = "Another greeting.".to_owned();
    let edits = edits(&card, id, &edited, 1);
    if let Ok(written) = Card::write(bytes, &edits) {
        let again = Card::read(&written).expect("what is written is a card");
        let mut expected = card.clone();
        let data = if expected.json["data"].is_object() && expected.json["spec"].is_string() {
            &mut expected.json["data"]
        } else {
            &mut expected.json
        };
        if !edits.is_empty() {
            data["first_mes"] = again.data()["first_mes"].clone();
            if again.data()["modification_date"] == 1 {
                data["modification_date"] = 1.into();
            }
        }
        assert_eq!(again, expected);
    }
    drop(card.picture(bytes));
    speak(&card);
}

fn speak(card: &Card) {
    let Some(book) = Lorebook::read(&card.data()["character_book"]) else {
        return;
    };
    let words = Words {
        character: "Fox",
        person: "Rita",
        original: "",
        seed: 1,
    };
    let lines = ["engine", "машина", "{{user}} says"].map(|text| Line {
        is_character: text == "машина",
        text,
    });
    drop(book.lore(&Scene {
        lines: &lines,
        greeting: 0,
        words: &words,
        tokens: str::len,
        is_full: false,
    }));
}

/// The golden cards, made with other tools than ours.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let cards: [(&str, &[u8]); 7] = [
        ("v1-json", include_bytes!("../../../crdt/tests/cards/v1.json")),
        ("v2-json", include_bytes!("../../../crdt/tests/cards/v2.json")),
        ("v3-json", include_bytes!("../../../crdt/tests/cards/v3.json")),
        ("v1-png", include_bytes!("../../../crdt/tests/cards/v1.png")),
        ("v2-png", include_bytes!("../../../crdt/tests/cards/v2.png")),
        (
            "v3-animated",
            include_bytes!("../../../crdt/tests/cards/v3-animated.png"),
        ),
        ("v3-charx", include_bytes!("../../../crdt/tests/cards/v3.charx")),
    ];
    cards
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()))
        .collect()
}
