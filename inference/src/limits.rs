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
/// Sequences an engine computes at once unless configured.
pub const SLOTS_DEFAULT: u32 = 4;
/// Context of one sequence unless configured, in tokens.
pub const CONTEXT_TOKENS_DEFAULT: u32 = 2048;
/// Longest context that can be configured for one sequence.
pub const CONTEXT_TOKENS_MAX: u32 = 131_072;
/// How long one step of the engine may take, so that a long prompt never stalls the others: the share of prompt in a step is
/// chosen from the measured speed.
pub const STEP_TARGET: Duration = Duration::from_millis(250);
/// Prompt tokens in one step at least, so that a slow machine still gets on.
pub const PROMPT_CHUNK_MIN: usize = 8;
/// Prompt tokens in one step at most: llama.cpp's batch.
pub const PROMPT_CHUNK_MAX: usize = 512;
/// Tokens of one answer at most.
pub const ANSWER_TOKENS_MAX: u32 = 2048;
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
/// Messages of a chat that go into the prompt.
pub const PROMPT_MESSAGES_MAX: usize = 20;
/// Bytes of one frame between nodes.
pub const GENERATE_FRAME_BYTES_MAX: usize = 256 * 1024;
/// A generating node says at least this often that it is alive.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// A generating node that says nothing for this long is given up.
pub const SILENCE_MAX: Duration = Duration::from_secs(3);
/// A node that does not take a question within this is passed over: what mesh takes to suspect a dead one, and a little more.
pub const ASK_OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// An asking node that does not read for this long loses its answer.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A generation as a whole.
pub const GENERATION_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a generating node waits for the session to reach it before it leaves the recording to the gateway.
pub const SESSION_WAIT: Duration = Duration::from_secs(2);
/// Answers that one node sees to at once, as a gateway.
pub const ANSWERS_MAX: usize = 64;
/// Notices of answers a slow listener may be behind.
pub const ANSWER_EVENT_QUEUE: usize = 4096;
/// A question that nobody could answer is tried again at least this often.
pub const RETRY_EVERY: Duration = Duration::from_secs(2);
/// Attempts on different nodes for one question before it goes back to waiting.
pub const ATTEMPTS_MAX: usize = 4;
