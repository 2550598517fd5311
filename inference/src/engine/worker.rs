//! The engine process: one thread owns model, context and batch; another reads commands. It ends when its input ends, so that no
//! engine outlives its node.

mod batch;
mod slot;

use std::{
    io::{self, Read, Write},
    num::NonZeroU32,
    process::ExitCode,
    sync::mpsc,
    time::Instant,
};

use llama_cpp_2::{
    context::{LlamaContext, params::LlamaContextParams},
    llama_backend::LlamaBackend,
    llama_batch::LlamaBatch,
    model::{LlamaModel, params::LlamaModelParams},
    token::LlamaToken,
};

use self::batch::Batcher;
use super::protocol::{FromWorker, Loaded, ToWorker};
use crate::limits::{ENGINE_FRAME_BYTES_MAX, PROMPT_CHUNK_MAX, TEMPLATE_BYTES_MAX, WORKER_COMMAND_QUEUE};

/// Control tokens that are told to the node; models have a few to a few hundred.
const CONTROL_TOKENS_MAX: usize = 1024;
/// Tokens of the measurement at load: enough to tell machines apart, little enough for an 8B model on a small one.
const CALIBRATION_PROMPT: usize = 32;
const CALIBRATION_TOKENS: usize = 4;

/// Runs the engine process until its standard input ends. Called by the hidden subcommand `infer-worker`.
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

fn run() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let Some(ToWorker::Load {
        path,
        slots,
        context_tokens,
        threads,
    }) = read(&mut input)?
    else {
        return Ok(());
    };
    drop(input);
    let refuse = |reason: String| write(&FromWorker::LoadFailed { reason });
    let Ok(mut backend) = LlamaBackend::init() else {
        return refuse("llama.cpp could not be initialised".into());
    };
    backend.void_logs();
    // mmap keeps a second copy of weights that the CPU backend repacks (7.9 instead of 4.9 GB for an 8B model, measured).
    let parameters = LlamaModelParams::default()
        .with_use_mmap(false)
        .with_n_gpu_layers(if backend.supports_gpu_offload() { 999 } else { 0 });
    let model = match LlamaModel::load_from_file(&backend, &path, &parameters) {
        Ok(model) => model,
        Err(error) => return refuse(format!("{path} could not be loaded: {error}")),
    };
    let per_slot = context_tokens.min(model.n_ctx_train().max(64));
    let threads = i32::try_from(threads).unwrap_or(1);
    let batch_size = u32::try_from(PROMPT_CHUNK_MAX).unwrap_or(512) + slots;
    let parameters = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(per_slot.saturating_mul(slots)))
        .with_n_batch(batch_size)
        .with_n_seq_max(slots)
        .with_kv_unified(true)
        .with_n_threads(threads)
        .with_n_threads_batch(threads);
    let mut context = match model.new_context(&backend, parameters) {
        Ok(context) => context,
        Err(error) => return refuse(format!("no context of {slots} x {per_slot} tokens: {error}")),
    };
    let mut batch = LlamaBatch::new(batch_size as usize, 1);
    let (prefill, decode) = match calibrate(&mut context, &mut batch) {
        Ok(speeds) => speeds,
        Err(reason) => return refuse(reason),
    };
    write(&FromWorker::Ready(describe(&model, per_slot, prefill, decode)))?;
    let (sender, commands) = mpsc::sync_channel(WORKER_COMMAND_QUEUE);
    std::thread::Builder::new()
        .name("starling-engine-input".into())
        .spawn(move || {
            let mut input = io::stdin().lock();
            // A closed channel means that the engine thread is gone; an ended or broken input that the node is.
            while let Ok(Some(command)) = read(&mut input) {
                if sender.send(command).is_err() {
                    return;
                }
            }
        })?;
    Batcher::new(&model, context, batch, slots, per_slot, prefill).run(&commands)
}

/// Measures prompt and generation speed in tokens per second.
fn calibrate(context: &mut LlamaContext<'_>, batch: &mut LlamaBatch<'_>) -> Result<(f64, f64), String> {
    let mut decode = |tokens: usize, start: usize| -> Result<f64, String> {
        batch.clear();
        for position in start..start + tokens {
            let position_number = i32::try_from(position).map_err(|error| error.to_string())?;
            let last = position + 1 == start + tokens;
            batch
                .add(LlamaToken(1), position_number, &[0], last)
                .map_err(|error| error.to_string())?;
        }
        let began = Instant::now();
        context
            .decode(batch)
            .map_err(|error| format!("the model cannot be computed: {error}"))?;
        Ok(began.elapsed().as_secs_f64().max(1e-9))
    };
    // The first decode builds graphs and touches the weights: it does not count.
    decode(1, 0)?;
    let prefill = decode(CALIBRATION_PROMPT, 1)?;
    let mut generation = 0.0;
    for token in 0..CALIBRATION_TOKENS {
        generation += decode(1, 1 + CALIBRATION_PROMPT + token)?;
    }
    context.clear_kv_cache();
    Ok((
        CALIBRATION_PROMPT as f64 / prefill,
        CALIBRATION_TOKENS as f64 / generation,
    ))
}

fn describe(model: &LlamaModel, context_tokens: u32, prefill: f64, decode: f64) -> Loaded {
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
        context_tokens,
        template: model
            .meta_val_str("tokenizer.chat_template")
            .ok()
            .filter(|template| template.len() <= TEMPLATE_BYTES_MAX),
        control_tokens,
        begin_token: text(vocabulary.bos()),
        end_token: text(vocabulary.eos()),
        prefill_tokens_per_second: prefill,
        decode_tokens_per_second: decode,
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
    postcard::from_bytes(&body).map(Some).map_err(io::Error::other)
}

fn write(message: &FromWorker) -> io::Result<()> {
    let body = postcard::to_stdvec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut output = io::stdout().lock();
    output.write_all(&[&length.to_le_bytes()[..], &body].concat())?;
    output.flush()
}
