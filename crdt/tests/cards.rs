//! Cards as other programs write them: in and out without loss, and hostile ones that do nothing. The golden cards in `cards/` were made
//! with other tools than ours.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{io::Read, io::Write, time::Instant};

use crdt::{
    cards::{
        self, Card, CardError, Container, Edit, Spec,
        content::{self, KEPT_IN_CARD},
    },
    limits::{CARD_BYTES_MAX, CARD_TEXT_BYTES_MAX},
    records::character::Definition,
};
use keys::ContentId;
use serde_json::{Value, json};

const GOLDEN: [(&str, &[u8], Container, Spec); 8] = [
    ("v1.json", include_bytes!("cards/v1.json"), Container::Json, Spec::V1),
    ("v2.json", include_bytes!("cards/v2.json"), Container::Json, Spec::V2),
    ("v3.json", include_bytes!("cards/v3.json"), Container::Json, Spec::V3),
    ("v1.png", include_bytes!("cards/v1.png"), Container::Png, Spec::V1),
    ("v2.png", include_bytes!("cards/v2.png"), Container::Png, Spec::V2),
    ("v3.png", include_bytes!("cards/v3.png"), Container::Png, Spec::V3),
    (
        "v3-animated.png",
        include_bytes!("cards/v3-animated.png"),
        Container::Png,
        Spec::V3,
    ),
    ("v3.charx", include_bytes!("cards/v3.charx"), Container::Charx, Spec::V3),
];

fn golden(name: &str) -> &'static [u8] {
    GOLDEN.iter().find(|(found, ..)| *found == name).unwrap().1
}

fn read(bytes: &[u8]) -> (Card, Definition) {
    let card = Card::read(bytes).unwrap();
    let content = content::content(&card, ContentId::of(bytes));
    assert_eq!(content.too_long, []);
    content.definition.validate().unwrap();
    (card, content.definition)
}

/// The card with one field edited, as it leaves.
fn edited(bytes: &[u8], edit: impl FnOnce(&mut Definition)) -> Vec<u8> {
    let (card, mut definition) = read(bytes);
    edit(&mut definition);
    let edits = content::edits(&card, ContentId::of(bytes), &definition, 1_800_000_000);
    Card::write(bytes, &edits).unwrap()
}

#[test]
fn every_version_in_every_container_says_the_same() {
    for (name, bytes, container, spec) in GOLDEN {
        let (card, definition) = read(bytes);
        assert_eq!(
            (card.container, card.spec, card.is_newer),
            (container, spec, false),
            "{name}"
        );
        assert_eq!(definition.name, "Ада", "{name}");
        assert_eq!(definition.prompt, "Ада — инженер. {{char}} любит точность.", "{name}");
        assert_eq!(definition.greeting, "Здравствуйте, {{user}}.", "{name}");
        assert_eq!(definition.examples.len(), 2, "{name}");
        assert_eq!(
            definition.alternatives.len(),
            if spec == Spec::V1 { 0 } else { 2 },
            "{name}"
        );
        assert_eq!(definition.description.is_empty(), spec == Spec::V1, "{name}");
        assert_eq!(definition.card, Some(ContentId::of(bytes)), "{name}");
    }
}

#[test]
fn a_card_that_nobody_edited_leaves_as_it_came() {
    for (name, bytes, container, _) in GOLDEN {
        let again = edited(bytes, |_| {});
        match container {
            // Packed anew, and the text in it is the same to the byte.
            Container::Charx | Container::Png => {
                assert_eq!(Card::read(&again), Card::read(bytes), "{name}");
            }
            Container::Json => assert!(again == bytes, "{name}"),
        }
    }
}

