//! Two rosters in two states, joined by a pipe.

use keys::{
    NodeKey, Timestamp,
    invite::{Invite, Terms},
    membership::{Certificate, Decree, Roles, Target},
};

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn key(seed: u16) -> NodeKey {
    let [low, high] = seed.to_le_bytes();
    let mut bytes = [7; 32];
    (bytes[0], bytes[1]) = (low, high);
    NodeKey::from_seed(&bytes)
}

fn founded() -> Roster {
    Roster::new(Certificate::found(&key(0), key(1).id(), "first", [0; 16], NOW).unwrap()).unwrap()
}

/// `count` nodes join, all by the first.
fn grown(mut roster: Roster, from: u16, count: u16) -> Roster {
    for node in from..from + count {
        let terms = Terms::new(Roles::NODE, 1, NOW.plus(1000));
        let seed = *key(1000 + node).seed();
        let invite = Invite::issue(&key(0), roster.mesh(), key(1).id(), vec![], seed, terms).unwrap();
        let request = invite.redeem(key(node).id(), "member").unwrap();
        let (grant, redemption) = request.into_parts(roster.root(), None).unwrap();
        roster.admit(&key(1), key(node).id(), grant, redemption, NOW).unwrap();
    }
    roster
}

fn revoked(mut roster: Roster, node: u16) -> Roster {
    let decrees = roster
        .revoke(&key(1), Target::Node(key(node).id()), "stolen", NOW)
        .unwrap();
    roster.take(decrees.into_iter().map(Evidence::Decree).collect());
    roster
}

/// One node: what it hears goes into its roster, and news goes to its stream, as in the actor.
struct Side {
    roster: watch::Sender<Arc<Roster>>,
    news: broadcast::Sender<News>,
    agreed: oneshot::Receiver<()>,
    told: mpsc::Receiver<Vec<Evidence>>,
    task: tokio::task::JoinHandle<TrustEnd>,
}

impl Side {
    fn start(stream: tokio::io::DuplexStream, roster: Roster) -> Self {
        let (roster, seen) = watch::channel(Arc::new(roster));
        let (news, heard) = broadcast::channel(4);
        let (report, told) = mpsc::channel(4);
        let (agreement, agreed) = oneshot::channel();
        let ends = Ends {
            neighbour: key(1).id(),
            roster: seen,
            news: heard,
            report,
            agreed: Some(agreement),
        };
        let task = tokio::spawn(run(stream, ends));
        Self {
            roster,
            news,
            agreed,
            told,
            task,
        }
    }

    async fn hear(&mut self) {
        let evidence = self.told.recv().await.expect("the stream stands");
        let mut roster = Roster::clone(&self.roster.borrow());
        assert!(roster.take(evidence).refused.is_empty());
        self.roster.send_replace(Arc::new(roster));
    }

    fn digest(&self) -> ContentId {
        self.roster.borrow().digest()
    }
}

fn pair(here: Roster, there: Roster) -> (Side, Side) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    (Side::start(near, here), Side::start(far, there))
}

#[tokio::test(start_paused = true)]
async fn two_sides_that_agree_say_so_with_one_frame_each() {
    let (mut here, mut there) = pair(founded(), founded());
    let _ = (&mut here.agreed).await;
    let _ = (&mut there.agreed).await;
    assert!(here.told.try_recv().is_err() && there.told.try_recv().is_err());
}

/// More ids than one frame holds, and each side has what the other lacks.
#[tokio::test(start_paused = true)]
async fn two_halves_of_a_split_agree_before_anything_else() {
    let common = grown(founded(), 10, 30);
    let here = revoked(grown(common.clone(), 100, 20), 10);
    let there = revoked(grown(common, 200, 40), 11);
    let (mut here, mut there) = pair(here, there);
    while here.digest() != there.digest() {
        tokio::select! {
            () = here.hear() => {}
            () = there.hear() => {}
        }
    }
    let _ = (&mut here.agreed).await;
    let _ = (&mut there.agreed).await;
    for side in [&here, &there] {
        let roster = side.roster.borrow().clone();
        assert_eq!(roster.members().count(), 1 + 30 + 60 - 2);
        assert!(roster.get(&key(10).id()).is_none() && roster.get(&key(11).id()).is_none());
    }
}

