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
/// A copy of an account serves requests for so long: a revocation acts within it even if no notice of the change came.
pub const ACCOUNT_HELD_FOR: Duration = Duration::from_secs(1);
/// Accounts of which a copy is held: a few kilobytes each.
pub const ACCOUNTS_HELD_MAX: usize = 10_000;
/// The list of names is made anew after so long, for accounts that lie with other nodes; here, notices keep it current.
pub const NAMES_HELD_FOR: Duration = Duration::from_secs(30);
/// A device that this node has not heard of yet is believed for so long after it signed in elsewhere: news takes under two seconds.
pub const DEVICE_NEWS_MILLISECONDS: u64 = 10 * 1000;
/// A refresh token may be shown again for so long: two tabs that ask at once, or an answer that was lost on the way.
pub const REFRESH_OVERLAP_MILLISECONDS: u64 = 10 * 1000;
/// A dangerous act needs a second factor that was shown within this.
pub const SECOND_FACTOR_FRESH: Duration = Duration::from_secs(15 * 60);
/// A password waits so long for a core.
pub const HASHING_PATIENCE: Duration = Duration::from_secs(10);
/// Wrong passwords for one name from one address, after which the next try must wait.
pub const LOCK_AFTER: u32 = 3;
/// The same from anywhere: so many that no person mistypes, few enough to stop guessing from many addresses.
pub const LOCK_AFTER_ANYWHERE: u32 = 30;
/// The first wait; it doubles with each further wrong password.
pub const LOCK_DELAY_FIRST: Duration = Duration::from_secs(5);
/// The longest wait.
pub const LOCK_DELAY_MAX: Duration = Duration::from_secs(15 * 60);
/// Wrong passwords are forgotten after this.
pub const LOCK_REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);
/// Names with wrong passwords that are remembered; two entries each.
pub const LOCKS_MAX: usize = 20_000;
/// A person gets a second letter no sooner than this after the first.
pub const LETTER_AGAIN_MILLISECONDS: u64 = 60 * 1000;
/// Wishes for letters that wait to be seen to; each takes a few milliseconds.
pub const LETTERS_ASKED_MAX: usize = 256;
/// Acts that wait to be written into the log; callers wait.
pub const AUDIT_QUEUE: usize = 256;
/// Acts in one page of the log.
pub const AUDIT_PAGE: usize = 100;
/// People in one page.
pub const PEOPLE_PAGE: usize = 50;
/// Downloads of everything that are packed at one time: each holds all chats of a person in memory.
pub const EXPORTS_MAX: usize = 2;
/// Addresses that are refused at one time; the settings of a mesh hold 500 values in all.
pub const BANS_MAX: usize = 300;
/// A ban lasts a year at most.
pub const BAN_MINUTES_MAX: u64 = 365 * 24 * 60;
/// Characters of why an address is refused.
pub const BAN_REASON_CHARACTERS_MAX: usize = 200;
/// Requests of one address each second in the long run, unless an administrator sets another number: a household with a few phones.
pub const REQUESTS_PER_SECOND_ADDRESS: u64 = 100;
/// Requests of one person each second in the long run, unless set: five devices that scroll.
pub const REQUESTS_PER_SECOND_ACCOUNT: u64 = 50;
/// So many seconds of the long run may come at once: a page that starts asks for a dozen things.
pub const REQUEST_BURST_SECONDS: f64 = 4.0;
