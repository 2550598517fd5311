//! What nodes say to each other over a generation, in this release's frames and in those of the release before.

use super::*;

/// Kept for ever: what a node of this release says must be understood by every later one that still speaks version 5.
const QUEUED: &[u8] = include_bytes!("../../../tests/formats/generate-queued-5.bin");
const FULL: &[u8] = include_bytes!("../../../tests/formats/generate-full-5.bin");
const PROGRESS: &[u8] = include_bytes!("../../../tests/formats/generate-progress-4.bin");
const BUSY: &[u8] = include_bytes!("../../../tests/formats/generate-busy-4.bin");
/// The same question in the frames of this release, which say where the conversation is computed, and of the one before.
const FROM: &[u8] = include_bytes!("../../../tests/formats/generate-from-6.bin");
const WITHOUT: &[u8] = include_bytes!("../../../tests/formats/generate-5.bin");

const STANDING: FromGenerator = FromGenerator::Queued {
    ahead: 3,
    wait_ms: 12_000,
};
const NO_ROOM: FromGenerator = FromGenerator::Failed(GenerationError::Full {
    ahead: 64,
    wait_ms: 90_000,
});

#[test]
fn who_waits_at_another_node_is_told_where_and_a_node_of_the_release_before_hears_that_it_lives() {
    let (now, before) = (Frames::on(2), Frames::on(1));
    assert_eq!(now.report(&STANDING), QUEUED);
    assert_eq!(now.report(&NO_ROOM), FULL);
    assert!(matches!(
        now.read(QUEUED),
        Some(FromGenerator::Queued {
            ahead: 3,
            wait_ms: 12_000
        })
    ));
    assert!(matches!(
        now.read(FULL),
        Some(FromGenerator::Failed(GenerationError::Full {
            ahead: 64,
            wait_ms: 90_000
        }))
    ));
    assert_eq!(before.report(&STANDING), PROGRESS);
    assert_eq!(before.report(&NO_ROOM), BUSY);
    assert!(matches!(before.read(PROGRESS), Some(FromGenerator::Progress)));
    assert!(matches!(
        before.read(BUSY),
        Some(FromGenerator::Failed(GenerationError::Busy))
    ));
}

#[test]
fn a_frame_of_the_other_version_is_none_and_what_is_announced_stays_what_it_was() {
    assert!(Frames::on(1).read::<FromGenerator>(QUEUED).is_none());
    assert!(Frames::on(2).read::<FromGenerator>(BUSY).is_none());
    let stop = |frames: Frames| frames.ask(&FromAsker::Stop);
    assert_eq!((stop(Frames::on(1)), stop(Frames::on(2))), (vec![4, 1], vec![5, 1]));
    assert_eq!(stop(Frames::on(3)), [6, 1]);
    assert_eq!(encode(&Vec::<Offer>::new()), [4, 0]);
}

/// An answer that another node began, of a conversation that a third one has computed.
fn request() -> Request {
    let id = |name: &[u8]| crdt::records::EntryId::derived(keys::Timestamp(1_700_000_000_000), "test", &[name]);
    Request {
        account: ContentId([1; 32]),
        session: ContentId([2; 32]),
        question: id(b"question"),
        answer: id(b"answer"),
        gateway: keys::NodeId([3; 32]),
        run: 4,
        said: Some("Hm".into()),
        messages: vec![ChatMessage::new("user", "Hello")],
        sampling: Sampling {
            seed: 5,
            stops: vec!["\n".into()],
            ..Sampling::default()
        },
        epoch: 6,
        begun: Some(Begun {
            model: "built-in".into(),
            shortened: 1,
            tokens: vec![300, 7],
            text: "Hi ".into(),
        }),
        computed_at: Some(keys::NodeId([7; 32])),
    }
}

#[test]
fn where_a_conversation_is_computed_is_told_to_whoever_knows_what_to_do_with_it() {
    let asked = FromAsker::Generate(Box::new(request()));
    assert_eq!(Frames::on(3).ask(&asked), FROM);
    assert_eq!(Frames::on(2).ask(&asked), WITHOUT);
    let without = Request {
        computed_at: None,
        ..request()
    };
    let version_1 = Frames::on(1).ask(&asked);
    for (version, bytes, expected) in [
        (1, &version_1[..], &without),
        (2, WITHOUT, &without),
        (3, FROM, &request()),
    ] {
        let Some(FromAsker::Generate(read)) = Frames::on(version).read_question(bytes) else {
            panic!("version {version} is not read");
        };
        assert_eq!(*read, *expected, "version {version}");
        for length in 0..bytes.len() {
            assert!(
                Frames::on(version).read_question(&bytes[..length]).is_none(),
                "{length} bytes"
            );
        }
    }
}
