//! Nodes of adjacent releases: each stream is spoken in the newest version that both know, and what one does not know harms nobody.

use std::time::Duration;

use futures::StreamExt;
use keys::NodeKey;
use libp2p::{
    Swarm,
    swarm::{SwarmEvent, dial_opts::DialOpts},
};

use super::*;
use crate::{
    membership::peer_of,
    transport::{Meters, quic_multiaddress, swarm_in_memory},
};

/// Long enough for a busy machine; nothing waits for it when all goes well.
const PATIENCE: Duration = Duration::from_secs(20);

/// A release, by the versions in which it speaks.
#[derive(Clone, Copy)]
struct Release {
    generate: &'static [&'static str],
    /// A protocol that the other releases do not have.
    further: &'static [&'static str],
}

const BEFORE: Release = Release {
    generate: &["/starling/generate/1"],
    further: &[],
};
const PRESENT: Release = Release {
    generate: &["/starling/generate/2", "/starling/generate/1"],
    further: &[],
};
const NEXT: Release = Release {
    generate: &["/starling/generate/3", "/starling/generate/2"],
    further: &["/starling/further/1"],
};
const FURTHER: Protocol = Protocol::foreign("/starling/further/1");

struct Node {
    key: NodeKey,
    swarm: Swarm<Behaviour>,
    opener: Opener,
    inbound: Inbound,
}

impl Node {
    fn new(release: Release) -> Self {
        let mut names = vec![(Protocol::GENERATE, release.generate.to_vec())];
        if !release.further.is_empty() {
            names.push((FURTHER, release.further.to_vec()));
        }
        let (behaviour, opener, inbound) = speaking(Membership::Everyone, Names(names), Arc::default());
        let key = NodeKey::generate();
        Self {
            swarm: swarm_in_memory(&key, |_| behaviour, &Meters::default()).unwrap(),
            key,
            opener,
            inbound,
        }
    }
}

/// Opens a stream from one release to another; the versions that both sides were told.
async fn opened(from: Release, to: Release, protocol: Protocol) -> Result<(u16, u16), OpenError> {
    let (mut here, mut there) = (Node::new(from), Node::new(to));
    let place = std::net::SocketAddr::from(([10, 9, 8, 7], u16::from_le_bytes(keys::identity::random_bytes())));
    let place = quic_multiaddress(&place);
    there.swarm.listen_on(place.clone()).unwrap();
    let peer = peer_of(&there.key.id()).unwrap();
    let dial = DialOpts::peer_id(peer).addresses(vec![place]).build();
    here.swarm.dial(dial).unwrap();
    let talk = async {
        loop {
            tokio::select! {
                event = here.swarm.select_next_some() => {
                    if let SwarmEvent::ConnectionEstablished { .. } = event {
                        break;
                    }
                }
                _ = there.swarm.select_next_some() => {}
            }
        }
        let mut inbox = there.inbound.remove(&protocol);
        let open = here.opener.open(there.key.id(), protocol, None);
        tokio::pin!(open);
        let stream = loop {
            tokio::select! {
                stream = &mut open => break stream?,
                _ = here.swarm.select_next_some() => {}
                _ = there.swarm.select_next_some() => {}
            }
        };
        let inbox = inbox.as_mut().expect("who takes a stream has a place for it");
        let (_, taken) = inbox.recv().await.expect("it was taken before its opener was told");
        Ok((stream.version(), taken.version()))
    };
    tokio::time::timeout(PATIENCE, talk).await.expect("nothing hangs")
}

#[tokio::test]
async fn two_adjacent_releases_speak_the_newest_version_that_both_know() {
    let generate = Protocol::GENERATE;
    assert_eq!(opened(PRESENT, PRESENT, generate).await, Ok((2, 2)));
    assert_eq!(opened(PRESENT, BEFORE, generate).await, Ok((1, 1)));
    assert_eq!(opened(BEFORE, PRESENT, generate).await, Ok((1, 1)));
    assert_eq!(opened(PRESENT, NEXT, generate).await, Ok((2, 2)));
    assert_eq!(opened(NEXT, PRESENT, generate).await, Ok((2, 2)));
}

/// The control: what makes it work is that both know one version.
#[tokio::test]
async fn control_releases_that_are_too_far_apart_refuse_and_nothing_hangs() {
    for (from, to) in [(BEFORE, NEXT), (NEXT, BEFORE)] {
        let refused = opened(from, to, Protocol::GENERATE).await;
        assert!(
            matches!(refused, Err(OpenError::Refused(_, Protocol::GENERATE))),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_protocol_of_the_next_release_is_refused_by_the_present_one_and_spoken_by_the_next() {
    assert_eq!(opened(NEXT, NEXT, FURTHER).await, Ok((1, 1)));
    let refused = opened(NEXT, PRESENT, FURTHER).await;
    assert!(matches!(refused, Err(OpenError::Refused(_, FURTHER))), "{refused:?}");
}
