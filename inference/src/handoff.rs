//! Keys and values of a conversation go from the node that has them computed to the one that generates next, where that is quicker than computing
//! them again; see [`crate::engine::state`] for what they are and what stands before llama.cpp's parser.
//!
//! ## Journey: a conversation moves
//! A conversation leaves its last node because that one drains, is kept from working, or has too long a queue. The gateway knows
//! where it was answered last ([`Router::holder`](crate::swarm::router::Router::holder)) and says so with the question -> the node that
//! was chosen looks what it lacks of the prompt, and whether [that is worth it](worth) -> while it waits for its turn it asks the last node over
//! `/starling/state/1`, naming conversation and tokens -> that one exports what it has of them, whether it takes work or not, and announces
//! size and blake3 -> both are checked, and the engine takes the state over -> the generation finds it computed.
//!
//! Whatever goes wrong on the way, or takes longer than computing would, which is its deadline, the answer is made from the text. Nobody is told but
//! [`Counts`], which an administrator reads in `/metrics`.
//!
//! ## Who may
//! Members alone speak the protocol, and a node gives nothing but tokens that the asker names, of a conversation that it names by account and
//! session: so a member learns nothing that it did not have.

mod worth;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use keys::NodeId;
use mesh::{
    Mesh, Protocol, Stream,
    frame::{self, FrameError, read_frame, within, write_frame},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::{Semaphore, mpsc},
};

use self::worth::Link;
use crate::{
    engine::{
        Engine, Generation,
        protocol::Bytes,
        state::{Compatibility, Incoming, Look, Part, State, StateError},
    },
    keeper::Engines,
    limits::{
        ASK_OPEN_TIMEOUT, STATE_CHUNK_BYTES, STATE_FRAME_BYTES_MAX, STATE_LINKS_MAX, STATE_SILENCE_MAX, STATE_TIME_MAX,
        STATES_SERVED_MAX, WRITE_TIMEOUT,
    },
};

/// First byte of every frame.
const VERSION: u8 = 1;

/// From the node that will generate.
#[derive(Debug, Serialize, Deserialize)]
enum FromAsker {
    /// What is there of this part, in an engine with this hash of all that must match?
    Ask { compatibility: Compatibility, part: Part },
}

/// From the node that has it computed.
#[derive(Debug, Serialize, Deserialize)]
enum FromHolder {
    /// A state of the part's first so many tokens, its bytes and their blake3.
    Begin { tokens: u32, bytes: u64, hash: [u8; 32] },
    /// The next bytes.
    Piece(Bytes),
    /// There is none.
    Refused(StateError),
}

/// How the hand-offs to this node ended, since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// States that were taken over.
    pub adopted: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Tokens that need not be computed because of them.
    pub tokens: u64,
    /// Computing was quicker.
    pub not_worth: u64,
    /// The other node had nothing, or something else than fits here.
    pub refused: u64,
    /// The other node could not be reached, broke off or took too long.
    pub broken: u64,
    /// What came was not what was announced, or no state of these tokens.
    pub false_states: u64,
}

/// Why a conversation is computed from its text.
#[derive(Debug, thiserror::Error)]
enum NoState {
    #[error("computing is quicker")]
    NotWorth,
    #[error("{0}")]
    Refused(StateError),
    #[error("the other node is out of reach, or broke off: {0}")]
    Broken(FrameError),
    #[error("it takes longer than computing")]
    TooSlow,
    #[error("{0}")]
    False(StateError),
}

impl From<FrameError> for NoState {
    fn from(error: FrameError) -> Self {
        Self::Broken(error)
    }
}

/// The hand-offs of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Handoffs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    counts: Mutex<Counts>,
    /// Bytes a second at which states came from each node.
    speeds: Mutex<HashMap<NodeId, f64>>,
    /// Each that is served holds a state in memory.
    serving: Semaphore,
}

impl Default for Handoffs {
    fn default() -> Self {
        Self(Arc::new(Shared {
            counts: Mutex::default(),
            speeds: Mutex::default(),
            serving: Semaphore::new(STATES_SERVED_MAX),
        }))
    }
}

