//! Every limit of this crate, with its reason.

use std::time::Duration;

/// Bytes of a request body: the longest message is 1000 characters.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Any request but a WebSocket is answered within this.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection on which nothing comes for this long is closed; a page's socket answers a ping every [`PING_EVERY`].
pub const CONNECTION_SILENCE_MAX: Duration = Duration::from_secs(60);
/// Messages in one page of a chat.
pub const PAGE_MESSAGES: usize = 50;
/// Sessions in one page of the list.
pub const SESSIONS_LISTED_MAX: usize = 200;
/// Summaries in one page.
pub const PAGE_SUMMARIES: usize = 50;
/// Messages in the chats that are kept as read, together: some 20 MB.
pub const CHATS_KEPT_MESSAGES_MAX: usize = 30_000;
/// Chats of which it is remembered whose they are; forgotten all together when there are more.
pub const OWNERS_REMEMBERED_MAX: usize = 65_536;
/// Events that a page may be behind before it is sent away to come back.
pub const ROOM_QUEUE: usize = 64;
/// Chats of which a socket remembers what it told, so that it tells only what is new.
pub const SESSIONS_REMEMBERED_MAX: usize = 32;
/// In a chat that a socket has not told anything of yet, so much before its opening counts as new, in milliseconds.
pub const JUST_BEFORE: u64 = 10_000;
/// Answers that one socket is told of at the same time.
pub const STREAMS_PER_SOCKET_MAX: usize = 16;
/// Running answers of which a page says what it has.
pub const CURSORS_MAX: usize = 16;
/// Between two pieces of an answer to one page. A piece's frame costs about twelve bytes, so at twenty tokens a second two tokens
/// together carry more than their frame.
pub const TOKEN_FRAME_EVERY: Duration = Duration::from_millis(100);
/// A piece of fewer bytes than this waits longer: it would be less than half of its frame.
pub const TOKEN_FRAME_BYTES_MIN: usize = 8;
/// But not longer than this.
pub const TOKEN_FRAME_LATEST: Duration = Duration::from_millis(250);
/// Read and typing marks of one socket in a burst.
pub const MARK_BURST: f64 = 30.0;
/// Read and typing marks of one socket per second in the long run.
pub const MARKS_PER_SECOND: f64 = 2.0;
/// Hits in one page of a search.
pub const SEARCH_HITS: usize = 20;
/// How long a search waits for an index that is being made before it answers with what is there.
pub const SEARCH_PATIENCE: Duration = Duration::from_millis(150);
/// Bytes of all indexes together: one person's 100,000 messages take about 40 MB.
pub const SEARCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Characters of what is looked for.
pub const SEARCH_CHARACTERS_MAX: usize = 200;
/// Characters that a hit shows of its message.
pub const SNIPPET_CHARACTERS: usize = 160;
/// Bytes of one frame from a browser.
pub const SOCKET_FRAME_BYTES_MAX: usize = 16 * 1024;
/// Sockets of this gateway at one time.
pub const SOCKETS_MAX: usize = 10_000;
/// The server pings this often.
pub const PING_EVERY: Duration = Duration::from_secs(20);
/// A socket that says nothing for this long is closed.
pub const SOCKET_SILENCE_MAX: Duration = Duration::from_secs(60);
/// A frame that a browser does not take within this closes its socket.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Characters of an outbox id.
pub const OUTBOX_CHARACTERS: std::ops::RangeInclusive<usize> = 8..=64;
/// Characters of a session's title, taken from the first message.
pub const TITLE_CHARACTERS: usize = 60;
/// Sign-ins and welcomes of one address in a burst.
pub const SIGN_IN_BURST: f64 = 10.0;
/// Sign-ins and welcomes of one address per second in the long run.
pub const SIGN_IN_PER_SECOND: f64 = 0.5;
/// Addresses remembered for rate limits; the emptiest bucket is forgotten first.
pub const RATE_ADDRESSES_MAX: usize = 10_000;
/// Messages of one socket in a burst.
pub const MESSAGE_BURST: f64 = 10.0;
/// Messages of one socket per second in the long run.
pub const MESSAGES_PER_SECOND: f64 = 1.0;
/// Open requests are given this long when the node stops.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(2);