#[test]
fn what_a_side_has_and_lacks_is_said_in_ranges_without_gaps() {
    let all = grown(founded(), 10, 300);
    let some = grown(founded(), 10, 200);
    let said = have(&some);
    let ids: Vec<ShortId> = some.evidence_ids().iter().map(short).collect();
    // The same in ranges of ten, as a far larger mesh would say it.
    let mut ranges = Vec::new();
    let mut from = [0; 16];
    let mut chunks = ids.chunks(10).peekable();
    while let Some(chunk) = chunks.next() {
        let until = chunks.peek().map(|next| next[0]);
        ranges.push(((from, until), chunk));
        from = until.unwrap_or(from);
    }
    let told = |frames: &[Frame]| {
        let tell = frames.iter().filter_map(|frame| match frame {
            Frame::Tell(told) => Some(told.len()),
            _ => None,
        });
        tell.sum::<usize>()
    };
    let answers: Vec<Frame> = ranges
        .iter()
        .flat_map(|(range, ids)| missing(&all, *range, ids))
        .collect();
    assert_eq!(told(&answers), 100);
    assert_eq!(answers.iter().filter(|frame| matches!(frame, Frame::Told)).count(), 1);
    assert!(matches!(&said[..], [Frame::Have { until: None, ids, .. }] if ids.len() == 201));
    for frame in said.iter().chain(&answers) {
        assert!(encode(frame).len() <= TRUST_FRAME_BYTES_MAX);
    }
}

#[tokio::test(start_paused = true)]
async fn news_goes_to_the_neighbour_at_once_and_a_lost_piece_comes_with_the_next_digest() {
    let before = grown(founded(), 10, 3);
    let (mut here, mut there) = pair(before.clone(), before.clone());
    let _ = (&mut here.agreed).await;
    let after = revoked(before.clone(), 10);
    let decree = |roster: &Roster| -> Vec<Evidence> {
        let decrees = roster.evidence().map(|(_, evidence)| evidence);
        decrees
            .filter(|evidence| matches!(evidence, Evidence::Decree(Decree::Revocation(_))))
            .collect()
    };
    here.roster.send_replace(Arc::new(after.clone()));
    let news = |from, evidence: Vec<Evidence>| News {
        from,
        evidence: evidence.into(),
    };
    here.news.send(news(None, decree(&after))).unwrap();
    there.hear().await;
    assert_eq!(there.digest(), here.digest());
    // What came from the neighbour does not go back to it: the queue holds four, so five would make it compare digests instead.
    let latest = revoked(after, 11);
    here.roster.send_replace(Arc::new(latest.clone()));
    here.news.send(news(Some(key(1).id()), decree(&latest))).unwrap();
    tokio::time::timeout(TRUST_AGAIN / 2, there.told.recv())
        .await
        .unwrap_err();
    // It was not told, but the digests are compared again.
    there.hear().await;
    assert_eq!(there.digest(), here.digest());
}

#[tokio::test]
async fn garbage_and_a_first_frame_that_is_no_digest_end_the_stream() {
    for bad in [
        vec![VERSION, 250],
        vec![9, 0],
        encode(&Frame::Told),
        encode(&Frame::Tell(vec![vec![1]])),
    ] {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let side = Side::start(near, founded());
        write_frame(&mut far, &bad, TRUST_FRAME_BYTES_MAX).await.unwrap();
        assert!(matches!(side.task.await.unwrap(), TrustEnd::Malformed));
    }
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    let side = Side::start(near, founded());
    let digest = encode(&Frame::Digest(ContentId([0; 32])));
    write_frame(&mut far, &digest, TRUST_FRAME_BYTES_MAX).await.unwrap();
    let bad = encode(&Frame::Tell(vec![b"nonsense".to_vec()]));
    write_frame(&mut far, &bad, TRUST_FRAME_BYTES_MAX).await.unwrap();
    assert!(matches!(side.task.await.unwrap(), TrustEnd::Malformed));
}
