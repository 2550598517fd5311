//! Every limit of this crate, with its reason.

use std::time::Duration;

pub use crate::replica::quota::Quota;

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
/// Seconds since 1970 that a change may claim, from 0 on: 34,000 years. automerge keeps differences of times, and panics when two lie
/// too far apart; which change that hits depends on the order in which a node met them.
pub const COMMIT_TIME_MAX: i64 = 1 << 40;
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
/// Documents held materialised: the chats and accounts of a thousand people who talk at once. See also [`VIEW_BYTES_MAX`].
pub const VIEWS_MAX: usize = 2048;
/// Changes of one author parked because something they depend on is missing.
pub const PARKED_PER_AUTHOR_MAX: usize = 256;
/// Bytes of one author's parked changes.
pub const PARKED_BYTES_PER_AUTHOR_MAX: usize = 1024 * 1024;
/// Authors that may have parked changes at one time.
pub const PARKED_AUTHORS_MAX: usize = 64;
/// A parked change is dropped after this; reconciliation brings it again.
pub const PARKED_FOR: Duration = Duration::from_secs(30);
/// Bytes of one reconciliation frame.
pub const RECONCILE_FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of envelopes in one reconciliation frame.
pub const RECONCILE_BATCH_BYTES: usize = 512 * 1024;
/// Longest wait for one frame of a conversation about documents: reconciliation, questions for them, and their keys.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(10);
/// Frames of one reconciliation conversation; a longer one is hostile or broken, and the next tick goes on.
pub const RECONCILE_FRAMES_MAX: usize = 10_000;
/// sled's page cache.
pub const INDEX_CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes of any one text field of a record.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Messages of one session; beyond that a new dialogue begins.
pub const MESSAGES_PER_SESSION_MAX: usize = 20_000;
/// Bytes of one envelope with its payloads: what gossip carries in one message of 64 KiB, its own framing included.
pub const ENVELOPE_BYTES_MAX: usize = 63 * 1024;
/// Payloads (sealed texts) beside one change.
pub const PAYLOADS_PER_ENVELOPE_MAX: usize = 64;
/// Bytes of a signed erasure or receipt: they have a fixed shape.
pub const STATEMENT_BYTES_MAX: usize = 512;
/// Dependencies of one change: as many concurrent heads as a busy document ever has.
pub const DEPENDENCIES_MAX: usize = 1024;
/// What an author may push: a busy gateway's burst, then ten times what 100 people write who all chat at once.
pub const QUOTA_PUSH: Quota = Quota {
    changes: 20_000.0,
    changes_per_second: 200.0,
    bytes: 32.0 * MEBIBYTE,
    bytes_per_second: 0.125 * MEBIBYTE,
};
/// What an author may hand over itself: everything that it wrote while a small mesh lived for years.
pub const QUOTA_PULL: Quota = Quota {
    changes: 4_000_000.0,
    changes_per_second: 200.0,
    bytes: 4096.0 * MEBIBYTE,
    bytes_per_second: 0.125 * MEBIBYTE,
};
const MEBIBYTE: f64 = 1024.0 * 1024.0;
/// Authors whose quotas are remembered; one whose bucket is full again is forgotten.
pub const QUOTA_AUTHORS_MAX: usize = 4096;
/// Bytes of changes and texts in all cached views together; a view costs a few times as much.
pub const VIEW_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A document with at least so many changes is kept as a snapshot, so that it opens quickly.
pub const SNAPSHOT_CHANGES_MIN: usize = 64;
/// A snapshot is made anew after so many further changes.
pub const SNAPSHOT_EVERY: usize = 256;
/// Bytes of one snapshot that are read at all.
pub const SNAPSHOT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Changes of the index that are sorted and written together while it is made anew: about 100 MB at the time of writing, and each page
/// of an index of a million documents is gone through four times.
pub const INDEX_LOAD_BATCH: usize = 512 * 1024;
/// Changes kept out because they made a view fail; more are judged anew each time they come.
pub const QUARANTINED_MAX: usize = 4096;
/// Notices about data keys that wait to be seen to; more are found by the regular round of asking.
pub const KEY_QUEUE: usize = 1024;
/// Data keys of one account: it has one, and more only when nodes made some for it apart from each other.
pub const KEYS_PER_ACCOUNT_MAX: usize = 16;
/// Accounts whose data keys are held in memory; others are read from their file, one small read.
pub const KEYRING_CACHE_ACCOUNTS_MAX: usize = 4096;
/// Bytes of one frame of data keys between two members.
pub const KEY_FRAME_BYTES_MAX: usize = 256 * 1024;
/// Accounts in one frame of data keys; more are asked for in the next one.
pub const KEY_FRAME_ACCOUNTS_MAX: usize = 1024;
/// How long a write waits for the key of its account: asking every neighbour takes less.
pub const KEY_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of the membership file inside a backup: as many certificates as a mesh has members.
pub const BACKUP_MEMBERSHIP_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of the configuration file inside a backup.
pub const BACKUP_CONFIGURATION_BYTES_MAX: usize = 256 * 1024;
/// Days of which the newest backup is kept.
pub const BACKUP_DAYS_KEPT: usize = 7;
/// Weeks of which the newest backup is kept.
pub const BACKUP_WEEKS_KEPT: usize = 7;
/// Records that a restore makes durable with one sync.
pub const RESTORE_BATCH_RECORDS: usize = 4096;
/// Bytes of records that a restore collects before it makes them durable.
pub const RESTORE_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Tree nodes in one reconciliation frame: sixteen for each of the 256 shards, so that a frame can go one level down everywhere.
pub const RECONCILE_NODES_MAX: usize = 4096;
/// Tree nodes that a frame may hold however much else is missing, so that a comparison always gets on.
pub const RECONCILE_BREADTH_MIN: usize = 16;
/// Bytes of tree nodes and wants in one reconciliation frame; with the envelopes it stays below the frame's limit.
pub const RECONCILE_TREE_BYTES: usize = 384 * 1024;
/// Envelopes in one reconciliation frame: as many as fit if they are 128 bytes each, and none is shorter.
pub const RECONCILE_ENVELOPES_MAX: usize = 4096;
/// Entries that are listed one by one instead of by digests of their sixteen parts. 100,000 documents have 24 entries in each
/// part of a shard: with this limit practically none of these needs one more frame.
pub const RECONCILE_LEAVES_MAX: usize = 64;
/// Entries of one document that are listed one by one where nearly all its parts differ: in this way all that is missing of it is
/// known in one frame and can be sent in the right order. A region of a longer document is one of its sixteen parts.
pub const RECONCILE_LIST_MAX: usize = 2048;
/// Own entries that are compared one by one with a list of the other side: more than one document has.
pub const RECONCILE_SCAN_MAX: usize = 32 * 1024;
/// Own entries that one frame may make a node look at; what is left is compared in the next round.
pub const RECONCILE_VISITS_MAX: usize = 1024 * 1024;
/// Entries noted in one frame as missing on the other side, from which those to send are chosen: more than one document has.
pub const RECONCILE_LACKING_MAX: usize = 32 * 1024;
/// Entries kept for one peer that cannot be reached; beyond that comparing the sets is cheaper.
pub const DIRTY_ENTRIES_MAX: usize = 10_000;
/// Peers for which such entries are kept; 64 full lists are 26 MB.
pub const DIRTY_PEERS_MAX: usize = 64;
/// Reconciliations that a node opens at the same time.
pub const RECONCILE_TALKS_MAX: usize = 8;
/// Between reconciliations while something moves.
pub const RECONCILE_PERIOD_MIN: Duration = Duration::from_secs(1);
/// Between reconciliations while everything agrees.
pub const RECONCILE_PERIOD_MAX: Duration = Duration::from_secs(15);
/// By how much of itself the time between reconciliations varies to either side, so that nodes do not fall into step.
pub const RECONCILE_PERIOD_JITTER: f64 = 0.2;
/// Bytes that the search for records behind a damaged one may hash before it has searched anything: a few records of the largest size.
pub const SEARCH_HASH_BYTES_START: u64 = 16 * RECORD_BYTES_MAX as u64;
/// Bytes that it may hash for each byte it searches: a 64 MiB segment of the worst bytes costs 4 GiB of hashing, a few seconds.
pub const SEARCH_HASHED_PER_BYTE: u64 = 64;
/// Bytes of a journal read at once when one record is wanted: most envelopes are shorter, and come with one call.
pub const READ_AHEAD_BYTES: usize = 2048;
/// Segments kept open for reading.
pub const SEGMENT_READERS_MAX: usize = 16;
/// How often an index whose lock is held is tried again, and how long in between: sled lets go a moment after it was closed.
pub const INDEX_LOCK_ATTEMPTS: usize = 100;
/// Time between two of these attempts.
pub const INDEX_LOCK_WAIT: Duration = Duration::from_millis(20);
/// How long closing the index may take: a damaged sled can wait for its own dead thread for ever, and the node must still stop.
pub const INDEX_CLOSE_WAIT: Duration = Duration::from_secs(30);
/// An index smaller than this is not compacted: a fresh one already takes some.
pub const INDEX_COMPACT_BYTES_MIN: u64 = 16 * 1024 * 1024;
/// An index that takes more than this many times its keys and values is compacted.
pub const INDEX_COMPACT_FACTOR: u64 = 3;
/// Changes written at once while an index is compacted.
pub const INDEX_COMPACT_BATCH: usize = 4096;
/// Pairs of the index that stand under one key of the database: about a kilobyte, which is what a write of one of them costs.
pub const INDEX_CHUNK_MAX: usize = 32;
/// Pairs of each part of a chunk that was divided, so that it does not need to be divided again soon.
pub const INDEX_CHUNK_FILL: usize = 20;
/// Such entries handed over at once: as many as fit a frame if each has 560 bytes.
pub const DIRTY_HAND_OVER_MAX: usize = 900;
/// Changes that a new base must cover at least beyond the one before: with fewer, a document opens quickly anyway.
pub const REBASE_CHANGES_MIN: usize = 2000;
/// A document is rebased when fewer than one in so many of these changes still counts.
pub const REBASE_SHARE: usize = 8;
/// Heads that a base covers up to: as many as fit into a statement. This and the next two say which bases there are, so a node with
/// others would refuse what the rest of the mesh stands on: a change of them is a new version of the base.
pub const REBASE_HEADS_MAX: usize = 8;
/// Changes that a base covers, those of the bases before it included: their traces take ten bytes each in one record.
pub const COVERED_CHANGES_MAX: usize = 11_000;
/// Bytes of one base, so that it is one record of the journal.
pub const BASE_BYTES_MAX: usize = RECORD_BYTES_MAX - 4096;
/// Threads that sync key files after a restore; they wait for the disk together.
pub const KEYRING_SYNC_THREADS: usize = 32;
/// How many members hold a shard of a large mesh: two may die at once and three are left.
pub const PLACEMENT_COPIES: usize = 5;
/// Up to so many storage members each holds everything: a share of five in sixteen would save little and cost every read a look.
pub const PLACEMENT_EVERYWHERE_MAX: usize = 16;
/// How long a silent holder is waited for while its shard's others are heard: a restart or a new address takes less.
pub const PLACEMENT_PATIENCE: Duration = Duration::from_secs(60);
/// How long when another holder of the shard is silent, too. Longer than a link that hiccups.
pub const PLACEMENT_PATIENCE_URGENT: Duration = Duration::from_secs(5);
/// How long when so many are silent that the mesh must be split.
pub const PLACEMENT_PATIENCE_SPLIT: Duration = Duration::from_secs(15 * 60);
/// Percent of the members that must have fallen silent for that.
pub const PLACEMENT_SPLIT_PERCENT: usize = 25;
/// Between two times at which a node drops what others hold: each rewrites much of the journal.
pub const PLACEMENT_DROP_EVERY: Duration = Duration::from_secs(60);
/// Changes that are offered to a holder at once, when they were written on a node that does not hold them.
pub const PLACEMENT_OWN_OFFERED_MAX: usize = 512;
/// Documents of other holders that a node keeps because somebody uses them there.
pub const FOLLOWED_MAX: usize = 2048;
/// Bytes of these.
pub const FOLLOWED_BYTES_MAX: usize = 128 * 1024 * 1024;
/// One that was not used for so long goes.
pub const FOLLOWED_FOR: Duration = Duration::from_secs(24 * 3600);
/// For so long nobody is asked again what is new in a document that others hold; gossip brings it meanwhile, mostly.
pub const FOLLOWED_FRESH_FOR: Duration = Duration::from_secs(10);
/// Bytes of one fetch frame: a batch of envelopes.
pub const FETCH_FRAME_BYTES_MAX: usize = RECONCILE_FRAME_BYTES_MAX;
/// Documents asked for by id at once.
pub const FETCH_DOCUMENTS_MAX: usize = 256;
/// Lists of documents of which it is remembered that others were asked for them a moment ago.
pub const FETCH_ASKED_MAX: usize = 256;
/// Questions to others that wait to be seen to; one more fails at once.
pub const FETCH_QUEUE: usize = 256;
/// How long a read waits for those who hold what it needs.
pub const FETCH_PATIENCE: Duration = Duration::from_secs(5);
/// Questions to others for one read or write: the document, its owner, and once more when something changed meanwhile.
pub const FETCHES_PER_CALL_MAX: usize = 4;
/// A shard that has left is kept this long at least, although others have confirmed it: who was replaced often comes back.
pub const PLACEMENT_LINGER: Duration = Duration::from_secs(5 * 60);
/// Bytes of a card file: a picture, and a few dozen more of them in a CHARX.
pub const CARD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of a card's text once it is unpacked: the largest lorebooks that people share have one or two million characters.
pub const CARD_TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Entries of a CHARX: a hundred expressions in a few sizes.
pub const CARD_ENTRIES_MAX: usize = 4096;
/// Bytes of a picture inside a CHARX once it is unpacked.
pub const CARD_PICTURE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Entries of a lorebook that are read; the others stay in the card and say nothing.
pub const LOREBOOK_ENTRIES_MAX: usize = 2000;
/// Keys of one entry, secondary ones included.
pub const LOREBOOK_KEYS_MAX: usize = 100;
/// Regular expressions of one lorebook; each costs a compilation.
pub const LOREBOOK_PATTERNS_MAX: usize = 128;
/// Bytes of one compiled regular expression; all letters of all scripts (`\w`) take some 70 KB.
pub const LOREBOOK_PATTERN_BYTES_MAX: usize = 256 * 1024;
/// Brackets in brackets of a regular expression.
pub const LOREBOOK_PATTERN_DEPTH_MAX: u32 = 32;
/// Messages that are looked through for keys, from the newest, whatever a lorebook asks for.
pub const LOREBOOK_SCAN_MESSAGES_MAX: usize = 50;
/// Bytes of text that are looked through for keys, from the newest.
pub const LOREBOOK_SCAN_BYTES_MAX: usize = 32 * 1024;
/// Rounds in which entries wake further entries.
pub const LOREBOOK_ROUNDS_MAX: usize = 8;
/// Decorators of one entry, fallbacks included.
pub const LOREBOOK_DECORATORS_MAX: usize = 64;
/// Replacements of `{{...}}` in one text; what is left stands as it is.
pub const MACROS_MAX: usize = 1000;
