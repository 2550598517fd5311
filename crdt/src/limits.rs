//! Every limit of this crate, with its reason.

use std::time::Duration;

/// Bytes of one journal segment; large enough that there are few, small enough to rewrite one.
pub const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of one record body: a signed envelope with room to spare.
pub const RECORD_BYTES_MAX: usize = 128 * 1024;
/// Bytes of one automerge change inside an envelope, so that the envelope fits one gossip message.
pub const CHANGE_BYTES_MAX: usize = 60 * 1024;
/// Operations in one change.
pub const OPERATIONS_PER_CHANGE_MAX: usize = 10_000;
/// Operation counters above this are refused: automerge panics near `u32::MAX`, and no honest document comes near.
pub const OPERATION_COUNTER_MAX: u64 = 1 << 31;
/// Commands that wait for the store's thread; callers wait.
pub const COMMAND_QUEUE: usize = 1024;
/// Commands that share one `fdatasync`.
pub const GROUP_COMMIT_MAX: usize = 256;
/// How long a command may wait for others to share its `fdatasync`.
pub const GROUP_COMMIT_WINDOW: Duration = Duration::from_millis(5);
/// Envelopes that wait to be gossiped; more are dropped, because reconciliation repairs it.
pub const OUTGOING_QUEUE: usize = 1024;
/// Notices of changes that a slow watcher may be behind before it must read everything again.
pub const CHANGE_QUEUE: usize = 1024;
/// Documents held materialised.
pub const VIEWS_MAX: usize = 512;
/// Changes parked because something they depend on is missing.
pub const PARKED_MAX: usize = 1024;
/// Bytes of parked changes.
pub const PARKED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A parked change is dropped after this; reconciliation brings it again.
pub const PARKED_FOR: Duration = Duration::from_secs(30);
/// Bytes of one reconciliation frame.
pub const RECONCILE_FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of envelopes in one reconciliation frame.
pub const RECONCILE_BATCH_BYTES: usize = 512 * 1024;
/// Envelope ids listed in one reconciliation frame.
pub const RECONCILE_IDS_MAX: usize = 16 * 1024;
/// Frames of one reconciliation conversation; a longer one is hostile or broken, and the next tick goes on.
pub const RECONCILE_FRAMES_MAX: usize = 10_000;
/// sled's page cache.
pub const INDEX_CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes of any one text field of a record.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Messages of one session; beyond that a new dialogue begins.
pub const MESSAGES_PER_SESSION_MAX: usize = 20_000;