impl Handoffs {
    /// How they ended.
    pub(crate) fn counts(&self) -> Counts {
        *self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn link(&self, mesh: &Mesh, node: NodeId) -> Link {
        let view = mesh.view();
        let round_trip = view.borrow().links.get(&node).and_then(|link| link.round_trip);
        let speeds = self.0.speeds.lock().unwrap_or_else(PoisonError::into_inner);
        Link {
            round_trip: round_trip.unwrap_or_default(),
            bytes_per_second: speeds.get(&node).copied(),
        }
    }

    fn measured(&self, node: NodeId, bytes: u64, took: Duration) {
        let speed = bytes as f64 / took.as_secs_f64().max(1e-6);
        let mut speeds = self.0.speeds.lock().unwrap_or_else(PoisonError::into_inner);
        if speeds.len() >= STATE_LINKS_MAX && !speeds.contains_key(&node) {
            // They are measured again when they are needed.
            speeds.clear();
        }
        let known = speeds.entry(node).or_insert(speed);
        *known = (*known + speed) / 2.0;
    }

    /// Brings what another node has computed of a generation's prompt, if that is quicker than computing it. It ends in bounded time, and
    /// whatever comes of it the generation can begin.
    pub(crate) async fn fetch(&self, mesh: &Mesh, engine: &Engine, generation: Generation, holder: NodeId) {
        let bring = self.bring(mesh, engine, generation, holder);
        let brought = tokio::time::timeout(STATE_TIME_MAX, bring).await;
        match brought.unwrap_or(Err(NoState::TooSlow)) {
            Ok((tokens, bytes)) => {
                tracing::debug!(node = %holder.short(), tokens, bytes, "a conversation was taken over as it is computed");
                self.count(|counts| {
                    counts.adopted += 1;
                    counts.bytes += bytes;
                    counts.tokens += tokens;
                });
            }
            Err(reason) => {
                tracing::debug!(node = %holder.short(), %reason, "a conversation is computed from its text");
                self.count(|counts| match reason {
                    NoState::NotWorth => counts.not_worth += 1,
                    NoState::Refused(_) => counts.refused += 1,
                    NoState::Broken(_) | NoState::TooSlow => counts.broken += 1,
                    NoState::False(_) => counts.false_states += 1,
                });
            }
        }
    }

    /// The tokens that it saves, and its bytes.
    async fn bring(
        &self,
        mesh: &Mesh,
        engine: &Engine,
        generation: Generation,
        holder: NodeId,
    ) -> Result<(u64, u64), NoState> {
        let view = mesh.view();
        let is_reachable = view.borrow().links.get(&holder).is_some_and(|link| link.is_reachable());
        if !is_reachable {
            // It is not waited for: somebody waits for the answer.
            return Err(gone());
        }
        let look = engine.look(generation).await.map_err(NoState::Refused)?;
        let profile = engine.model().and_then(|model| model.profile);
        let prefill = profile.map_or(0.0, |profile| profile.prefill);
        let link = self.link(mesh, holder);
        let budget = worth_of(&look, look.part.tokens.len(), prefill, link).ok_or(NoState::NotWorth)?;
        let transfer = self.transfer(mesh, engine, &look, (holder, prefill, budget));
        let state = tokio::time::timeout(budget, transfer).await;
        let state = state.unwrap_or(Err(NoState::TooSlow))?;
        let (bytes, tokens) = (state.bytes().len() as u64, state.part().tokens.len() as u64);
        engine.adopt(state).await.map_err(|error| match error {
            StateError::Length { .. } | StateError::Layout(_) => NoState::False(error),
            error => NoState::Refused(error),
        })?;
        Ok((tokens.saturating_sub(look.cached.into()), bytes))
    }

    /// Asks for a state and receives it.
    async fn transfer(
        &self,
        mesh: &Mesh,
        engine: &Engine,
        look: &Look,
        (holder, prefill, budget): (NodeId, f64, Duration),
    ) -> Result<State, NoState> {
        let compatibility = engine.compatibility().await;
        let compatibility = compatibility.ok_or(NoState::Refused(StateError::Unsupported))?;
        let opened = tokio::time::timeout(ASK_OPEN_TIMEOUT, mesh.open(holder, Protocol::STATE)).await;
        let mut stream = opened.ok().and_then(Result::ok).ok_or_else(gone)?;
        let ask = FromAsker::Ask {
            compatibility,
            part: look.part.clone(),
        };
        say(&mut stream, &ask).await?;
        let (incoming, hash) = announced(hear(&mut stream).await?, look)?;
        let tokens = look.part.from as usize + usize::try_from(incoming.count()).unwrap_or(0);
        worth_of(look, tokens, prefill, self.link(mesh, holder)).ok_or(NoState::NotWorth)?;
        let (began, bytes) = (Instant::now(), incoming.expected());
        let state = receive(&mut stream, incoming, &hash, budget).await;
        match &state {
            Ok(_) => self.measured(holder, bytes, began.elapsed()),
            // So slow at most: the next one is asked for only where that is quick enough.
            Err(NoState::TooSlow) => self.measured(holder, bytes, began.elapsed().max(budget)),
            Err(_) => {}
        }
        state
    }

    /// Gives states to others until the mesh stops; also while this node drains or is kept from working.
    pub(crate) async fn serve(self, engines: Engines, mut streams: mpsc::Receiver<(NodeId, Stream)>) {
        while let Some((node, stream)) = streams.recv().await {
            let (handoffs, engines) = (self.clone(), engines.clone());
            tokio::spawn(async move {
                let served = tokio::time::timeout(STATE_TIME_MAX, handoffs.serve_one(&engines, stream)).await;
                let late = Err(FrameError::Timeout(STATE_TIME_MAX));
                if let Err(error) = served.unwrap_or(late) {
                    tracing::debug!(node = %node.short(), %error, "a state did not get to another node");
                }
            });
        }
    }

    async fn serve_one(&self, engines: &Engines, mut stream: Stream) -> Result<(), FrameError> {
        let asked = within(STATE_SILENCE_MAX, read_frame(&mut stream, STATE_FRAME_BYTES_MAX)).await?;
        let asked = asked.as_deref().and_then(|frame| frame::decode(VERSION, frame));
        let FromAsker::Ask { compatibility, part } = asked.ok_or_else(malformed)?;
        let exported = match self.0.serving.try_acquire() {
            Ok(permit) => export(engines, compatibility, part).await.map(|state| (state, permit)),
            Err(_) => Err(StateError::Busy),
        };
        match exported {
            Ok((state, _permit)) => give(&mut stream, &state).await?,
            Err(error) => say(&mut stream, &FromHolder::Refused(error)).await?,
        }
        stream.shutdown().await?;
        // Until the asker has read it: a stream that is dropped before takes the end with it.
        within(WRITE_TIMEOUT, read_frame(&mut stream, STATE_FRAME_BYTES_MAX))
            .await
            .map(drop)
    }
}

/// How long a state of the prompt's first so many tokens may take; nothing where there is no room for it or computing is quicker.
fn worth_of(look: &Look, tokens: usize, prefill: f64, link: Link) -> Option<Duration> {
    // The last token is computed in any case.
    let known = tokens.min(look.part.tokens.len().saturating_sub(1)) as u64;
    let saved = worth::computing(known.saturating_sub(look.cached.into()), prefill);
    let bytes = look.bytes((tokens as u64).saturating_sub(look.part.from.into()));
    (bytes <= look.room_bytes && worth::moving(bytes, link) < saved).then_some(saved)
}

async fn export(engines: &Engines, compatibility: Compatibility, part: Part) -> Result<State, StateError> {
    // What is not in memory has nothing computed.
    let model = engines.main_in_memory().ok_or(StateError::Unknown)?;
    let own = model.engine().compatibility().await;
    if own != Some(compatibility) {
        return Err(StateError::Incompatible);
    }
    model.engine().export(part).await
}

/// What the other node announces, where that is a state of these tokens.
fn announced(said: FromHolder, look: &Look) -> Result<(Incoming, [u8; 32]), NoState> {
    let (tokens, bytes, hash) = match said {
        FromHolder::Begin { tokens, bytes, hash } => (tokens as usize, bytes, hash),
        FromHolder::Refused(error) => return Err(NoState::Refused(error)),
        FromHolder::Piece(_) => return Err(malformed().into()),
    };
    let mut part = look.part.clone();
    if tokens > part.tokens.len() {
        return Err(NoState::False(StateError::Incompatible));
    }
    part.tokens.truncate(tokens);
    let expected = look.bytes(part.count());
    if part.count() == 0 || bytes != expected {
        return Err(NoState::False(StateError::Length { bytes, expected }));
    }
    Ok((Incoming::new(part, bytes), hash))
}

async fn give(stream: &mut (impl AsyncWrite + Unpin), state: &State) -> Result<(), FrameError> {
    let begin = FromHolder::Begin {
        tokens: u32::try_from(state.part().tokens.len()).unwrap_or(u32::MAX),
        bytes: state.bytes().len() as u64,
        hash: state.hash(),
    };
    say(stream, &begin).await?;
    for piece in state.bytes().chunks(STATE_CHUNK_BYTES) {
        say(stream, &FromHolder::Piece(Bytes(piece.to_vec()))).await?;
    }
    Ok(())
}

async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    mut incoming: Incoming,
    hash: &[u8; 32],
    budget: Duration,
) -> Result<State, NoState> {
    let (began, bytes) = (Instant::now(), incoming.expected());
    while !incoming.is_whole() {
        let FromHolder::Piece(Bytes(piece)) = hear(stream).await? else {
            return Err(malformed().into());
        };
        incoming.push(&piece).map_err(NoState::False)?;
        if !worth::comes_in_time(incoming.received(), bytes, began.elapsed(), budget) {
            return Err(NoState::TooSlow);
        }
    }
    incoming.finish(hash).map_err(NoState::False)
}

