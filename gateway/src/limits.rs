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
/// Sessions listed at once.
pub const SESSIONS_LISTED_MAX: usize = 200;
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
