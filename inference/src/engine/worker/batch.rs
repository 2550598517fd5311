//! The thin driver between the pure parts and llama.cpp: what the schedule plans is computed, where the cache says.

mod states;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    time::{Duration, Instant},
};

use llama_cpp_2::{
    context::{
        LlamaContext,
        params::{LlamaContextParams, LlamaPoolingType},
    },
    llama_batch::LlamaBatch,
    token::LlamaToken,
};

use self::states::States;
use super::{
    Inbound, Loading,
    job::Job,
    kept::{self, Kept, card_sequence},
    watch::Watch,
    write,
};
use crate::{
    engine::{
        Embedding, FinishReason, Finished, GenerationError,
        cache::{Cache, NoPlace, Room, TokenId},
        calibration::Profile,
        gate::Surprises,
        output::{End, Said},
        protocol::{FromWorker, Order, ToWorker},
        schedule::{Scheduler, Share, Speeds},
    },
    limits::{
        CALIBRATE_AGAIN_AFTER, EMBEDDING_TOKENS_MAX, PROMPT_CHUNK_MAX, REPLAY_EXACT_MAX, SPEED_FALLEN,
        SPEED_FALLEN_STEPS,
    },
};

/// At least this part of the context is left to the answer, unless the answer is limited to less.
const ANSWER_SHARE: usize = 4;

/// A generation, and where in the batch the logits are that its next token is chosen from.
type Choosing = (u64, i32);

/// A generation, where in the batch the logits are, and which token of its prompt they are about.
type Watched = (u64, i32, usize);

/// Why a batcher stopped.
pub(super) enum Ended {
    /// The node's commands ended.
    Unneeded,
    /// The machine has become slower than was measured: it is measured again, now that nothing runs.
    Slower,
}

pub(super) struct Batcher<'model, 'loading> {
    loading: &'loading Loading<'model>,
    context: LlamaContext<'model>,
    batch: LlamaBatch<'static>,
    room: Room,
    cache: Cache,
    kept: Kept,
    surprises: Surprises,
    scheduler: Scheduler,
    jobs: BTreeMap<u64, Job>,
    embeddings: VecDeque<(u64, String)>,
    embedder: Option<LlamaContext<'model>>,
    pace: Pace,
    states: States,
}

/// Whether single sequences get their tokens as fast as was measured.
struct Pace {
    measured: Duration,
    began: Instant,
    slow_steps: u32,
}

impl<'model, 'loading> Batcher<'model, 'loading> {
    pub(super) fn new(
        loading: &'loading Loading<'model>,
        context: LlamaContext<'model>,
        room: Room,
        profile: &Profile,
    ) -> Self {
        let slots = loading.load.slots as usize;
        let speeds = Speeds::from_rates(profile.prefill, profile.decode);
        Self {
            loading,
            context,
            batch: LlamaBatch::new(PROMPT_CHUNK_MAX + slots, 1),
            room,
            cache: Cache::new(room),
            kept: Kept::default(),
            surprises: Surprises::default(),
            scheduler: Scheduler::new(slots, loading.step_target, speeds),
            jobs: BTreeMap::new(),
            embeddings: VecDeque::new(),
            embedder: None,
            pace: Pace {
                measured: speeds.generated_token,
                began: Instant::now(),
                slow_steps: 0,
            },
            states: States::default(),
        }
    }

    /// The first decode of a context builds graphs: nobody waits for it later.
    pub(super) fn warm_up(&mut self) -> Result<(), String> {
        self.batch.clear();
        self.batch
            .add(LlamaToken(1), 0, &[0], true)
            .map_err(|error| error.to_string())?;
        self.context
            .decode(&mut self.batch)
            .map_err(|error| error.to_string())?;
        self.learn_layout();
        self.context.clear_kv_cache();
        Ok(())
    }