fn gone() -> NoState {
    NoState::Broken(FrameError::Timeout(ASK_OPEN_TIMEOUT))
}

fn malformed() -> FrameError {
    FrameError::Io(std::io::Error::other("not what belongs here"))
}

async fn say(writer: &mut (impl AsyncWrite + Unpin), said: &impl Serialize) -> Result<(), FrameError> {
    let frame = frame::encode(VERSION, said);
    within(WRITE_TIMEOUT, write_frame(writer, &frame, STATE_FRAME_BYTES_MAX)).await
}

async fn hear(reader: &mut (impl AsyncRead + Unpin)) -> Result<FromHolder, FrameError> {
    let frame = within(STATE_SILENCE_MAX, read_frame(reader, STATE_FRAME_BYTES_MAX)).await?;
    let said = frame.as_deref().and_then(|frame| frame::decode(VERSION, frame));
    said.ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cache::Conversation;

    /// Of ten tokens, two computed here; a state has 5 bytes and 3 for each token.
    fn look() -> Look {
        Look {
            part: Part {
                conversation: Conversation::default(),
                from: 2,
                tokens: (0..10).collect(),
            },
            cached: 2,
            fixed_bytes: 5,
            token_bytes: 3,
            room_bytes: 29,
        }
    }

    /// Kept for ever: what a node of this release says must be understood by every later one that still speaks version 1.
    const ASK: &[u8] = include_bytes!("../../tests/formats/state-ask-1.bin");
    const BEGIN: &[u8] = include_bytes!("../../tests/formats/state-begin-1.bin");
    const PIECE: &[u8] = include_bytes!("../../tests/formats/state-piece-1.bin");
    const REFUSED: &[u8] = include_bytes!("../../tests/formats/state-refused-1.bin");

    #[test]
    fn what_is_said_over_a_state_stays_what_it_was() {
        let ask = FromAsker::Ask {
            compatibility: [1; 32],
            part: Part {
                conversation: Conversation {
                    card: [2; 32],
                    account: [3; 32],
                    session: [4; 32],
                },
                from: 200,
                tokens: vec![5, 300, 151_935],
            },
        };
        assert_eq!(frame::encode(VERSION, &ask), ASK);
        let FromAsker::Ask { compatibility, part } = frame::decode(VERSION, ASK).unwrap();
        assert_eq!(
            (compatibility, part.from, part.tokens),
            ([1; 32], 200, vec![5, 300, 151_935])
        );
        let no_room = StateError::NoRoom { bytes: 300, room: 7 };
        let piece = FromHolder::Piece(Bytes(vec![7, 200, 0]));
        for (said, kept) in [
            (begin(7, 300), BEGIN),
            (piece, PIECE),
            (FromHolder::Refused(no_room), REFUSED),
        ] {
            assert_eq!(frame::encode(VERSION, &said), kept);
            // What is read is what was said, since every field of it is written again.
            let read: FromHolder = frame::decode(VERSION, kept).unwrap();
            assert_eq!(frame::encode(VERSION, &read), kept);
            for length in 0..kept.len() {
                assert!(frame::decode::<FromHolder>(VERSION, &kept[..length]).is_none());
            }
        }
    }

    fn begin(tokens: u32, bytes: u64) -> FromHolder {
        let hash = *blake3::hash(&[9; 20]).as_bytes();
        FromHolder::Begin { tokens, bytes, hash }
    }

    #[test]
    fn only_what_can_be_a_state_of_these_tokens_is_received() {
        let (incoming, _) = announced(begin(7, 20), &look()).unwrap();
        assert_eq!((incoming.expected(), incoming.count()), (20, 5));
        for (tokens, bytes) in [(7, 19), (7, u64::MAX), (2, 5), (1, 5), (0, 0), (11, 32), (u32::MAX, 20)] {
            let refused = announced(begin(tokens, bytes), &look());
            assert!(
                matches!(refused, Err(NoState::False(_))),
                "{tokens} tokens, {bytes} bytes"
            );
        }
        let refused = announced(FromHolder::Refused(StateError::Incompatible), &look());
        assert!(matches!(refused, Err(NoState::Refused(StateError::Incompatible))));
        let early = announced(FromHolder::Piece(Bytes(vec![9; 20])), &look());
        assert!(matches!(early, Err(NoState::Broken(_))));
    }

    #[test]
    fn what_is_computed_quickly_or_has_no_room_is_not_even_asked_for() {
        let link = Link::default();
        assert!(worth_of(&look(), 10, 1.0, link).is_some());
        assert!(worth_of(&look(), 10, 1e9, link).is_none());
        let crowded = Look {
            room_bytes: 28,
            ..look()
        };
        assert!(worth_of(&crowded, 10, 1.0, link).is_none());
    }

    #[tokio::test]
    async fn what_arrives_is_what_was_announced_or_nothing() {
        let budget = Duration::from_secs(60);
        let received = async |pieces: &[&[u8]], budget| {
            let (mut here, mut there) = tokio::io::duplex(64 * 1024);
            for piece in pieces {
                let piece = FromHolder::Piece(Bytes(piece.to_vec()));
                say(&mut there, &piece).await.unwrap();
            }
            drop(there);
            let (incoming, hash) = announced(begin(7, 20), &look()).unwrap();
            receive(&mut here, incoming, &hash, budget).await
        };
        let whole = received(&[&[9; 15], &[9; 5]], budget).await.unwrap();
        assert_eq!((whole.bytes(), whole.part().tokens.len()), (&[9; 20][..], 7));
        let false_hash = received(&[&[9; 15], &[8; 5]], budget).await;
        assert!(matches!(false_hash, Err(NoState::False(StateError::Hash))));
        let too_long = received(&[&[9; 15], &[9; 6]], budget).await;
        assert!(matches!(too_long, Err(NoState::False(StateError::Length { .. }))));
        assert!(matches!(received(&[&[9; 15]], budget).await, Err(NoState::Broken(_))));
        let slow = received(&[&[9; 15], &[9; 5]], Duration::ZERO).await;
        assert!(matches!(slow, Err(NoState::TooSlow)));
    }

    #[tokio::test]
    async fn a_state_travels_in_pieces() {
        let (mut here, mut there) = tokio::io::duplex(4 * 1024 * 1024);
        let bytes = vec![7; STATE_CHUNK_BYTES * 2 + 1];
        let mut incoming = Incoming::new(look().part, bytes.len() as u64);
        incoming.push(&bytes).unwrap();
        let state = incoming.made_here();
        give(&mut there, &state).await.unwrap();
        let FromHolder::Begin { tokens, bytes, hash } = hear(&mut here).await.unwrap() else {
            panic!("not announced");
        };
        assert_eq!((tokens, hash), (10, state.hash()));
        let incoming = Incoming::new(look().part, bytes);
        let arrived = receive(&mut here, incoming, &hash, Duration::from_secs(60))
            .await
            .unwrap();
        assert_eq!(arrived.bytes(), state.bytes());
    }
}
