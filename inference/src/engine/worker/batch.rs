//! Continuous batching: each step gives one token to every running sequence and a share of prompt to those that begin.

use std::{
    collections::VecDeque,
    io,
    sync::mpsc::{Receiver, TryRecvError},
    time::{Duration, Instant},
};

use llama_cpp_2::{context::LlamaContext, llama_batch::LlamaBatch, model::LlamaModel, token::LlamaToken};

use super::{
    slot::{Job, Slot, sampler},
    write,
};
use crate::engine::{
    FinishReason, Finished, GenerationError, Sampling,
    protocol::{FromWorker, ToWorker},
    schedule::{next_step, prompt_chunk},
};

/// At least this part of the context is left to the answer, unless the answer is limited to less.
const ANSWER_SHARE: usize = 4;

struct Waiting {
    id: u64,
    key: u64,
    prompt: Vec<LlamaToken>,
    sampling: Sampling,
}

pub(super) struct Batcher<'model> {
    model: &'model LlamaModel,
    context: LlamaContext<'model>,
    batch: LlamaBatch<'static>,
    slots: Vec<Slot>,
    context_tokens: usize,
    waiting: VecDeque<Waiting>,
    steps: u64,
    /// Smoothed time per prompt token.
    per_prompt_token: Duration,
}

impl<'model> Batcher<'model> {
    pub(super) fn new(
        model: &'model LlamaModel,
        context: LlamaContext<'model>,
        batch: LlamaBatch<'static>,
        slots: u32,
        context_tokens: u32,
        prefill_tokens_per_second: f64,
    ) -> Self {
        Self {
            model,
            context,
            batch,
            slots: (0..slots).map(|_| Slot::default()).collect(),
            context_tokens: context_tokens as usize,
            waiting: VecDeque::new(),
            steps: 0,
            per_prompt_token: Duration::from_secs_f64(1.0 / prefill_tokens_per_second.max(0.01)),
        }
    }