    /// Runs until the node's commands end or the machine has to be measured again.
    pub(super) fn run(mut self, commands: &Receiver<Inbound>, watch: &Watch) -> io::Result<Ended> {
        loop {
            if self.scheduler.is_idle() && self.embeddings.is_empty() && self.states.is_idle() {
                if self.pace.has_fallen() {
                    return Ok(Ended::Slower);
                }
                // Nothing to do: what is old goes, and then only a command can be next.
                let expiry = self.cache.next_expiry(watch.moment());
                let command = match expiry {
                    None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
                    Some(wait) => commands.recv_timeout(wait + Duration::from_millis(1)),
                };
                match command {
                    Ok(command) => self.take(command, watch)?,
                    Err(RecvTimeoutError::Timeout) => {
                        let moves = self.cache.expire(watch.moment());
                        self.kept
                            .carry_out(&mut self.context, &mut self.cache, self.room, moves);
                    }
                    Err(RecvTimeoutError::Disconnected) => return Ok(Ended::Unneeded),
                }
            }
            loop {
                match commands.try_recv() {
                    Ok(command) => self.take(command, watch)?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(Ended::Unneeded),
                }
            }
            for id in self.scheduler.overdue(watch.moment()) {
                self.fail(id, GenerationError::Deadline, watch)?;
            }
            self.begin_waiting(watch);
            self.step(watch)?;
            if let Some((id, text)) = self.embeddings.pop_front() {
                self.embed(id, &text, watch)?;
            }
            self.give_states()?;
        }
    }

    fn take(&mut self, inbound: Inbound, watch: &Watch) -> io::Result<()> {
        match inbound {
            Inbound::Command(command) => self.handle(command, watch),
            Inbound::State { id, part, bytes } => self.adopt(id, part, bytes, watch),
        }
    }

    fn handle(&mut self, command: ToWorker, watch: &Watch) -> io::Result<()> {
        match command {
            ToWorker::Load(_) | ToWorker::Adopt { .. } | ToWorker::Piece { .. } => Ok(()),
            ToWorker::Look(looking) => self.look(*looking),
            ToWorker::Export { id, part } => self.export(id, part),
            ToWorker::Embed { id, text } => {
                self.embeddings.push_back((id, text));
                Ok(())
            }
            ToWorker::Stop { id } => self.stop(id, watch),
            ToWorker::Generate(order) => {
                let (id, deadline) = (order.id, Duration::from_millis(order.deadline_ms));
                match self.job(*order) {
                    Ok(job) if self.is_over(&job) => {
                        let reason = match job.ended {
                            Some(End::Stop) => FinishReason::Complete,
                            Some(End::Characters) | None => FinishReason::Length,
                        };
                        self.jobs.insert(id, job);
                        self.finish(id, reason, watch)
                    }
                    Ok(job) => {
                        let now = watch.moment();
                        self.scheduler.arrive(id, job.prompt.len(), now, now + deadline);
                        self.jobs.insert(id, job);
                        Ok(())
                    }
                    Err(error) => write(&FromWorker::Failed { id, error }),
                }
            }
        }
    }

    /// Whether an answer that was begun elsewhere has nothing left to come.
    fn is_over(&self, job: &Job) -> bool {
        job.ended.is_some() || job.is_at_limit() || job.prompt.len() >= self.room.sequence
    }

    fn tokens(&self, text: &str) -> Vec<TokenId> {
        let vocabulary = self.loading.model.vocab();
        let tokens = vocabulary.tokenize(text.as_bytes(), vocabulary.should_add_bos(), true);
        tokens.into_iter().map(|token| token.0).collect()
    }

    /// The tokens of a prompt, and how many of them are its card.
    fn prompt(&self, text: &str, card_bytes: u32) -> (Vec<TokenId>, usize) {
        let prompt = self.tokens(text);
        // The border of the card may lie within a token of the whole: only what both have in common is the card.
        let card = text.get(..card_bytes as usize).map_or(0, |card| {
            let card = self.tokens(card);
            card.iter()
                .zip(&prompt)
                .take_while(|(left, right)| left == right)
                .count()
        });
        (prompt, card)
    }

    fn job(&self, order: Order) -> Result<Job, GenerationError> {
        let (prompt, card) = self.prompt(&order.prompt, order.card_bytes);
        // Room for the answer: a prompt that fills the context would be answered with a single token.
        let answer = (order.sampling.tokens_max as usize)
            .min(self.room.sequence / ANSWER_SHARE)
            .max(1);
        let limit = self.room.sequence.saturating_sub(answer);
        if prompt.is_empty() || prompt.len() > limit {
            let number = |tokens: usize| u32::try_from(tokens).unwrap_or(u32::MAX);
            return Err(GenerationError::PromptTooLong {
                tokens: number(prompt.len()),
                limit: number(limit),
            });
        }
        let line = self.loading.gate.as_ref().and(order.line).and_then(|(from, to)| {
            let (from, to) = (from as usize, to as usize);
            let before = self.tokens(order.prompt.get(..from)?).len();
            let until = self.tokens(order.prompt.get(..to)?).len();
            Some((order.prompt.get(from..to)?.to_owned(), before..until.min(prompt.len())))
        });
        let mut job = Job::new(self.loading.model, order, prompt, card)?;
        if let Some((line, tokens)) = line {
            job.watch_line(line, tokens);
        }
        Ok(job)
    }

