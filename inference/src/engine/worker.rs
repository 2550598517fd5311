//! The engine process: one thread owns model, context and batch; another reads commands; a third says that the process is alive and
//! ends it when a step hangs. It ends when its input ends, so that no engine outlives its node.

pub(crate) mod backends;
mod batch;
mod job;
mod kept;
mod measure;
mod raw;
mod watch;

use std::{
    io::{self, Read, Write},
    num::NonZeroU32,
    process::ExitCode,
    sync::mpsc::{self, Receiver},
    time::Duration,
};

use llama_cpp_2::{
    context::{
        LlamaContext,
        params::{KvCacheType, LlamaContextParams},
    },
    llama_backend::LlamaBackend,
    model::{LlamaModel, params::LlamaModelParams},
    token::LlamaToken,
};

use self::{
    backends::Backends,
    batch::{Batcher, Ended},
    measure::measure,
    watch::Watch,
};
use super::{
    cache::Room,
    calibration::Profile,
    gate::Gate,
    protocol::{Bytes, FromWorker, Load, Loaded, ToWorker, decode, encode},
    state::{Part, StateError},
};
use crate::limits::{
    CARDS_PINNED, CARDS_PINNED_STREAMS, ENGINE_FRAME_BYTES_MAX, ENGINE_OOM_SCORE, PROMPT_CHUNK_MAX, STEP_TARGET,
    STEP_TARGET_GPU, TAILS_PER_SLOT, TEMPLATE_BYTES_MAX, WORKER_COMMAND_QUEUE,
};

/// Control tokens that are told to the node; models have a few to a few hundred.
const CONTROL_TOKENS_MAX: usize = 1024;
/// llama.cpp's number for it; small keys and values need it.
const FLASH_ATTENTION_ON: i32 = 1;

/// Runs the engine process until its standard input ends. Called by the hidden subcommand `engine`.
#[must_use]
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The node reads this from the log of its child.
            eprintln!("engine: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What every part of the process needs to know of the model.
pub(super) struct Loading<'model> {
    pub(super) backend: &'model LlamaBackend,
    pub(super) backends: Backends,
    pub(super) model: &'model LlamaModel,
    pub(super) load: Load,
    /// Context of each sequence in tokens.
    pub(super) per_slot: u32,
    pub(super) step_target: Duration,
    /// Whether a graphics card computes.
    pub(super) has_gpu: bool,
    /// What the model does not try to answer, where its file says so.
    pub(super) gate: Option<Gate>,
}

fn run() -> io::Result<()> {
    // Without the right to it, the process is as likely to be ended as its node.
    let _ = std::fs::write("/proc/self/oom_score_adj", ENGINE_OOM_SCORE.to_string());
    let mut input = io::stdin().lock();
    let Some(ToWorker::Load(load)) = read(&mut input)? else {
        return Ok(());
    };
    drop(input);
    let watch = Watch::start()?;
    let refuse = |reason: String| write(&FromWorker::LoadFailed { reason });
    let (backends, backend) = match initialise() {
        Ok(both) => both,
        Err(reason) => return refuse(reason),
    };
    let has_gpu = backend.supports_gpu_offload();
    // mmap keeps a second copy of weights that the CPU backend repacks (7.9 instead of 4.9 GB for an 8B model, measured).
    let parameters = LlamaModelParams::default()
        .with_use_mmap(false)
        .with_n_gpu_layers(if has_gpu { 999 } else { 0 });
    let model = match LlamaModel::load_from_file(&backend, &load.path, &parameters) {
        Ok(model) => model,
        Err(error) => return refuse(format!("{} could not be loaded: {error}", load.path)),
    };
    let mut loading = Loading {
        backend: &backend,
        backends,
        model: &model,
        per_slot: load.context_tokens.min(model.n_ctx_train().max(64)),
        has_gpu,
        step_target: if has_gpu { STEP_TARGET_GPU } else { STEP_TARGET },
        gate: Gate::from_metadata(|key| model.meta_val_str(key).ok()),
        load,
    };
    let commands = listen(&watch, loading.load.parked_bytes)?;
    let mut is_first = true;
    loop {
        let profile = match loading
            .load
            .profile
            .take()
            .map_or_else(|| measure(&loading, &watch), Ok)
        {
            Ok(profile) => profile,
            Err(reason) if is_first => return refuse(reason),
            Err(reason) => return Err(io::Error::other(reason)),
        };
        let room = loading.room(profile.is_unified);
        let context = match loading.context(profile.threads, room) {
            Ok(context) => context,
            Err(reason) if is_first => return refuse(reason),
            Err(reason) => return Err(io::Error::other(reason)),
        };
        let mut batcher = Batcher::new(&loading, context, room, &profile);
        batcher.warm_up().map_err(io::Error::other)?;
        write(&if is_first {
            FromWorker::Ready(Box::new(describe(&loading, profile, batcher.state_layout())))
        } else {
            let state_layout = batcher.state_layout();
            FromWorker::Measured { profile, state_layout }
        })?;
        is_first = false;
        match batcher.run(&commands, &watch)? {
            Ended::Unneeded => return Ok(()),
            Ended::Slower => {}
        }
    }
}