    /// Runs until the node's commands end.
    pub(super) fn run(mut self, commands: &Receiver<ToWorker>) -> io::Result<()> {
        loop {
            let idle = self.waiting.is_empty() && self.slots.iter().all(|slot| slot.job.is_none());
            if idle {
                match commands.recv() {
                    Ok(command) => self.handle(command)?,
                    Err(_) => return Ok(()),
                }
            }
            loop {
                match commands.try_recv() {
                    Ok(command) => self.handle(command)?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            self.fill_slots();
            self.step()?;
        }
    }

    fn handle(&mut self, command: ToWorker) -> io::Result<()> {
        match command {
            ToWorker::Load { .. } => Ok(()),
            ToWorker::Generate {
                id,
                key,
                prompt,
                sampling,
            } => {
                let vocabulary = self.model.vocab();
                let prompt = vocabulary.tokenize(prompt.as_bytes(), vocabulary.should_add_bos(), true);
                // Room for the answer: a prompt that fills the context would be answered with a single token.
                let answer = (sampling.tokens_max as usize)
                    .min(self.context_tokens / ANSWER_SHARE)
                    .max(1);
                let limit = self.context_tokens.saturating_sub(answer);
                if prompt.is_empty() || prompt.len() > limit {
                    let number = |tokens: usize| u32::try_from(tokens).unwrap_or(u32::MAX);
                    let error = GenerationError::PromptTooLong {
                        tokens: number(prompt.len()),
                        limit: number(limit),
                    };
                    return write(&FromWorker::Failed { id, error });
                }
                self.waiting.push_back(Waiting {
                    id,
                    key,
                    prompt,
                    sampling,
                });
                Ok(())
            }
            ToWorker::Stop { id } => self.stop(id),
        }
    }

    fn stop(&mut self, id: u64) -> io::Result<()> {
        for slot in &mut self.slots {
            if slot.job.as_ref().is_some_and(|job| job.id == id) {
                return finish(slot, FinishReason::Stopped);
            }
        }
        // Waiting, or unknown: every stop is answered, so that the node never counts what is no longer there.
        self.waiting.retain(|waiting| waiting.id != id);
        let finished = Finished {
            reason: FinishReason::Stopped,
            prompt_tokens: 0,
            reused_tokens: 0,
            generated_tokens: 0,
        };
        write(&FromWorker::Finished { id, finished })
    }

    /// Puts waiting generations into free slots: the one with the same conversation, else the one longest unused.
    fn fill_slots(&mut self) {
        while let Some(key) = self.waiting.front().map(|waiting| waiting.key) {
            let free = self.slots.iter().enumerate().filter(|(_, slot)| slot.job.is_none());
            let best = free
                .min_by_key(|(_, slot)| (slot.key != key, slot.used))
                .map(|(index, _)| index);
            // Without a free slot it keeps its place: only what can begin leaves the queue.
            let Some(index) = best else { return };
            let Some(waiting) = self.waiting.pop_front() else {
                return;
            };
            self.begin(index, waiting);
        }
    }

    fn begin(&mut self, index: usize, waiting: Waiting) {
        let slot = &mut self.slots[index];
        let same = slot.key == waiting.key;
        let common = slot
            .computed
            .iter()
            .zip(&waiting.prompt)
            .take_while(|(old, new)| same && old == new)
            .count();
        // The last prompt token is always computed again: its logits choose the first new token.
        let reused = common.min(waiting.prompt.len() - 1);
        let sequence = u32::try_from(index).unwrap_or(0);
        let from = u32::try_from(reused).unwrap_or(0);
        // Some architectures cannot forget a part: then everything is computed again.
        let kept = self
            .context
            .clear_kv_cache_seq(Some(sequence), Some(from), None)
            .unwrap_or(false);
        let reused = if kept { reused } else { 0 };
        if !kept {
            let _ = self.context.clear_kv_cache_seq(Some(sequence), None, None);
        }
        slot.computed.truncate(reused);
        slot.key = waiting.key;
        slot.job = Some(Job {
            id: waiting.id,
            pending: waiting.prompt[reused..].to_vec(),
            sampler: sampler(&waiting.sampling),
            sampling: waiting.sampling,
            prompt_tokens: u32::try_from(waiting.prompt.len()).unwrap_or(u32::MAX),
            reused_tokens: u32::try_from(reused).unwrap_or(u32::MAX),
            generated_tokens: 0,
            characters: 0,
            generating: false,
            passed_over: 0,
            partial: Vec::new(),
        });
    }

    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        let sequences: Vec<_> = self.slots.iter().map(Slot::sequence).collect();
        let shares = next_step(&sequences, prompt_chunk(self.per_prompt_token));
        self.batch.clear();
        let mut outputs = Vec::new();
        let mut prompt_tokens = 0;
        for (index, (slot, share)) in self.slots.iter_mut().zip(&shares).enumerate() {
            let Some(job) = slot.job.as_mut() else { continue };
            if *share == 0 {
                job.passed_over += 1;
                continue;
            }
            job.passed_over = 0;
            if !job.generating {
                prompt_tokens += share;
            }
            let last_of_prompt = *share == job.pending.len();
            for (offset, token) in job.pending.drain(..*share).enumerate() {
                let wanted = last_of_prompt && offset + 1 == *share;
                if wanted {
                    outputs.push((index, self.batch.n_tokens()));
                }
                let position = i32::try_from(slot.computed.len()).unwrap_or(i32::MAX);
                let sequence = [i32::try_from(index).unwrap_or(0)];
                self.batch
                    .add(token, position, &sequence, wanted)
                    .map_err(io::Error::other)?;
                slot.computed.push(token);
            }
            slot.used = self.steps;
        }
        if self.batch.n_tokens() == 0 {
            return Ok(());
        }
        let began = Instant::now();
        if let Err(error) = self.context.decode(&mut self.batch) {
            return self.fail_all(&error.to_string());
        }
        self.measure(prompt_tokens, began.elapsed());
        outputs
            .into_iter()
            .try_for_each(|(index, output)| self.choose(index, output))
    }

    fn measure(&mut self, prompt_tokens: usize, took: Duration) {
        if prompt_tokens >= crate::limits::PROMPT_CHUNK_MIN {
            let now = took / u32::try_from(prompt_tokens).unwrap_or(1);
            self.per_prompt_token = (self.per_prompt_token * 3 + now) / 4;
        }
    }

    /// Chooses the next token of a slot and sends its text.
    fn choose(&mut self, index: usize, output: i32) -> io::Result<()> {
        let slot = &mut self.slots[index];
        let Some(job) = slot.job.as_mut() else { return Ok(()) };
        // `sample` also tells the sampler that the token was taken.
        let token = job.sampler.sample(&self.context, output);
        job.generating = true;
        let vocabulary = self.model.vocab();
        if vocabulary.is_eog(token) {
            return finish(slot, FinishReason::Complete);
        }
        job.generated_tokens += 1;
        let piece = vocabulary.token_to_piece(token, false, None);
        let text = job.text(&piece);
        if !text.is_empty() {
            write(&FromWorker::Text { id: job.id, text })?;
        }
        job.pending.push(token);
        if job.is_at_limit() || slot.computed.len() + 1 >= self.context_tokens {
            return finish(slot, FinishReason::Length);
        }
        Ok(())
    }

    /// A failed decode says nothing about which sequence was at fault: all of them end, and the context starts clean.
    fn fail_all(&mut self, reason: &str) -> io::Result<()> {
        self.context.clear_kv_cache();
        for slot in &mut self.slots {
            slot.computed.clear();
            if let Some(job) = slot.job.take() {
                write(&FromWorker::Failed {
                    id: job.id,
                    error: GenerationError::Engine(reason.to_owned()),
                })?;
            }
        }
        Ok(())
    }
}

fn finish(slot: &mut Slot, reason: FinishReason) -> io::Result<()> {
    let Some(job) = slot.job.take() else { return Ok(()) };
    write(&FromWorker::Finished {
        id: job.id,
        finished: job.finished(reason),
    })
}