    fn stop(&mut self, id: u64, watch: &Watch) -> io::Result<()> {
        if self.jobs.contains_key(&id) {
            return self.finish(id, FinishReason::Stopped, watch);
        }
        // Unknown: every stop is answered, so that the node never counts what is no longer there.
        let finished = Finished {
            reason: FinishReason::Stopped,
            prompt_tokens: 0,
            reused_tokens: 0,
            generated_tokens: 0,
        };
        write(&FromWorker::Finished { id, finished })
    }

    /// Begins what waits, as far as there is room. Who waits for a card that another one computes lets the next ones pass.
    fn begin_waiting(&mut self, watch: &Watch) {
        let now = watch.moment();
        if !self.scheduler.has_room() {
            return;
        }
        for id in self.scheduler.waiting(now) {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            let answer = job.answer_max();
            let place = match self.cache.place(job.conversation, &job.prompt, job.card, answer, now) {
                Ok(place) => place,
                Err(NoPlace::CardComing) => continue,
                Err(NoPlace::Full) => return,
            };
            let is_sound = self
                .kept
                .carry_out(&mut self.context, &mut self.cache, self.room, place.moves);
            // How surprising a line is decides about its answer: where that is not remembered, it is computed again.
            let is_sound = is_sound && job.knows_surprise(place.reused, &self.surprises);
            job.tail = Some(place.tail);
            job.fed = place.reused;
            job.computes_card = place.computes_card;
            if !is_sound {
                // Some architectures cannot forget a part, and a state may not go in again: then everything is computed.
                kept::forget(&mut self.context, place.tail, 0);
                self.cache.spoiled(place.tail);
                (job.fed, job.computes_card) = (0, None);
            }
            job.reused = job.fed;
            let card = job.computes_card.map_or(0, |(_, tokens)| tokens);
            let remaining = job.prompt.len() - job.fed;
            let replay = job.replayed().min(remaining);
            let exact = self.scheduler.speeds().generated_token * u32::try_from(replay).unwrap_or(u32::MAX);
            let replay = if exact <= REPLAY_EXACT_MAX { replay } else { 0 };
            self.scheduler.admit(id, remaining, card, replay);
            if !self.scheduler.has_room() {
                return;
            }
        }
    }

    fn step(&mut self, watch: &Watch) -> io::Result<()> {
        let shares = self.scheduler.plan(watch.moment());
        if shares.is_empty() {
            return Ok(());
        }
        let (outputs, watched) = self.fill(&shares)?;
        let began = Instant::now();
        let decoded = watch.step(|| self.context.decode(&mut self.batch));
        let took = began.elapsed();
        if let Err(error) = decoded {
            return self.fail_all(&error.to_string());
        }
        self.scheduler.computed(&shares, took);
        if let [Share { is_prompt: false, .. }] = shares[..] {
            self.pace.observe(took);
        }
        self.count_surprise(&watched)?;
        for share in &shares {
            self.advance(share)?;
        }
        outputs
            .into_iter()
            .try_for_each(|(id, output)| self.choose(id, output, watch))
    }

    /// Puts the shares into the batch; answers which of them choose a token afterwards and where their logits are, and where those
    /// are that tell how likely a token of a watched line is.
    fn fill(&mut self, shares: &[Share]) -> io::Result<(Vec<Choosing>, Vec<Watched>)> {
        self.batch.clear();
        let (mut outputs, mut watched) = (Vec::new(), Vec::new());
        for share in shares {
            let Some(job) = self.jobs.get(&share.id) else { continue };
            let Some(tail) = job.tail else { continue };
            let sequence = job
                .computes_card
                .map_or(tail, |(card, _)| card_sequence(self.room, card));
            let sequence = [i32::try_from(sequence).unwrap_or(0)];
            let (from, tokens) = if share.is_prompt {
                (job.fed, &job.prompt[job.fed..job.fed + share.tokens])
            } else {
                (self.cache.length(tail), std::slice::from_ref(&job.next))
            };
            let chooses = !share.is_prompt || job.fed + share.tokens == job.prompt.len();
            for (offset, token) in tokens.iter().enumerate() {
                let is_output = chooses && offset + 1 == tokens.len();
                if is_output {
                    outputs.push((share.id, self.batch.n_tokens()));
                }
                let is_watched = share.is_prompt && job.is_watched(from + offset);
                if is_watched {
                    watched.push((share.id, self.batch.n_tokens(), from + offset + 1));
                }
                let position = i32::try_from(from + offset).unwrap_or(i32::MAX);
                self.batch
                    .add(LlamaToken(*token), position, &sequence, is_output || is_watched)
                    .map_err(io::Error::other)?;
            }
        }
        Ok((outputs, watched))
    }