#[test]
fn only_the_edited_field_differs() {
    for (name, bytes, _, spec) in GOLDEN {
        for (field, value) in [
            ("name", json!("Ада Л.")),
            ("description", json!("Новое «описание» \\ \"и\" {{char}}")),
            ("first_mes", json!("Привет.")),
            ("alternate_greetings", json!(["Раз."])),
            ("creator_notes", json!("Заметка.")),
            ("mes_example", json!("<START>\nодин")),
        ] {
            let written = edited(bytes, |definition| match field {
                "name" => definition.name = "Ада Л.".into(),
                "description" => definition.prompt = "Новое «описание» \\ \"и\" {{char}}".into(),
                "first_mes" => definition.greeting = "Привет.".into(),
                "alternate_greetings" => definition.alternatives = vec!["Раз.".into()],
                "creator_notes" => definition.description = "Заметка.".into(),
                _ => definition.examples = vec!["один".into()],
            });
            let mut expected = Card::read(bytes).unwrap().json;
            let data = if spec == Spec::V1 {
                &mut expected
            } else {
                &mut expected["data"]
            };
            data[field] = value;
            if spec == Spec::V3 {
                data["modification_date"] = json!(1_800_000_000);
            }
            assert_eq!(Card::read(&written).unwrap().json, expected, "{name}: {field}");
        }
        let written = edited(bytes, |definition| definition.temperature = 1.25);
        let (card, definition) = read(&written);
        assert_eq!(definition.temperature, 1.25, "{name}");
        let own = if spec == Spec::V1 {
            &card.json["starling"]
        } else {
            &card.data()["extensions"]["starling"]
        };
        assert_eq!(own, &json!({"temperature": 1.25}), "{name}");
    }
    let text = String::from_utf8(edited(golden("v1.json"), |definition| definition.name = "Я.".into())).unwrap();
    let original = std::str::from_utf8(golden("v1.json")).unwrap();
    assert_eq!(
        text,
        original.replace("\"name\": \"Ада\"", "\"name\": \"Я.\""),
        "numbers and blanks stay as they were"
    );
}

#[test]
fn both_cards_of_a_picture_are_edited_and_its_other_chunks_stay() {
    let bytes = golden("v3.png");
    let written = edited(bytes, |definition| definition.name = "Ева".into());
    for (keyword, spec) in [("chara", "chara_card_v2"), ("ccv3", "chara_card_v3")] {
        let start = [keyword.as_bytes(), &[0]].concat();
        let at = written.windows(start.len()).position(|window| window == start).unwrap() + start.len();
        let length = written[at..]
            .iter()
            .position(|byte| !byte.is_ascii_alphanumeric() && !b"+/=".contains(byte))
            .unwrap();
        let end = at + length / 4 * 4;
        let json: Value = serde_json::from_slice(&data_encoding::BASE64.decode(&written[at..end]).unwrap()).unwrap();
        assert_eq!((&json["spec"], &json["data"]["name"]), (&json!(spec), &json!("Ева")));
    }
    let animated = edited(golden("v3-animated.png"), |definition| definition.name = "Ева".into());
    for name in [&b"acTL"[..], b"fcTL", b"fdAT", b"IDAT", b"Software"] {
        let count = |bytes: &[u8]| bytes.windows(name.len()).filter(|window| *window == name).count();
        assert_eq!(count(&animated), count(golden("v3-animated.png")));
    }
    let checksum = |bytes: &[u8]| crc32fast::hash(bytes);
    let mut at = 8;
    while at < animated.len() {
        let length = u32::from_be_bytes(animated[at..at + 4].try_into().unwrap()) as usize;
        let stored = u32::from_be_bytes(animated[at + 8 + length..at + 12 + length].try_into().unwrap());
        assert_eq!(stored, checksum(&animated[at + 4..at + 8 + length]));
        at += length + 12;
    }
}

#[test]
fn an_archive_keeps_its_other_entries_and_its_picture_is_found() {
    let bytes = golden("v3.charx");
    let picture = Card::read(bytes).unwrap().picture(bytes).unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    let written = edited(bytes, |definition| {
        definition.greeting = "Долго. ".repeat(100).trim().into()
    });
    assert_eq!(Card::read(&written).unwrap().picture(&written).unwrap(), picture);
    for part in [&b"module.risum"[..], b"assets/other/x.bin", b"a comment"] {
        let count = |bytes: &[u8]| bytes.windows(part.len()).filter(|window| *window == part).count();
        assert_eq!(count(&written), count(bytes));
    }
    // Edited once more, it still is an archive.
    let again = edited(&written, |definition| definition.greeting = "Кратко.".into());
    assert_eq!(read(&again).1.greeting, "Кратко.");
    assert!(again.len() < bytes.len() + 200);
}

