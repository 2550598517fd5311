//! What a conversation has computed, as bytes that another engine goes on from: llama.cpp's state of one sequence, its keys and values.
//!
//! ## What leaves
//! Of one conversation the positions `from..to`: the tokens that its next prompt has in common with what is computed. `from` is 0, and then the
//! card is part of it, or, where the receiver has the card computed and keys and values are unified, the end of the card: on a 200-token card
//! five times fewer bytes. The whole makes the continuation equal to the bit, since nothing in it was computed by the receiver; behind a card of
//! the receiver's own it is, where that was computed in equal steps. An engine gives only tokens that the asker named itself, so nobody
//! learns from it what somebody else said.
//!
//! ## What must match
//! llama.cpp reads a state with a parser that trusts it. So three things stand before that parser:
//! 1. [`Engine::compatibility`]: a hash of the build, the whole model file, the processor's architecture and kind of device, and the layout of the
//!    state: streams, layers, types and row sizes of keys and values, whether values are transposed. It is learned from a state of this
//!    engine itself, when it has loaded; a model whose state is not laid out plainly (recurrent, sliding window, several rotations a position)
//!    hands nothing off. Nothing is sent between engines whose hashes differ.
//! 2. [`Incoming`]: bytes as long as the layout says for so many tokens, and the blake3 that the sender announced.
//! 3. [`layout::Layout::check`] in the engine process, before the bytes are kept: every length, type, count and position in them is the
//!    expected one; what is left free are numbers.
//!
//! A state that passed waits in ordinary memory as a conversation does that had to leave the context ([`super::cache`]); should llama.cpp refuse it
//! all the same, the conversation is computed from its text.
//!
//! It travels to and from the child in pieces of [`STATE_CHUNK_BYTES`], between the steps of those who generate.

pub(crate) mod layout;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, oneshot};

use super::{
    Command, Engine, Generation, GenerationError, Task,
    cache::{Conversation, TokenId},
};
#[cfg(doc)]
use crate::limits::STATE_CHUNK_BYTES;

/// The library whose state this is. Its layout may change with any version; a test holds this against the lock file.
const LLAMA_BUILD: &str = "llama-cpp-sys-2 0.1.161";

/// Hash of everything that must be equal in two engines for one to go on from the other's state.
pub type Compatibility = [u8; 32];

/// A part of a conversation: what is computed of these tokens, from a position on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Whose tokens they are.
    pub conversation: Conversation,
    /// The first position that is meant; those before it the receiver has.
    pub from: u32,
    /// The tokens of all positions, from 0 on.
    pub tokens: Vec<TokenId>,
}

impl Part {
    /// Tokens that are meant.
    #[must_use]
    pub fn count(&self) -> u64 {
        let tokens = u64::try_from(self.tokens.len()).unwrap_or(u64::MAX);
        tokens.saturating_sub(self.from.into())
    }
}

/// What an engine would have to compute for a prompt, and what it could take instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// The whole prompt, from the position on from which a state would help.
    pub part: Part,
    /// Tokens at its beginning that are computed here.
    pub cached: u32,
    /// Bytes of a state besides its tokens.
    pub fixed_bytes: u64,
    /// Bytes of a state for each token.
    pub token_bytes: u64,
    /// Bytes that a state may have to be kept here.
    pub room_bytes: u64,
}

impl Look {
    /// Bytes of a state of so many tokens, exactly.
    #[must_use]
    pub const fn bytes(&self, tokens: u64) -> u64 {
        self.token_bytes.saturating_mul(tokens).saturating_add(self.fixed_bytes)
    }
}

