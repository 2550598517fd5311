//! Bytes as a frame between a node that needs documents and one that holds them: bounded, of one form only, and what a node answers is
//! a frame.

use crdt::{
    fetch::{Ask, FetchFrame},
    limits::{FETCH_DOCUMENTS_MAX, FETCH_FRAME_BYTES_MAX, PLACEMENT_OWN_OFFERED_MAX, RECONCILE_ENVELOPES_MAX},
    records::RecordKind,
    set::ShardSet,
};
use keys::ContentId;

pub fn run(bytes: &[u8]) {
    let Ok(frame) = FetchFrame::decode(bytes) else {
        return;
    };
    assert!(bytes.len() <= FETCH_FRAME_BYTES_MAX);
    match &frame {
        FetchFrame::Ask {
            what: Ask::Documents(documents),
            ..
        } => assert!(documents.len() <= FETCH_DOCUMENTS_MAX),
        FetchFrame::Ask { .. } => {}
        FetchFrame::Give { envelopes, .. } => assert!(envelopes.len() <= RECONCILE_ENVELOPES_MAX),
        FetchFrame::Offer(envelopes) => assert!(envelopes.len() <= PLACEMENT_OWN_OFFERED_MAX),
        FetchFrame::Held(ids) => assert!(ids.len() <= PLACEMENT_OWN_OFFERED_MAX),
    }
    assert_eq!(
        FetchFrame::decode(&frame.encode()),
        Ok(frame),
        "what was read can be sent"
    );
}

pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let (id, shards) = (ContentId([2; 32]), [1, 200].into_iter().collect::<ShardSet>());
    let ask = |what| FetchFrame::Ask { what, shards };
    let frames = [
        ("documents", ask(Ask::Documents(vec![(id, [1; 8]), (id, [0; 8])]))),
        ("owned", ask(Ask::OwnedBy(id))),
        ("kind", ask(Ask::OfKind(RecordKind::Claim))),
        (
            "give",
            FetchFrame::Give {
                envelopes: vec![vec![1, 2, 3], vec![4]],
                answered: None,
            },
        ),
        (
            "last",
            FetchFrame::Give {
                envelopes: Vec::new(),
                answered: Some(ShardSet::all()),
            },
        ),
        ("offer", FetchFrame::Offer(vec![vec![9; 40]])),
        ("held", FetchFrame::Held(vec![id])),
    ];
    let seeds = frames.into_iter();
    seeds.map(|(name, frame)| (name.to_owned(), frame.encode())).collect()
}