    fn count_surprise(&mut self, watched: &[Watched]) -> io::Result<()> {
        for &(id, output, token) in watched {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            let token = usize::try_from(job.prompt[token]).map_err(io::Error::other)?;
            job.surprise.count(self.context.get_logits_ith(output), token);
        }
        Ok(())
    }

    /// Says the honest answer where a line is outside what the model knows; whether it did. It goes out as tokens, so that whoever takes
    /// it up goes on with it.
    fn refuse_outside(&mut self, id: u64, watch: &Watch) -> io::Result<bool> {
        let Some((gate, job)) = self.loading.gate.as_ref().zip(self.jobs.get_mut(&id)) else {
            return Ok(false);
        };
        if job.has_chosen() {
            return Ok(false);
        }
        job.remember_surprise(&mut self.surprises);
        if !gate.is_outside(job.surprise) {
            return Ok(false);
        }
        let vocabulary = self.loading.model.vocab();
        let answer: Vec<TokenId> = vocabulary
            .tokenize(gate.answer(&job.line).as_bytes(), false, false)
            .into_iter()
            .map(|token| token.0)
            .collect();
        // What was begun elsewhere goes on in its own words, unless they are these.
        let Some(rest) = answer.strip_prefix(job.accepted()) else {
            return Ok(false);
        };
        for &token in rest {
            let said = job
                .output
                .push(&vocabulary.token_to_piece(LlamaToken(token), false, None));
            job.generated += 1;
            let (ends, is_full) = (said.ends, job.is_at_limit());
            say(id, Some(token), said)?;
            match ends {
                Some(End::Stop) => break,
                Some(End::Characters) => return self.finish(id, FinishReason::Length, watch).map(|()| true),
                None if is_full => return self.finish(id, FinishReason::Length, watch).map(|()| true),
                None => {}
            }
        }
        self.finish(id, FinishReason::Complete, watch)?;
        Ok(true)
    }

    /// What was computed counts as computed.
    fn advance(&mut self, share: &Share) -> io::Result<()> {
        let Some(job) = self.jobs.get_mut(&share.id) else {
            return Ok(());
        };
        let Some(tail) = job.tail else { return Ok(()) };
        if !share.is_prompt {
            self.cache.extend(tail, &[job.next]);
            return Ok(());
        }
        let tokens = &job.prompt[job.fed..job.fed + share.tokens];
        job.fed += share.tokens;
        let Some((card, length)) = job.computes_card else {
            self.cache.extend(tail, tokens);
            return Ok(());
        };
        if job.fed < length {
            return Ok(());
        }
        job.computes_card = None;
        self.cache.card_ready(card);
        if !kept::copy_card(&mut self.context, self.room, card, tail) {
            return Err(io::Error::other("a card could not be copied"));
        }
        self.cache.extend(tail, &job.prompt[..length]);
        Ok(())
    }

    /// Chooses the next token of a generation and sends its text.
    fn choose(&mut self, id: u64, output: i32, watch: &Watch) -> io::Result<()> {
        if self.refuse_outside(id, watch)? {
            return Ok(());
        }
        let Some(job) = self.jobs.get_mut(&id) else {
            return Ok(());
        };
        let (token, raw) = match job.choose(&self.context, output) {
            Ok(chosen) => chosen,
            Err(error) => return self.fail(id, error, watch),
        };
        let vocabulary = self.loading.model.vocab();
        if vocabulary.is_eog(token) && !job.ignores_end {
            return self.finish(id, FinishReason::Complete, watch);
        }
        job.generated += 1;
        job.next = token.0;
        if let Some(raw) = raw {
            let token = job.probability(self.loading.model, &raw, token);
            write(&FromWorker::Probability { id, token })?;
        }
        let said = job.output.push(&vocabulary.token_to_piece(token, false, None));
        let is_full = job.is_at_limit()
            || job
                .tail
                .is_none_or(|tail| self.cache.length(tail) + 1 >= self.room.sequence);
        let ends = said.ends;
        say(id, Some(token.0), said)?;
        match ends {
            Some(End::Stop) => self.finish(id, FinishReason::Complete, watch),
            Some(End::Characters) => self.finish(id, FinishReason::Length, watch),
            None if is_full => self.finish(id, FinishReason::Length, watch),
            None => Ok(()),
        }
    }

