//! Libraries for replicated documents: each holds a chat as a map from message ids to messages, one change for each message, which is
//! the fastest and smallest of the shapes that were tried.

use std::time::Instant;

use automerge::{AutoCommit, ROOT, ReadDoc, transaction::Transactable};
use keys::ContentId;
use yrs::{Map, ReadTxn, Transact, Update, updates::decoder::Decode};

use crate::{
    figure::{ms, percentile},
    fixture::{message, text},
};

/// What stands under the id of a message: what ours says, in plain words.
fn entry(number: usize) -> (String, Vec<u8>) {
    let chat = ContentId([3; 32]);
    let parent = number
        .checked_sub(1)
        .map(|before| message(chat, before as u64, None).id);
    let id = message(chat, number as u64, None).id;
    let content = serde_json::json!({
        "p": parent.map(|parent| parent.to_string()), "t": text(number as u64, 200, false), "a": 1_700_000_000_000_u64 + number as u64,
        "r": "person",
    });
    (id.to_string(), content.to_string().into_bytes())
}

/// A chat in automerge.
fn in_automerge(messages: usize) -> AutoCommit {
    let mut document = AutoCommit::new();
    (0..messages).for_each(|number| put_automerge(&mut document, number));
    document
}

fn put_automerge(document: &mut AutoCommit, number: usize) {
    let (id, content) = entry(number);
    document.put(ROOT, id, content).expect("automerge writes");
    document.commit();
}

fn in_yrs(messages: usize) -> yrs::Doc {
    let document = yrs::Doc::new();
    (0..messages).for_each(|number| drop(put_yrs(&document, number)));
    document
}

/// Puts a message; the update that the others get.
fn put_yrs(document: &yrs::Doc, number: usize) -> Vec<u8> {
    let map = document.get_or_insert_map("messages");
    let mut transaction = document.transact_mut();
    let (id, content) = entry(number);
    map.insert(&mut transaction, id, content);
    transaction.encode_update_v1()
}

fn in_loro(messages: usize) -> loro::LoroDoc {
    let document = loro::LoroDoc::new();
    (0..messages).for_each(|number| put_loro(&document, number));
    document
}

fn put_loro(document: &loro::LoroDoc, number: usize) {
    let (id, content) = entry(number);
    document.get_map("messages").insert(&id, content).expect("loro writes");
    document.commit();
}

/// How long each takes, in milliseconds, to open a chat from its own bytes and read all of it.
pub fn openings(messages: usize, times: usize) -> Vec<(&'static str, Vec<f64>)> {
    let automerge = in_automerge(messages).save_nocompress();
    let yrs = in_yrs(messages)
        .transact()
        .encode_state_as_update_v1(&yrs::StateVector::default());
    let loro = in_loro(messages)
        .export(loro::ExportMode::Snapshot)
        .expect("loro saves");
    let repeat = |open: &dyn Fn() -> usize| {
        let once = || {
            let began = Instant::now();
            assert_eq!(open(), messages);
            ms(began.elapsed())
        };
        (0..times).map(|_| once()).collect::<Vec<f64>>()
    };
    vec![
        (
            "automerge, load without checks",
            repeat(&|| {
                let options = automerge::LoadOptions::new().verification_mode(automerge::VerificationMode::DontCheck);
                let document = AutoCommit::load_with_options(&automerge, options).expect("automerge loads");
                document.map_range(ROOT, ..).count()
            }),
        ),
        (
            "yrs, apply its update",
            repeat(&|| {
                let document = yrs::Doc::new();
                let map = document.get_or_insert_map("messages");
                let update = Update::decode_v1(&yrs).expect("yrs decodes");
                document.transact_mut().apply_update(update).expect("yrs applies");
                map.iter(&document.transact()).count()
            }),
        ),
        (
            "loro, import its snapshot",
            repeat(&|| {
                let document = loro::LoroDoc::new();
                document.import(&loro).expect("loro imports");
                document.get_map("messages").values().count()
            }),
        ),
    ]
}

/// What one message weighs as a change of a chat of a hundred.
pub fn message_bytes() -> Vec<(&'static str, f64)> {
    let numbers = 0..100;
    let mut document = AutoCommit::new();
    let automerge = numbers.clone().map(|number| {
        put_automerge(&mut document, number);
        document.get_last_local_change().expect("a change").raw_bytes().len() as f64
    });
    let automerge = percentile(&automerge.collect::<Vec<_>>(), 0.5);
    let document = yrs::Doc::new();
    let yrs: Vec<f64> = numbers
        .clone()
        .map(|number| put_yrs(&document, number).len() as f64)
        .collect();
    let document = loro::LoroDoc::new();
    let loro = numbers.map(|number| {
        let before = document.oplog_vv();
        put_loro(&document, number);
        document
            .export(loro::ExportMode::updates(&before))
            .expect("loro exports")
            .len() as f64
    });
    let loro = percentile(&loro.collect::<Vec<_>>(), 0.5);
    vec![
        ("automerge change", automerge),
        ("yrs update", percentile(&yrs, 0.5)),
        ("loro update", loro),
    ]
}

/// Bytes both ways until a peer that kept nothing of an earlier talk has one more message.
pub fn one_more(messages: usize) -> Vec<(&'static str, f64)> {
    vec![
        ("automerge sync, fresh state", one_more_automerge(messages) as f64),
        ("yrs, state vector and difference", one_more_yrs(messages) as f64),
        ("loro, version vector and updates", one_more_loro(messages) as f64),
    ]
}

fn one_more_automerge(messages: usize) -> usize {
    use automerge::sync::{State, SyncDoc};
    let mut one = in_automerge(messages);
    let mut other = one.fork();
    put_automerge(&mut one, messages);
    let (mut state, mut other_state) = (State::new(), State::new());
    let mut bytes = 0;
    loop {
        let there = one.sync().generate_sync_message(&mut state);
        if let Some(message) = &there {
            bytes += message.clone().encode().len();
            other
                .sync()
                .receive_sync_message(&mut other_state, message.clone())
                .expect("automerge syncs");
        }
        let back = other.sync().generate_sync_message(&mut other_state);
        if let Some(message) = &back {
            bytes += message.clone().encode().len();
            one.sync()
                .receive_sync_message(&mut state, message.clone())
                .expect("automerge syncs");
        }
        if there.is_none() && back.is_none() {
            break;
        }
    }
    assert_eq!(one.get_heads(), other.get_heads());
    bytes
}

fn one_more_yrs(messages: usize) -> usize {
    use yrs::updates::encoder::Encode;
    let one = in_yrs(messages);
    let state = one.transact().state_vector().encode_v1();
    put_yrs(&one, messages);
    let vector = yrs::StateVector::decode_v1(&state).expect("yrs decodes");
    state.len() + one.transact().encode_diff_v1(&vector).len()
}

fn one_more_loro(messages: usize) -> usize {
    let one = in_loro(messages);
    let before = one.oplog_vv();
    put_loro(&one, messages);
    before.encode().len()
        + one
            .export(loro::ExportMode::updates(&before))
            .expect("loro exports")
            .len()
}
