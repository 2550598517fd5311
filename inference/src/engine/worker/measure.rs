//! Measures how fast a model runs on this machine, in about a second, and with which settings best.

use std::time::{Duration, Instant};

use llama_cpp_2::{context::LlamaContext, llama_batch::LlamaBatch, token::LlamaToken};

use super::{Loading, watch::Watch};
use crate::{
    engine::{
        cache::Room,
        calibration::{Profile, best},
    },
    limits::CALIBRATION_TIME,
};

/// Prompt tokens of a measurement, and generated ones of each sequence.
const PROMPT: usize = 32;
const GENERATED: usize = 4;
/// Sequences that are computed together.
const TOGETHER: usize = 8;
/// Tokens a sequence has when many are compared; only models that compute them in no time are asked.
const LENGTH: usize = 128;
/// Prompt tokens per second above which a model is that quick.
const QUICK: f64 = 1500.0;

/// Measures every choice of threads that fits into the time, and then, for quick models, both kinds of cache.
pub(super) fn measure(loading: &Loading<'_>, watch: &Watch) -> Result<Profile, String> {
    let began = Instant::now();
    let mut measured: Vec<Profile> = Vec::new();
    // The most threads first: when time runs out, that is the likeliest choice.
    for threads in loading.load.threads.iter().rev() {
        measured.push(Measurement::new(loading, *threads, true, 0)?.profile(watch)?);
        if began.elapsed() > CALIBRATION_TIME {
            break;
        }
    }
    let profile = best(&measured).ok_or("the model's speed cannot be measured")?;
    if profile.prefill < QUICK {
        return Ok(profile);
    }
    let mut kinds = Vec::new();
    for is_unified in [true, false] {
        kinds.push(Measurement::new(loading, profile.threads, is_unified, LENGTH)?.profile(watch)?);
    }
    let kind = best(&kinds).ok_or("the model's speed cannot be measured")?;
    Ok(Profile {
        is_unified: kind.is_unified,
        decode_eight: kind.decode_eight,
        ..profile
    })
}

struct Measurement<'model> {
    context: LlamaContext<'model>,
    batch: LlamaBatch<'static>,
    threads: u32,
    is_unified: bool,
    length: usize,
}

impl<'model> Measurement<'model> {
    fn new(loading: &Loading<'model>, threads: u32, is_unified: bool, length: usize) -> Result<Self, String> {
        let sequence = (length + PROMPT + GENERATED * 2).next_multiple_of(256);
        let room = Room {
            tails: TOGETHER,
            cards: 0,
            cells: sequence * TOGETHER,
            sequence,
            parked_bytes: 0,
            is_unified,
        };
        Ok(Self {
            context: loading.context(threads, room)?,
            batch: LlamaBatch::new(TOGETHER * PROMPT.max(length), 1),
            threads,
            is_unified,
            length,
        })
    }

    fn profile(mut self, watch: &Watch) -> Result<Profile, String> {
        // The first decode builds graphs and touches the weights: it does not count.
        self.decode(watch, 0..1, 1, 0)?;
        let prefill = self.decode(watch, 0..1, PROMPT, 1)?;
        let mut alone = Duration::ZERO;
        for token in 0..GENERATED {
            alone += self.decode(watch, 0..1, 1, 1 + PROMPT + token)?;
        }
        self.context.clear_kv_cache();
        let start = self.length.max(1);
        for sequence in 0..TOGETHER {
            self.decode(watch, sequence..sequence + 1, start, 0)?;
        }
        let mut together = Duration::ZERO;
        for token in 0..GENERATED {
            together += self.decode(watch, 0..TOGETHER, 1, start + token)?;
        }
        let rate = |tokens: usize, time: Duration| tokens as f64 / time.as_secs_f64().max(1e-9);
        Ok(Profile {
            threads: self.threads,
            is_unified: self.is_unified,
            prefill: rate(PROMPT, prefill),
            decode: rate(GENERATED, alone),
            decode_eight: rate(GENERATED * TOGETHER, together),
        })
    }

    /// Computes so many tokens of each sequence from a position on.
    fn decode(
        &mut self,
        watch: &Watch,
        sequences: std::ops::Range<usize>,
        tokens: usize,
        from: usize,
    ) -> Result<Duration, String> {
        self.batch.clear();
        for sequence in sequences {
            let sequence = [i32::try_from(sequence).unwrap_or(0)];
            for offset in 0..tokens {
                let position = i32::try_from(from + offset).unwrap_or(i32::MAX);
                let added = self.batch.add(LlamaToken(1), position, &sequence, offset + 1 == tokens);
                added.map_err(|error| error.to_string())?;
            }
        }
        let began = Instant::now();
        watch
            .step(|| self.context.decode(&mut self.batch))
            .map_err(|error| format!("the model cannot be computed: {error}"))?;
        Ok(began.elapsed())
    }
}