    fn finish(&mut self, id: u64, reason: FinishReason, watch: &Watch) -> io::Result<()> {
        let Some(mut job) = self.remove(id, watch) else {
            return Ok(());
        };
        say(id, None, job.output.finish())?;
        let finished = job.finished(reason);
        write(&FromWorker::Finished { id, finished })
    }

    fn fail(&mut self, id: u64, error: GenerationError, watch: &Watch) -> io::Result<()> {
        self.remove(id, watch);
        write(&FromWorker::Failed { id, error })
    }

    fn remove(&mut self, id: u64, watch: &Watch) -> Option<Job> {
        self.scheduler.remove(id);
        let job = self.jobs.remove(&id)?;
        if let Some(tail) = job.tail {
            let moves = self.cache.release(tail, watch.moment());
            self.kept
                .carry_out(&mut self.context, &mut self.cache, self.room, moves);
        }
        Some(job)
    }

    /// A failed decode says nothing about which sequence was at fault: all of them end, and the context starts clean.
    fn fail_all(&mut self, reason: &str) -> io::Result<()> {
        self.context.clear_kv_cache();
        self.cache.clear();
        self.kept = Kept::default();
        for id in std::mem::take(&mut self.jobs).into_keys() {
            self.scheduler.remove(id);
            let error = GenerationError::Engine(reason.to_owned());
            write(&FromWorker::Failed { id, error })?;
        }
        Ok(())
    }

    fn embed(&mut self, id: u64, text: &str, watch: &Watch) -> io::Result<()> {
        let result = self.embedding(text, watch);
        write(&FromWorker::Embedding { id, result })
    }

    /// The mean of what the model makes of the tokens of a text, of length 1.
    fn embedding(&mut self, text: &str, watch: &Watch) -> Result<Embedding, GenerationError> {
        let model = self.loading.model;
        let tokens = model
            .vocab()
            .tokenize(text.as_bytes(), model.vocab().should_add_bos(), false);
        let count = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        if tokens.len() > EMBEDDING_TOKENS_MAX {
            return Err(GenerationError::PromptTooLong {
                tokens: count,
                limit: EMBEDDING_TOKENS_MAX as u32,
            });
        }
        let values = self.meaning(&tokens, watch).map_err(GenerationError::Engine)?;
        Ok(Embedding { values, tokens: count })
    }

    fn meaning(&mut self, tokens: &[LlamaToken], watch: &Watch) -> Result<Vec<f32>, String> {
        let model = self.loading.model;
        if tokens.is_empty() {
            return Err("a text without tokens".into());
        }
        if self.embedder.is_none() {
            let size = u32::try_from(EMBEDDING_TOKENS_MAX).unwrap_or(512);
            let parameters = LlamaContextParams::default()
                .with_n_ctx(std::num::NonZeroU32::new(size))
                .with_n_batch(size)
                .with_n_ubatch(size)
                .with_embeddings(true)
                .with_pooling_type(LlamaPoolingType::Mean);
            let context = model.new_context(self.loading.backend, parameters);
            self.embedder = Some(context.map_err(|error| error.to_string())?);
        }
        let context = self.embedder.as_mut().ok_or("no context for embeddings")?;
        context.clear_kv_cache();
        let mut batch = LlamaBatch::new(EMBEDDING_TOKENS_MAX, 1);
        batch.add_sequence(tokens, 0, true).map_err(|error| error.to_string())?;
        watch
            .step(|| context.decode(&mut batch))
            .map_err(|error| error.to_string())?;
        let numbers = context.embeddings_seq_ith(0).map_err(|error| error.to_string())?;
        let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
        if !length.is_normal() {
            return Err("the model gives no embedding".into());
        }
        Ok(numbers.iter().map(|number| number / length).collect())
    }
}

impl Pace {
    fn observe(&mut self, took: Duration) {
        let is_slow = self.measured.as_secs_f64() < took.as_secs_f64() * SPEED_FALLEN;
        self.slow_steps = if is_slow { self.slow_steps + 1 } else { 0 };
    }

    fn has_fallen(&self) -> bool {
        self.slow_steps >= SPEED_FALLEN_STEPS && self.began.elapsed() > CALIBRATE_AGAIN_AFTER
    }
}

fn say(id: u64, token: Option<TokenId>, said: Said) -> io::Result<()> {
    let Said {
        answer: text, thought, ..
    } = said;
    if token.is_none() && text.is_empty() && thought.is_empty() {
        return Ok(());
    }
    write(&FromWorker::Said {
        id,
        token,
        text,
        thought,
    })
}