/// Why a state was not given or not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum StateError {
    /// The model keeps what it computed in a way that cannot be checked, or it computes elsewhere.
    #[error("this model's state cannot be handed off")]
    Unsupported,
    /// Build, model, device or the layout of keys and values are others here.
    #[error("the state is one of another build, model or layout")]
    Incompatible,
    /// Nothing is computed here that the asker named and lacks.
    #[error("nothing of this conversation is computed here")]
    Unknown,
    /// The conversation is being generated here, or as many states are under way as are allowed.
    #[error("the conversation or the engine is busy")]
    Busy,
    /// It is longer than what may be kept.
    #[error("a state of {bytes} bytes is more than the {room} that there is room for")]
    NoRoom {
        /// Its bytes.
        bytes: u64,
        /// The room.
        room: u64,
    },
    /// It has not the bytes that so many tokens have.
    #[error("a state of {bytes} bytes, where its tokens have {expected}")]
    Length {
        /// Its bytes.
        bytes: u64,
        /// Those of its tokens.
        expected: u64,
    },
    /// Its bytes are not those that were announced.
    #[error("the state's bytes are not those that were announced")]
    Hash,
    /// It is laid out otherwise than this engine's.
    #[error("the state is laid out otherwise: its {0} differ")]
    Layout(layout::Field),
    /// The prompt cannot be asked for here.
    #[error(transparent)]
    Prompt(#[from] Box<GenerationError>),
    /// The engine is not there, or ended meanwhile.
    #[error("the engine is not there")]
    Gone,
}

/// A state whose bytes are those that were announced.
#[derive(Debug)]
pub struct State {
    pub(crate) part: Part,
    pub(crate) bytes: Vec<u8>,
    hash: [u8; 32],
}

impl State {
    /// Which tokens it is about.
    #[must_use]
    pub const fn part(&self) -> &Part {
        &self.part
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Their blake3.
    #[must_use]
    pub const fn hash(&self) -> [u8; 32] {
        self.hash
    }
}

/// A state on its way here.
#[derive(Debug)]
pub struct Incoming {
    part: Part,
    expected: u64,
    bytes: Vec<u8>,
    hasher: blake3::Hasher,
}

impl Incoming {
    /// One of so many bytes: whoever calls has compared them with what the tokens need and with the room there is.
    #[must_use]
    pub fn new(part: Part, expected: u64) -> Self {
        Self {
            part,
            expected,
            bytes: Vec::new(),
            hasher: blake3::Hasher::new(),
        }
    }

    /// The next piece.
    ///
    /// # Errors
    /// When it is more than was announced.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), StateError> {
        let bytes = u64::try_from(self.bytes.len() + piece.len()).unwrap_or(u64::MAX);
        if bytes > self.expected {
            let expected = self.expected;
            return Err(StateError::Length { bytes, expected });
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(usize::try_from(self.expected).unwrap_or(0));
        }
        self.hasher.update(piece);
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Tokens that the state is about, from its first position on.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.part.count()
    }

    /// Bytes that will have come.
    #[must_use]
    pub const fn expected(&self) -> u64 {
        self.expected
    }

    /// Bytes that came.
    #[must_use]
    pub fn received(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }

    /// Whether all came.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.received() == self.expected
    }

    /// The state, as this process itself made it.
    pub(crate) fn made_here(self) -> State {
        let hash = *self.hasher.finalize().as_bytes();
        State {
            part: self.part,
            bytes: self.bytes,
            hash,
        }
    }

    /// The state, when its bytes are as many as were announced and have the hash that was announced.
    ///
    /// # Errors
    /// When they do not.
    pub fn finish(self, announced: &[u8; 32]) -> Result<State, StateError> {
        if !self.is_whole() {
            let (bytes, expected) = (self.received(), self.expected);
            return Err(StateError::Length { bytes, expected });
        }
        let state = self.made_here();
        if state.hash != *announced {
            return Err(StateError::Hash);
        }
        Ok(state)
    }
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, StateError>>;

/// What is asked of an engine about states.
pub(crate) enum StateCommand {
    Look(Box<Task>, Reply<Look>),
    Export(Part, Reply<State>),
    Adopt(State, Reply<()>),
}

impl StateCommand {
    pub(crate) fn refuse(self, error: StateError) {
        match self {
            Self::Look(_, reply) => drop(reply.send(Err(error))),
            Self::Export(_, reply) => drop(reply.send(Err(error))),
            Self::Adopt(_, reply) => drop(reply.send(Err(error))),
        }
    }
}

/// The file that an engine has loaded, hashed once and only when that is needed: a large one takes seconds.
#[derive(Clone, Debug)]
pub(crate) struct LoadedFile {
    path: PathBuf,
    /// As it was when it was loaded.
    version: Option<(u64, SystemTime)>,
    hash: Arc<OnceCell<Option<[u8; 32]>>>,
}