#[test]
fn what_is_too_long_is_reported_whole_and_stays_in_the_card() {
    let mut json: Value = serde_json::from_str(std::str::from_utf8(golden("v3.json")).unwrap()).unwrap();
    let long = "ы".repeat(12_345);
    json["data"]["description"] = json!(long);
    json["data"]["alternate_greetings"] = json!(vec!["x"; 11]);
    json["data"]["name"] = json!("Я");
    let bytes = json.to_string().into_bytes();
    let id = ContentId::of(&bytes);
    let card = Card::read(&bytes).unwrap();
    let read = content::content(&card, id);
    read.definition.validate().unwrap();
    let reported: Vec<_> = read
        .too_long
        .iter()
        .map(|field| (field.field, field.length, field.limit))
        .collect();
    assert_eq!(
        reported,
        [("name", 1, 50), ("prompt", 12_345, 2000), ("alternatives", 11, 10)]
    );
    assert_eq!(read.too_long[1].text, long);
    assert_eq!(read.definition.prompt, KEPT_IN_CARD);
    let mut definition = read.definition;
    definition.greeting = "Кратко.".into();
    let edits = content::edits(&card, id, &definition, 5);
    json["data"]["first_mes"] = json!("Кратко.");
    json["data"]["modification_date"] = json!(5);
    assert_eq!(Card::read(&Card::write(&bytes, &edits).unwrap()).unwrap().json, json);
}

#[test]
fn a_character_that_was_never_a_card_becomes_one_and_comes_back() {
    let definition = Definition {
        alternatives: vec!["Ещё раз привет.".into()],
        examples: vec!["Кто ты? — Лис.".into(), "Где ты? — Дома.".into()],
        filters: vec!["политика".into()],
        temperature: 0.3,
        answer_characters_max: 500,
        ..Definition::new("Лис", "Хитрый лис", "Привет!", "Ты Лис.")
    };
    let json = content::new_card(&definition, 9);
    let picture = Card::read(golden("v1.png")).unwrap().picture(golden("v1.png")).unwrap();
    for bytes in [
        json.to_string().into_bytes(),
        cards::into_picture(&picture, &json).unwrap(),
    ] {
        let (card, read) = read(&bytes);
        assert_eq!(card.spec, Spec::V3);
        assert_eq!(Definition { card: None, ..read }, definition);
    }
    assert_eq!(Card::read(&picture), Err(CardError::NoCard));
}

fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [
        &u32::try_from(content.len()).unwrap().to_be_bytes()[..],
        name,
        content,
        &[0; 4],
    ]
    .concat()
}

fn picture(chunks: &[Vec<u8>]) -> Vec<u8> {
    let begin = chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]);
    [
        &b"\x89PNG\r\n\x1a\n"[..],
        &begin,
        &chunks.concat(),
        &chunk(b"IEND", &[]),
    ]
    .concat()
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    flate2::read::DeflateEncoder::new(bytes, flate2::Compression::best())
        .read_to_end(&mut packed)
        .unwrap();
    packed
}