/// llama.cpp, and what of it computes here.
fn initialise() -> Result<(Backends, LlamaBackend), String> {
    let backends = backends::load()?;
    let mut backend = LlamaBackend::init().map_err(|error| format!("llama.cpp could not be initialised: {error}"))?;
    backend.void_logs();
    Ok((backends, backend))
}

/// What the engine thread is given to do.
pub(super) enum Inbound {
    Command(ToWorker),
    /// A state has come whole.
    State {
        id: u64,
        part: Part,
        bytes: Vec<u8>,
    },
}

/// A state of which not all pieces have come: its number, its part, the bytes so far and how many there will be.
type Arriving = Option<(u64, Part, Vec<u8>, usize)>;

/// Puts the pieces of a state together before the engine thread hears of it, so that its queue has room for what people wait for.
fn gather(arriving: &mut Arriving, command: ToWorker, room: u64) -> Option<Inbound> {
    match command {
        ToWorker::Adopt { id, part, bytes } => {
            let count = usize::try_from(bytes).ok().filter(|_| (1..=room).contains(&bytes));
            *arriving = count.map(|count| (id, part, Vec::with_capacity(count), count));
            if arriving.is_none() {
                let result = Err(StateError::NoRoom { bytes, room });
                // A node that does not read is gone, which the end of the input says, too.
                let _ = write(&FromWorker::Adopted { id, result });
            }
            None
        }
        ToWorker::Piece {
            id,
            piece: Bytes(piece),
        } => {
            let (_, _, bytes, count) = arriving.as_mut().filter(|(arriving, ..)| *arriving == id)?;
            bytes.extend_from_slice(&piece[..piece.len().min(*count - bytes.len())]);
            let is_whole = bytes.len() == *count;
            let (id, part, bytes, _) = is_whole.then(|| arriving.take()).flatten()?;
            Some(Inbound::State { id, part, bytes })
        }
        command => Some(Inbound::Command(command)),
    }
}

/// Reads commands on a thread of its own. When the node is gone, the process ends, even in the middle of a step that hangs.
fn listen(watch: &Watch, room: u64) -> io::Result<Receiver<Inbound>> {
    let (sender, commands) = mpsc::sync_channel(WORKER_COMMAND_QUEUE);
    let watch = watch.clone();
    std::thread::Builder::new()
        .name("starling-engine-input".into())
        .spawn(move || {
            let mut input = io::stdin().lock();
            let mut arriving = None;
            // A closed channel means that the engine thread is gone; an ended or broken input that the node is.
            while let Ok(Some(command)) = read(&mut input) {
                let Some(inbound) = gather(&mut arriving, command, room) else {
                    continue;
                };
                if sender.send(inbound).is_err() {
                    return;
                }
            }
            drop(sender);
            watch.end_soon();
        })?;
    Ok(commands)
}

