//! A generation in the engine process: its prompt, its sampler and what it has said.

use std::{ops::Range, time::Duration};

use llama_cpp_2::{
    context::LlamaContext,
    model::LlamaModel,
    sampling::LlamaSampler,
    token::{LlamaToken, data::LlamaTokenData, data_array::LlamaTokenDataArray},
};

use crate::{
    engine::{
        FinishReason, Finished, GenerationError, TokenProbability,
        cache::{Conversation, TokenId},
        gate::{Surprise, Surprises},
        grammar::{self, GrammarError},
        output::{End, Output},
        protocol::Order,
        sampling::{Sampling, Shape, Xtc},
        schema,
    },
    limits::GRAMMAR_TOKEN_TIME_MAX,
};

/// Where a phrase that may be repeated ends.
const PHRASE_ENDS: [&str; 4] = ["\n", ":", "\"", "*"];

pub(super) struct Job {
    pub(super) conversation: Conversation,
    /// The prompt and, of an answer that was begun elsewhere, what is there of it.
    pub(super) prompt: Vec<TokenId>,
    /// So many tokens of it are the prompt itself.
    asked: usize,
    /// So many tokens of the prompt are the card.
    pub(super) card: usize,
    /// So many tokens of the prompt are computed.
    pub(super) fed: usize,
    /// Its sequence, once it has begun.
    pub(super) tail: Option<usize>,
    /// The card that it computes before its own part, and its tokens.
    pub(super) computes_card: Option<(usize, usize)>,
    /// The token that was chosen last.
    pub(super) next: TokenId,
    pub(super) output: Output,
    pub(super) reused: usize,
    pub(super) generated: u32,
    /// The tokens of the person's line, where its surprise is measured.
    pub(super) watched: Option<Range<usize>>,
    /// The line itself.
    pub(super) line: String,
    pub(super) surprise: Surprise,
    /// Why it is over before it begins: the node that began it made the last token, but could not say that it was the last.
    pub(super) ended: Option<End>,
    tokens_max: u32,
    chain: LlamaSampler,
    chance: Option<Chance>,
    grammar: Option<LlamaSampler>,
    logprobs: Option<u8>,
    pub(super) ignores_end: bool,
}

/// What a token's choice has of chance. The random numbers of a token depend on the seed and on the token's number alone, not on how
/// many were drawn before: so a generation can be taken up from any token on, by whoever knows the tokens so far.
struct Chance {
    seed: u32,
    temperature: f32,
    xtc: Option<Xtc>,
}

impl Chance {
    fn apply(&self, data: &mut LlamaTokenDataArray, number: u32) {
        let mut hasher = blake3::Hasher::new_derive_key("starling sampler 1");
        hasher.update(&self.seed.to_le_bytes()).update(&number.to_le_bytes());
        let mut seeds = [0; 8];
        hasher.finalize_xof().fill(&mut seeds);
        let [a, b, c, d, rest @ ..] = seeds;
        // All ones would mean a seed of the library's own choice.
        let seed = |bytes| u32::from_le_bytes(bytes).min(u32::MAX - 1);
        if let Some(xtc) = self.xtc {
            LlamaSampler::xtc(xtc.probability, xtc.threshold, 1, seed([a, b, c, d])).apply(data);
        }
        LlamaSampler::temp(self.temperature).apply(data);
        LlamaSampler::dist(seed(rest)).apply(data);
    }
}

/// Brings sampler, grammar and output to where they were after these tokens. A grammar that does not allow them was not theirs.
fn replay(
    model: &LlamaModel,
    accepted: &[TokenId],
    (chain, grammar): (&mut LlamaSampler, Option<&mut LlamaSampler>),
    output: &mut Output,
) -> Result<Option<End>, GenerationError> {
    let vocabulary = model.vocab();
    let mut ends = None;
    let mut grammar = grammar;
    for token in accepted.iter().map(|token| LlamaToken(*token)) {
        if let Some(grammar) = grammar.as_deref_mut() {
            if !allows(grammar, token) {
                return Err(GenerationError::Grammar(GrammarError::Stuck));
            }
            grammar.accept(token);
        }
        chain.accept(token);
        ends = ends.or(output.push(&vocabulary.token_to_piece(token, false, None)).ends);
    }
    Ok(ends)
}

