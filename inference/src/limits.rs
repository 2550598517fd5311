//! Every limit of this crate, with its reason.

use std::time::Duration;

/// Bytes of one frame between a node and its engine process: a prompt of the longest context, as text, with room.
pub const ENGINE_FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Commands that wait for the engine's actor; callers wait.
pub const ENGINE_COMMAND_QUEUE: usize = 64;
/// Commands that wait inside the engine process before its reader stops reading.
pub const WORKER_COMMAND_QUEUE: usize = 64;
/// Generations an engine holds at once, running and waiting; more are refused, never left to wait in silence.
pub const GENERATIONS_MAX: usize = 32;
/// Generations of a mock at once: it computes nothing, and a bench of sockets needs one for each.
pub const MOCK_GENERATIONS_MAX: usize = 2048;
/// Words of a mock's answer at most.
pub const MOCK_WORDS_MAX: usize = 4096;
/// Questions of persons that wait in front of an engine: with four places and answers of five seconds the last one waits more than a
/// minute, and whoever would wait longer is better kept by its gateway, which tries other nodes, too.
pub const QUESTIONS_WAITING_MAX: usize = 64;
/// Background work that waits in front of an engine; more of it is done another time.
pub const BACKGROUND_WAITING_MAX: usize = 4;
/// Persons without a question whose share of an engine is remembered while others wait.
pub const PERSONS_REMEMBERED_MAX: usize = 4096;
/// How long a place is held, before the first was given back: an answer of a hundred tokens on a small machine.
pub const PLACE_HELD_GUESS: Duration = Duration::from_secs(5);
/// Whoever waits hears this often where they stand: half of the two seconds after which silence is felt, so that one word may be late.
pub const WAITING_TOLD_EVERY: Duration = Duration::from_secs(1);
/// And not more often than this, however fast the queue moves.
pub const WAITING_TOLD_LEAST: Duration = Duration::from_millis(200);
/// Changes of breakers that are kept: a day of trouble on a few nodes.
pub const BREAKER_EVENTS_MAX: usize = 256;
/// Characters of a model's name in them.
pub const BREAKER_MODEL_CHARACTERS_MAX: usize = 200;
/// Sequences an engine computes at once unless configured.
pub const SLOTS_DEFAULT: u32 = 4;
/// An answer that another node began is computed token by token, as it was made, while that takes no longer than this: then the rest is
/// what it would have been, to the byte. Computed as a prompt it is there several times sooner, but in the last digits of what it is
/// other kernels' work, and a draw may fall the other way many tokens later.
pub const REPLAY_EXACT_MAX: Duration = Duration::from_secs(1);
/// Context of one sequence unless configured, in tokens.
pub const CONTEXT_TOKENS_DEFAULT: u32 = 2048;
/// Longest context that can be configured for one sequence.
pub const CONTEXT_TOKENS_MAX: u32 = 131_072;
/// How long one step of the engine may take, so that a long prompt never stalls the others: the share of prompt in a step is
/// chosen from the measured speed.
pub const STEP_TARGET: Duration = Duration::from_millis(250);
/// The same where a graphics card computes.
pub const STEP_TARGET_GPU: Duration = Duration::from_millis(50);
/// Prompt tokens in one step at most: llama.cpp's batch.
pub const PROMPT_CHUNK_MAX: usize = 512;
/// Characters of one text of a card (instruction, personality, scenario, reminder) that a model reads, as many as of the character's
/// own prompt: the whole must leave room for the talk.
pub const CARD_TEXT_CHARACTERS_MAX: usize = 2000;
/// Characters that a lorebook may put into one prompt.
pub const LORE_CHARACTERS_MAX: usize = 3000;
/// Cards at hand for the prompts of their characters; the one longest unused leaves.
pub const CARDS_AT_HAND_MAX: usize = 64;
/// How long a question waits for the card of its character to come from another node; after that it is asked without.
pub const CARD_WAIT: Duration = Duration::from_secs(3);
/// Tokens of one answer at most.
pub const ANSWER_TOKENS_MAX: u32 = 2048;
/// Bytes of one answer at most: as many tokens, each of the longest that vocabularies have on average.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long a model may take to load; an 8B model from a cold disk took 34 s.
pub const LOAD_TIMEOUT: Duration = Duration::from_secs(300);
/// First wait before a failed engine is started again; doubles up to [`RESTART_MAX`].
pub const RESTART_FIRST: Duration = Duration::from_millis(500);
/// Longest wait before a failed engine is started again.
pub const RESTART_MAX: Duration = Duration::from_secs(60);
/// Models below this size are computed by one thread: more only wait for each other (measured).
pub const SMALL_MODEL_BYTES: u64 = 64 * 1024 * 1024;
/// Memory left to the rest of the machine when a model is admitted.
pub const MEMORY_RESERVE_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes of a chat template; it is code from a foreign file.
pub const TEMPLATE_BYTES_MAX: usize = 64 * 1024;
/// Steps a chat template may take: it is foreign code and must end.
pub const TEMPLATE_FUEL: u64 = 1_000_000;
/// Messages of a chat that a model sees, the question included.
pub const ACTIVE_MESSAGES_MAX: usize = 20;
/// So many are left when older ones were summed up: then four turns go by before that happens again.
pub const ACTIVE_AFTER_FOLDING: usize = 12;
/// The last messages that are never summed up: what "it" and "that" of a question mean.
pub const LAST_MESSAGES_KEPT: usize = 6;
/// Characters of a summary that is made of sentences: about 500 tokens of Russian.
pub const EXTRACT_CHARACTERS_MAX: usize = 1200;
/// Characters of a summary that a model writes.
pub const WRITTEN_CHARACTERS_MAX: usize = 1500;
/// A model's summary that is less like what it sums up than this is not about it.
pub const WRITTEN_LIKENESS_MIN: f64 = 0.25;
/// How long a model may take to write a summary in the background.
pub const WRITTEN_TIMEOUT: Duration = Duration::from_secs(60);
/// Lengths of answers that are remembered for one character and kind of question.
pub const NEEDS_KEPT: usize = 64;
/// Characters and kinds of question of which they are remembered.
pub const NEEDS_KEYS_MAX: usize = 1024;
/// Bytes of one frame between nodes.
pub const GENERATE_FRAME_BYTES_MAX: usize = 256 * 1024;
/// A generating node says at least this often that it is alive.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// A generating node that says nothing for this long is given up, whatever its pace was.
pub const SILENCE_MAX: Duration = Duration::from_secs(3);
/// And none before this: that much a loaded machine or a bad network holds things up.
pub const SILENCE_MIN: Duration = Duration::from_millis(1000);
/// Bytes of one frame about work for a program: a gateway takes requests of 1 MiB.
pub const COMPUTE_FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A node that works for another one's program says at least this often that it lives.
pub const COMPUTE_BEAT_EVERY: Duration = Duration::from_millis(500);
/// One that is silent for longer has failed: six beats.
pub const COMPUTE_SILENCE_MAX: Duration = Duration::from_secs(3);
/// Pieces that wait for a program that reads slowly; then the other node waits, too.
pub const COMPUTE_EVENT_QUEUE: usize = 256;
/// Another node gives the meaning of a text within this: it may have others to serve before.
pub const EMBEDDING_TIMEOUT: Duration = Duration::from_secs(60);
/// A node that does not take a question within this is passed over: what mesh takes to suspect a dead one, and a little more.
pub const ASK_OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// An asking node that does not read for this long loses its answer.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A generation as a whole.
pub const GENERATION_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a generating node waits for the session to reach it before it leaves the recording to the gateway.
pub const SESSION_WAIT: Duration = Duration::from_secs(2);
/// How long the end of an answer that another node wrote is held back, so that the chat here has it when people are told.
/// Replication takes some tens of milliseconds; past a second something is wrong, and telling is better than waiting.
pub const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// Answers that one node sees to at once, as a gateway: as many as people who chat at one gateway at the same moment. Each is a task
/// and the text of one answer.
pub const ANSWERS_MAX: usize = 2048;
/// Answers that stand in a node's table while they are said, and a while after.
pub const LIVES_MAX: usize = 4096;
/// How long one that is over is kept there: who lost its gateway is back sooner.
pub const LIVE_KEPT: Duration = Duration::from_secs(60);
/// Answers that a node announces as its own: as many as fit a section of the mesh.
pub const LEASES_MAX: usize = 96;
/// Persons whose answers a gateway looks for on other nodes: one socket of each.
pub const WATCHED_MAX: usize = 10_000;
/// Questions of other gateways that a node keeps an eye on, in case theirs dies.
pub const ORPHANS_MAX: usize = 1024;
/// Between two messages to a reader of an answer over the network, so that one of a few bytes does not travel alone.
pub const FOLLOW_EVERY: Duration = Duration::from_millis(25);
/// How often a node that generates for others looks whether they are still there.
pub const STANDING_EVERY: Duration = Duration::from_millis(200);
/// Looks in a row at which a gateway is there and does not listen, until its answer is given up: a gateway that was started again asks
/// within a second or two.
pub const GIVEN_UP_LOOKS: u32 = 15;
/// Looks in a row at which the gateway is not there, until its answer is this node's to write: a node that was frozen itself has its
/// links back sooner.
pub const ALONE_LOOKS: u32 = 10;
/// Notices of answers a slow listener may be behind.
pub const ANSWER_EVENT_QUEUE: usize = 4096;
/// A question that nobody could answer is tried again at least this often.
pub const RETRY_EVERY: Duration = Duration::from_secs(2);
/// Attempts on different nodes for one question before it goes back to waiting.
pub const ATTEMPTS_MAX: usize = 4;
/// Cards whose computed prefixes stay pinned, each in a sequence of its own; a node hosts a few characters at a time.
pub const CARDS_PINNED: usize = 8;
/// The same where every sequence has a store of its own, so that each costs a whole context.
pub const CARDS_PINNED_STREAMS: usize = 2;
/// Shorter cards are computed again: that costs less than a sequence.
pub const CARD_TOKENS_MIN: usize = 16;
/// Sequences for conversations, as a multiple of those that are computed at once: who pauses keeps what is computed.
pub const TAILS_PER_SLOT: usize = 3;
/// Conversations that were moved to ordinary memory.
pub const PARKED_ENTRIES_MAX: usize = 256;
/// Ordinary memory for them, at most; a small machine gives a tenth of what is free.
pub const PARKED_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Bytes of one piece of a state on its way to or from an engine process, and between nodes: short against a step.
pub const STATE_CHUNK_BYTES: usize = 256 * 1024;
/// Bytes of a state: as many as a conversation may have in ordinary memory.
pub const STATE_BYTES_MAX: u64 = PARKED_BYTES_MAX;
/// Bytes of a state that an engine process gives out between two steps.
pub const STATE_STEP_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of one frame between nodes about a state: the tokens of the longest context, or a piece.
pub const STATE_FRAME_BYTES_MAX: usize = 768 * 1024;
/// A hand-off as a whole: longer than that nobody waits for what can be computed.
pub const STATE_TIME_MAX: Duration = Duration::from_secs(10);
/// A node that is silent for this long in the middle of a hand-off has failed; taking a large state out takes less.
pub const STATE_SILENCE_MAX: Duration = Duration::from_secs(3);
/// States that a node gives to others at once: each is in memory meanwhile.
pub const STATES_SERVED_MAX: usize = 4;
/// Nodes of which it is remembered how fast states come from them.
pub const STATE_LINKS_MAX: usize = 1024;
/// Questions about states that one engine has under way.
pub const STATES_AT_ONCE: usize = 4;
/// A conversation that nobody continues for this long gives its computed part up: 99 of 100 are over then.
pub const TAIL_IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// A step that takes longer is a hang: the first decode of an 8B model from a cold disk took 10 s.
pub const STEP_HANG: Duration = Duration::from_secs(60);
/// An engine process says at least this often that it is alive, also while it computes: what waits for its answer hears a freeze by it.
pub const BEAT_EVERY: Duration = Duration::from_millis(200);
/// An engine process that says nothing for this long is killed and started again.
pub const BEAT_SILENCE_MAX: Duration = Duration::from_secs(15);
/// How long an engine process whose node is gone may take to finish its step.
pub const ORPHAN_GRACE: Duration = Duration::from_secs(2);
/// Raised for engine processes, so that a machine out of memory ends them before anything else.
pub const ENGINE_OOM_SCORE: u32 = 600;
/// Bytes of a grammar or JSON schema; those people write have a few thousand.
pub const GRAMMAR_BYTES_MAX: usize = 32 * 1024;
/// Rules of a grammar.
pub const GRAMMAR_RULES_MAX: usize = 1000;
/// Brackets in brackets of a grammar or a schema: each costs a frame of stack in llama.cpp.
pub const GRAMMAR_DEPTH_MAX: usize = 32;
/// Copies that repetitions within repetitions make of one element.
pub const GRAMMAR_REPETITIONS_MAX: u64 = 1000;
/// Computing that one token may take in a grammar; an ambiguous one takes ever longer.
pub const GRAMMAR_TOKEN_TIME_MAX: Duration = Duration::from_millis(500);
/// Texts at which an answer stops.
pub const STOPS_MAX: usize = 16;
/// Bytes of each of them: so much of an answer may be held back.
pub const STOP_BYTES_MAX: usize = 128;
/// Alternatives that are reported with a token.
pub const LOGPROBS_MAX: u8 = 20;
/// Tokens of a text to embed; a longer one is refused.
pub const EMBEDDING_TOKENS_MAX: usize = 512;
/// Bytes of a text to embed.
pub const EMBEDDING_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a model file's header; a vocabulary of 250,000 tokens has 10 MB.
pub const MODEL_HEADER_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Keys of a model file's header.
pub const MODEL_KEYS_MAX: u64 = 4096;
/// Tensors of a model file.
pub const MODEL_TENSORS_MAX: u64 = 65_536;
/// Lines of which an engine remembers how surprising they were: as many as its conversations, in and out of the context, a few times.
pub const SURPRISES_KNOWN_MAX: usize = 1024;
/// How long measuring a model's speed on this machine may take, about.
pub const CALIBRATION_TIME: Duration = Duration::from_secs(1);
/// Speed that has fallen under this part of what was measured is measured again.
pub const SPEED_FALLEN: f64 = 0.6;
/// For so many steps in a row.
pub const SPEED_FALLEN_STEPS: u32 = 64;
/// Not more often than this: measuring takes the engine's time.
pub const CALIBRATE_AGAIN_AFTER: Duration = Duration::from_secs(300);
/// Bytes of one line of an upstream server's stream.
pub const UPSTREAM_LINE_BYTES_MAX: usize = 256 * 1024;
/// Time to reach an upstream server.
pub const UPSTREAM_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An upstream server that sends nothing for this long has failed; a long prompt before the first token takes long.
pub const UPSTREAM_SILENCE_MAX: Duration = Duration::from_secs(120);
/// How often an upstream server is asked whether it is there.
pub const UPSTREAM_CHECK_EVERY: Duration = Duration::from_secs(10);
/// For how long an idle model that is not the node's main one stays in memory unless configured: what others take (Ollama).
pub const KEEP_ALIVE_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// What was loaded stays for at least this long where another model wants its memory, and at most for as long as a person waits.
pub const MODEL_KEPT_LEAST: Duration = Duration::from_secs(3);
/// See [`MODEL_KEPT_LEAST`].
pub const MODEL_KEPT_MOST: Duration = Duration::from_secs(120);
/// Those who wait for one model to be loaded; as many as may wait for a place in it.
pub const LOAD_WAITING_MAX: usize = 64;
/// How long somebody waits for a model before another node is asked: what the largest takes to load, twice.
pub const MODEL_WAIT_MAX: Duration = Duration::from_secs(600);
/// How often an idle model is asked the known prompt.
pub const PROBE_EVERY: Duration = Duration::from_secs(60);
/// How long it may take to answer it: the first decode of an 8B model from a cold disk took 10 s.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(30);
/// First wait before a model that did not answer it is asked again; doubles up to [`PROBE_AGAIN_MAX`].
pub const PROBE_AGAIN_FIRST: Duration = Duration::from_secs(2);
/// Longest wait before that.
pub const PROBE_AGAIN_MAX: Duration = Duration::from_secs(300);
/// Failures in a row until a model is loaded anew.
pub const PROBES_FAILED_MAX: u32 = 3;
/// Memory over what was set aside for a model that is no overrun: a tenth and what a process varies by.
pub const OVERRUN_PART: f64 = 1.1;
/// See [`OVERRUN_PART`].
pub const OVERRUN_BYTES: u64 = 64 * 1024 * 1024;
/// How often the keeper of models looks at the machine when nothing happens.
pub const KEEPER_LOOKS_EVERY: Duration = Duration::from_secs(2);
/// And while somebody waits or something changes.
pub const KEEPER_LOOKS_BUSY: Duration = Duration::from_millis(250);
/// Models of one node beside its main one: as many as can be offered.
pub const MODELS_MAX: usize = 15;