impl<'model> Loading<'model> {
    /// What a context of this kind holds.
    pub(super) fn room(&self, is_unified: bool) -> Room {
        let slots = self.load.slots as usize;
        let sequence = self.per_slot as usize;
        let parked_bytes = usize::try_from(self.load.parked_bytes).unwrap_or(usize::MAX);
        if is_unified {
            Room {
                tails: slots * TAILS_PER_SLOT,
                cards: CARDS_PINNED,
                cells: slots * sequence,
                sequence,
                parked_bytes,
                is_unified,
            }
        } else {
            Room {
                tails: slots,
                cards: CARDS_PINNED_STREAMS,
                cells: (slots + CARDS_PINNED_STREAMS) * sequence,
                sequence,
                parked_bytes,
                is_unified,
            }
        }
    }

    /// A context with that room.
    pub(super) fn context(&self, threads: u32, room: Room) -> Result<LlamaContext<'model>, String> {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let threads = i32::try_from(threads).unwrap_or(1);
        // One more for parts of sequences on their way to and from ordinary memory.
        let sequences = room.tails + room.cards + usize::from(room.is_unified);
        let mut parameters = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(number(room.cells)))
            .with_n_batch(number(PROMPT_CHUNK_MAX) + self.load.slots)
            .with_n_ubatch(self.load.micro_batch)
            .with_n_seq_max(number(sequences))
            .with_kv_unified(room.is_unified)
            .with_n_threads(threads)
            .with_n_threads_batch(threads);
        if self.load.is_cache_small {
            parameters = parameters
                .with_type_k(KvCacheType::Q8_0)
                .with_type_v(KvCacheType::Q8_0)
                .with_flash_attention_policy(FLASH_ATTENTION_ON);
        }
        self.model
            .new_context(self.backend, parameters)
            .map_err(|error| format!("no context of {} tokens: {error}", room.cells))
    }
}

fn describe(loading: &Loading<'_>, profile: Profile, state_layout: Option<[u8; 32]>) -> Loaded {
    let model = loading.model;
    let vocabulary = model.vocab();
    let text = |token: LlamaToken| {
        let known = token.0 >= 0;
        if known {
            String::from_utf8_lossy(&vocabulary.token_to_piece(token, true, None)).into_owned()
        } else {
            String::new()
        }
    };
    let control_tokens = vocabulary
        .tokens()
        .filter(|token| vocabulary.is_control(*token))
        .map(text)
        .filter(|text| text.len() > 1)
        .take(CONTROL_TOKENS_MAX)
        .collect();
    Loaded {
        name: model.meta_val_str("general.name").unwrap_or_default(),
        context_tokens: loading.per_slot,
        template: model
            .meta_val_str("tokenizer.chat_template")
            .ok()
            .filter(|template| template.len() <= TEMPLATE_BYTES_MAX),
        control_tokens,
        begin_token: text(vocabulary.bos()),
        end_token: text(vocabulary.eos()),
        profile,
        state_layout,
        backends: loading.backends.clone(),
    }
}

fn read(input: &mut impl Read) -> io::Result<Option<ToWorker>> {
    let mut prefix = [0; 4];
    if input.read(&mut prefix[..1])? == 0 {
        return Ok(None);
    }
    input.read_exact(&mut prefix[1..])?;
    let length = u32::from_le_bytes(prefix) as usize;
    if length > ENGINE_FRAME_BYTES_MAX {
        return Err(io::Error::other("a frame over the limit"));
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    decode(&body).map(Some).map_err(io::Error::other)
}

fn write(message: &FromWorker) -> io::Result<()> {
    let body = encode(message);
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut output = io::stdout().lock();
    output.write_all(&[&length.to_le_bytes()[..], &body].concat())?;
    output.flush()
}