impl Job {
    /// Checks an order and prepares its sampler.
    pub(super) fn new(
        model: &LlamaModel,
        order: Order,
        mut prompt: Vec<TokenId>,
        card: usize,
    ) -> Result<Self, GenerationError> {
        let sampling = order.sampling;
        sampling.check().map_err(GenerationError::Sampling)?;
        let grammar = sampling
            .shape
            .as_ref()
            .map(|shape| shape_sampler(model, shape))
            .transpose();
        let mut grammar = grammar.map_err(GenerationError::Grammar)?;
        let characters = usize::try_from(sampling.characters_max).unwrap_or(usize::MAX);
        let mut output = Output::new(&order.prompt, sampling.stops.clone(), characters.max(1));
        let (mut chain, chance) = chain(model, &sampling, &prompt);
        let words = model.n_vocab();
        if order.accepted.iter().any(|token| !(0..words).contains(token)) {
            return Err(GenerationError::Unsupported("tokens of another model".into()));
        }
        let ended = replay(model, &order.accepted, (&mut chain, grammar.as_mut()), &mut output)?;
        let asked = prompt.len();
        prompt.extend_from_slice(&order.accepted);
        Ok(Self {
            conversation: order.conversation,
            card,
            fed: 0,
            tail: None,
            computes_card: None,
            next: 0,
            output,
            reused: 0,
            generated: u32::try_from(order.accepted.len()).unwrap_or(u32::MAX),
            watched: None,
            line: String::new(),
            surprise: Surprise::default(),
            tokens_max: sampling.tokens_max,
            chain,
            chance,
            grammar,
            asked,
            ended,
            logprobs: sampling.logprobs,
            ignores_end: sampling.ignores_end,
            prompt,
        })
    }

    /// Has the surprise at a person's line measured. A grammar asks for another kind of answer than the gate's.
    pub(super) fn watch_line(&mut self, line: String, tokens: Range<usize>) {
        if self.grammar.is_none() && !self.ignores_end {
            (self.line, self.watched) = (line, Some(tokens));
        }
    }

    /// Whether the logits at this place of the prompt tell how likely a token of the watched line is. The line's first token is left
    /// out: what comes before it may be computed already.
    pub(super) fn is_watched(&self, position: usize) -> bool {
        self.watched
            .as_ref()
            .is_some_and(|line| line.start <= position && position + 1 < line.end)
    }

    /// Whether the surprise at the line can be told when so many tokens of the prompt are computed already: they are before it, or it is
    /// remembered.
    pub(super) fn knows_surprise(&mut self, reused: usize, known: &Surprises) -> bool {
        let Some(line) = self.watched.as_ref().filter(|line| reused > line.start) else {
            return true;
        };
        let surprise = known.find(&self.prompt[..line.end], line.start);
        if let Some(surprise) = surprise {
            (self.surprise, self.watched) = (surprise, None);
        }
        surprise.is_some()
    }

    /// Keeps the surprise at the line, once it is counted.
    pub(super) fn remember_surprise(&self, known: &mut Surprises) {
        if let Some(line) = &self.watched {
            known.keep(&self.prompt[..line.end], line.start, self.surprise);
        }
    }

    pub(super) const fn is_at_limit(&self) -> bool {
        self.generated >= self.tokens_max
    }

    /// Tokens of the answer that were made elsewhere.
    pub(super) const fn replayed(&self) -> usize {
        self.prompt.len() - self.asked
    }

    /// The tokens of the answer that were made elsewhere.
    pub(super) fn accepted(&self) -> &[TokenId] {
        &self.prompt[self.asked..]
    }

    /// Whether a token was chosen here.
    pub(super) fn has_chosen(&self) -> bool {
        self.generated as usize > self.replayed()
    }

    /// Tokens the answer may have.
    pub(super) const fn answer_max(&self) -> usize {
        self.tokens_max as usize
    }

    pub(super) fn finished(&self, reason: FinishReason) -> Finished {
        let number = |tokens: usize| u32::try_from(tokens).unwrap_or(u32::MAX);
        Finished {
            reason,
            prompt_tokens: number(self.asked),
            reused_tokens: number(self.reused),
            generated_tokens: self.generated,
        }
    }

    /// Chooses a token from the logits at this place of the batch.
    pub(super) fn choose(
        &mut self,
        context: &LlamaContext<'_>,
        output: i32,
    ) -> Result<(LlamaToken, Option<LlamaTokenDataArray>), GenerationError> {
        if self.grammar.is_none() && self.logprobs.is_none() && self.chance.is_none() {
            // `sample` also tells the sampler that the token was taken.
            return Ok((self.chain.sample(context, output), None));
        }
        let raw = context.token_data_array_ith(output);
        let token = match self.grammar.as_mut() {
            None => chosen((&mut self.chain, self.chance.as_ref(), self.generated), raw.clone())?,
            Some(grammar) => obeying(grammar, (&mut self.chain, self.chance.as_ref(), self.generated), &raw)?,
        };
        self.chain.accept(token);
        Ok((token, self.logprobs.map(|_| raw)))
    }

    /// How likely a token was, and what else was.
    pub(super) fn probability(
        &self,
        model: &LlamaModel,
        raw: &LlamaTokenDataArray,
        token: LlamaToken,
    ) -> TokenProbability {
        let logits = raw.data.iter().map(LlamaTokenData::logit);
        let most = logits.clone().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = logits.map(|logit| (logit - most).exp()).sum();
        let logprob = |logit: f32| logit - most - sum.ln();
        let text = |token| String::from_utf8_lossy(&model.vocab().token_to_piece(token, false, None)).into_owned();
        let count = usize::from(self.logprobs.unwrap_or(0));
        let mut likeliest = Vec::new();
        if count > 0 {
            likeliest = raw.data.iter().collect();
            likeliest.sort_unstable_by(|left, right| right.logit().total_cmp(&left.logit()));
            likeliest.truncate(count);
        }
        let own = raw.data.iter().find(|data| data.id() == token);
        TokenProbability {
            text: text(token),
            logprob: own.map_or(f32::NEG_INFINITY, |data| logprob(data.logit())),
            alternatives: likeliest
                .iter()
                .map(|data| (text(data.id()), logprob(data.logit())))
                .collect(),
        }
    }
}