fn version(path: &Path) -> Option<(u64, SystemTime)> {
    let metadata = path.metadata().ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

impl LoadedFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            version: version(&path),
            path,
            hash: Arc::default(),
        }
    }

    /// The hash of what was loaded; nothing where the file was changed since.
    async fn hash(&self) -> Option<[u8; 32]> {
        let (path, loaded) = (self.path.clone(), self.version);
        let compute = move || -> io::Result<Option<[u8; 32]>> {
            let mut hasher = blake3::Hasher::new();
            io::copy(&mut File::open(&path)?, &mut hasher)?;
            let is_same = loaded.is_some() && version(&path) == loaded;
            Ok(is_same.then(|| *hasher.finalize().as_bytes()))
        };
        let cell = Arc::clone(&self.hash);
        // In a task of its own, and to its end: whoever gives up waiting finds it there the next time.
        let hashing = tokio::spawn(async move {
            let hash = cell.get_or_init(|| async {
                let hashed = tokio::task::spawn_blocking(compute).await;
                hashed.ok().and_then(Result::ok).flatten()
            });
            *hash.await
        });
        hashing.await.ok().flatten()
    }
}

impl Engine {
    /// See the module; nothing where this engine hands nothing off. Hashes the model's file when it is asked for the first time.
    pub async fn compatibility(&self) -> Option<Compatibility> {
        let layout = self.model()?.state_layout?;
        let model = self.file.as_ref()?.hash().await?;
        let mut hasher = blake3::Hasher::new_derive_key("starling kv state 1");
        for part in [LLAMA_BUILD.as_bytes(), &model, &layout] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        Some(*hasher.finalize().as_bytes())
    }

    async fn ask_about_state<T>(&self, command: impl FnOnce(Reply<T>) -> StateCommand) -> Result<T, StateError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::State(command(reply)))
            .await
            .map_err(|_| StateError::Gone)?;
        answer.await.unwrap_or(Err(StateError::Gone))
    }

    /// What is computed here of a generation's prompt, and what a state would bring. Nothing is begun.
    ///
    /// # Errors
    /// When the prompt cannot be asked for, or this engine hands nothing off.
    pub async fn look(&self, generation: Generation) -> Result<Look, StateError> {
        let model = self.model().ok_or(StateError::Gone)?;
        let task = super::task(&model, generation).map_err(Box::new)?;
        self.ask_about_state(|reply| StateCommand::Look(Box::new(task), reply))
            .await
    }

    /// What is computed here of a part, as far as that goes: the state's own [`Part`] has the tokens that it is about.
    ///
    /// # Errors
    /// When nothing of it is, or too much else is under way.
    pub async fn export(&self, part: Part) -> Result<State, StateError> {
        self.ask_about_state(|reply| StateCommand::Export(part, reply)).await
    }

    /// Takes a state over: the conversation's next generation goes on from it, if it comes soon and its prompt begins with the same tokens.
    ///
    /// # Errors
    /// When it is not laid out as this engine's, there is no room, or the conversation is being generated.
    pub async fn adopt(&self, state: State) -> Result<(), StateError> {
        self.ask_about_state(|reply| StateCommand::Adopt(state, reply)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_the_one_that_is_linked() {
        let lock = include_str!("../../../Cargo.lock");
        let (name, version) = LLAMA_BUILD.split_once(' ').unwrap();
        assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n")));
    }

    #[test]
    fn what_comes_is_bounded_and_what_was_announced() {
        let part = Part {
            conversation: Conversation::default(),
            from: 1,
            tokens: vec![1, 2, 3],
        };
        assert_eq!(part.count(), 2);
        let incoming = |pieces: &[&[u8]]| {
            let mut incoming = Incoming::new(part.clone(), 4);
            pieces.iter().try_for_each(|piece| incoming.push(piece))?;
            incoming.finish(blake3::hash(b"abcd").as_bytes())
        };
        assert_eq!(incoming(&[b"ab", b"cd"]).unwrap().bytes(), b"abcd");
        let length = |bytes| StateError::Length { bytes, expected: 4 };
        assert_eq!(incoming(&[b"ab", b"c"]).unwrap_err(), length(3));
        assert_eq!(incoming(&[b"ab", b"cde"]).unwrap_err(), length(5));
        assert_eq!(incoming(&[b"ab", b"ce"]).unwrap_err(), StateError::Hash);
    }
}