/// An archive with one entry that says of itself what it likes.
fn archive(name: &str, packed: &[u8], count: u16, flags: u16) -> Vec<u8> {
    let length = u32::try_from(packed.len()).unwrap().to_le_bytes();
    let name_length = u16::try_from(name.len()).unwrap().to_le_bytes();
    let middle = [
        &[20, 0][..],
        &flags.to_le_bytes(),
        &[8, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &length,
        &[9, 0, 0, 0],
        &name_length,
        &[0, 0],
    ];
    let local = [&b"PK\x03\x04"[..], &middle.concat(), name.as_bytes(), packed].concat();
    let central = [&b"PK\x01\x02\x14\x00"[..], &middle.concat(), &[0; 14], name.as_bytes()].concat();
    let at = u32::try_from(local.len()).unwrap().to_le_bytes();
    let size = u32::try_from(central.len()).unwrap().to_le_bytes();
    let count = count.to_le_bytes();
    let end = [&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &size, &at, &[0, 0]].concat();
    [local, central, end].concat()
}

#[test]
fn hostile_files_are_refused_before_they_are_unpacked() {
    let zeros = vec![b' '; CARD_TEXT_BYTES_MAX * 3];
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    zlib.write_all(&zeros).unwrap();
    let bomb = [&b"ccv3\0\0"[..], &zlib.finish().unwrap()].concat();
    let mut giant = picture(&[]);
    giant.splice(33..33, [&100_000_000u32.to_be_bytes()[..], b"tEXt", b"ccv3\0"].concat());
    let base64 = |text: &str| [b"ccv3\0", data_encoding::BASE64.encode(text.as_bytes()).as_bytes()].concat();
    let deep = format!("{{\"a\":{}", "[".repeat(100_000));
    let began = Instant::now();
    for (what, bytes, expected) in [
        ("nothing", Vec::new(), CardError::UnknownFile),
        ("text", b"hello".to_vec(), CardError::UnknownFile),
        ("too much", vec![b'{'; CARD_BYTES_MAX + 1], CardError::TooLarge),
        (
            "too much text",
            vec![b'{'; CARD_TEXT_BYTES_MAX + 1],
            CardError::UnknownFile,
        ),
        (
            "a chunk of 100 MB that is not there",
            giant,
            CardError::Picture("a chunk is longer than the file"),
        ),
        (
            "a picture bomb",
            picture(&[chunk(b"zTXt", &bomb)]),
            CardError::TextTooLarge,
        ),
        ("no base64", picture(&[chunk(b"tEXt", b"ccv3\0***")]), CardError::Base64),
        (
            "another thing in base64",
            picture(&[chunk(b"tEXt", &base64("[1]"))]),
            CardError::NoCharacter,
        ),
        (
            "a picture that breaks off",
            picture(&[])[..30].to_vec(),
            CardError::Picture("a chunk is longer than the file"),
        ),
        (
            "a zip bomb",
            archive("card.json", &deflated(&zeros), 1, 0),
            CardError::TextTooLarge,
        ),
        (
            "an encrypted archive",
            archive("card.json", b"", 1, 1),
            CardError::Encrypted,
        ),
        ("no card", archive("other.json", b"", 1, 0), CardError::NoCard),
        (
            "65,535 entries",
            archive("card.json", b"", u16::MAX, 0),
            CardError::TooManyEntries,
        ),
        (
            "entries that are not there",
            archive("card.json", b"", 9, 0),
            CardError::Archive("its directory breaks off"),
        ),
        (
            "no directory",
            b"PK\x03\x04".repeat(50_000),
            CardError::Archive("it has no directory"),
        ),
        (
            "a world book",
            br#"{"spec":"lorebook_v3","data":{"entries":[]}}"#.to_vec(),
            CardError::NoCharacter,
        ),
    ] {
        assert_eq!(Card::read(&bytes), Err(expected), "{what}");
    }
    assert!(
        matches!(Card::read(deep.as_bytes()), Err(CardError::Json { .. })),
        "deep nesting"
    );
    assert!(matches!(
        Card::read(b"{\"name\":"),
        Err(CardError::Json { line: 1, .. })
    ));
    assert!(
        began.elapsed().as_secs() < 20,
        "refusing takes no work: {:?}",
        began.elapsed()
    );
}

/// A script, a remote picture and an entity in Markdown: text that comes out as it went in.
#[test]
fn hostile_markup_stays_text() {
    let hostile = "![x](https://example.invalid/track.png) <script>alert(1)</script> [a](javascript:alert(1)) &lt;";
    let json = json!({"spec": "chara_card_v2", "spec_version": "2.0", "data": {
        "name": "Evil", "description": hostile, "first_mes": hostile, "creator_notes": hostile,
    }});
    let bytes = json.to_string().into_bytes();
    let (_, definition) = read(&bytes);
    for text in [&definition.prompt, &definition.greeting, &definition.description] {
        assert_eq!(text, hostile);
    }
}

#[test]
fn an_edit_of_a_later_version_leaves_earlier_cards_alone() {
    let edit = Edit {
        path: vec!["nickname"],
        value: json!("A"),
        since: Spec::V3,
    };
    let written = Card::write(golden("v2.png"), &[edit]).unwrap();
    assert_eq!(
        Card::read(&written).unwrap().json,
        Card::read(golden("v2.png")).unwrap().json
    );
}