/// What chooses a token: the chain, then chance, and the token's number.
type Choosing<'job> = (&'job mut LlamaSampler, Option<&'job Chance>, u32);

fn chosen((chain, chance, number): Choosing<'_>, mut data: LlamaTokenDataArray) -> Result<LlamaToken, GenerationError> {
    chain.apply(&mut data);
    if let Some(chance) = chance {
        chance.apply(&mut data, number);
    }
    data.selected_token()
        .ok_or_else(|| GenerationError::Engine("no token could be chosen".into()))
}

/// A token that the grammar allows. llama.cpp ends the process when a grammar accepts what it forbids, so nothing is accepted that it
/// has not just allowed; and what takes ever longer is given up.
fn obeying(
    grammar: &mut LlamaSampler,
    (chain, chance, number): Choosing<'_>,
    raw: &LlamaTokenDataArray,
) -> Result<LlamaToken, GenerationError> {
    let began = thread_time();
    let token = chosen((&mut *chain, chance, number), raw.clone())?;
    // Nearly always the first choice is allowed, and one token is quickly asked for.
    let token = if allows(grammar, token) {
        token
    } else {
        let mut allowed = raw.clone();
        grammar.apply(&mut allowed);
        allowed.data.retain(|data| data.logit().is_finite());
        if allowed.data.is_empty() {
            return Err(GenerationError::Grammar(GrammarError::Stuck));
        }
        allowed.sorted = false;
        chosen((chain, chance, number), allowed)?
    };
    grammar.accept(token);
    if thread_time().saturating_sub(began) > GRAMMAR_TOKEN_TIME_MAX {
        return Err(GenerationError::Grammar(GrammarError::TooAmbiguous));
    }
    Ok(token)
}

/// What this thread has computed so far. A clock on the wall would blame a grammar for a machine that is busy or was paused.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let (seconds, nanoseconds) = (time.tv_sec.try_into(), time.tv_nsec.try_into());
    Duration::new(seconds.unwrap_or(0), nanoseconds.unwrap_or(0))
}

/// Whether a grammar allows a token next.
fn allows(grammar: &mut LlamaSampler, token: LlamaToken) -> bool {
    let mut one = LlamaTokenDataArray::new(vec![LlamaTokenData::new(token, 1.0, 0.0)], false);
    grammar.apply(&mut one);
    one.data.first().is_some_and(|data| data.logit().is_finite())
}

fn shape_sampler(model: &LlamaModel, shape: &Shape) -> Result<LlamaSampler, GrammarError> {
    let text = match shape {
        Shape::JsonSchema(schema) => schema::grammar(schema)?,
        Shape::Gbnf(text) => {
            grammar::check(text)?;
            text.clone()
        }
    };
    LlamaSampler::grammar(model, &text, "root").map_err(|_| GrammarError::Malformed)
}

/// The usual chain: penalise, truncate; then chance: warm, draw. Temperature 0 always takes the likeliest token.
fn chain(model: &LlamaModel, sampling: &Sampling, prompt: &[TokenId]) -> (LlamaSampler, Option<Chance>) {
    let mut chance = None;
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let mut samplers = Vec::new();
    let mut looks_back = false;
    if (sampling.repetition - 1.0).abs() > f32::EPSILON && sampling.repetition_window > 0 {
        looks_back = true;
        let (window, words) = (number(sampling.repetition_window), model.n_vocab());
        samplers.push(LlamaSampler::penalties(words, window, sampling.repetition, 0.0, 0.0));
    }
    if let Some(dry) = sampling.dry.filter(|dry| dry.multiplier > 0.0) {
        looks_back = true;
        let (allowed, window) = (number(dry.allowed_length), number(sampling.repetition_window.max(64)));
        samplers.push(LlamaSampler::dry(
            model,
            dry.multiplier,
            dry.base,
            allowed,
            window,
            PHRASE_ENDS,
        ));
    }
    if sampling.temperature <= 0.0 {
        samplers.push(LlamaSampler::greedy());
    } else {
        if sampling.top_k > 0 {
            samplers.push(LlamaSampler::top_k(number(sampling.top_k)));
        }
        samplers.push(LlamaSampler::top_p(sampling.top_p, 1));
        samplers.push(LlamaSampler::min_p(sampling.min_p, 1));
        chance = Some(Chance {
            seed: sampling.seed,
            temperature: sampling.temperature,
            xtc: sampling.xtc,
        });
    }
    let chain = LlamaSampler::chain_simple(samplers);
    if looks_back {
        let chain = chain.with_tokens(prompt.iter().map(|token| LlamaToken(*token)));
        return (chain, chance);
    }
    (chain, chance)
}
