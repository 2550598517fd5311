//! Every limit of this crate, with its reason.

use std::time::Duration;

/// Bytes of a request body: the longest message is 1000 characters.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Any request but a WebSocket is answered within this, its body included.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that ask at one time; sockets have places of their own. Each holds a file and some 20 KB.
pub const CONNECTIONS_MAX: usize = 4096;
/// After a failure to take connections the next one is tried so much later: files become free when others end.
pub const ACCEPT_AGAIN: Duration = Duration::from_secs(1);
/// Both ends have agreed on keys within this: two round trips, and the time to sign.
pub const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// The whole head of a request comes within this, however slowly it drips; an open connection waits so long for the next one.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a request's head: both cookies take one kilobyte, a browser's other headers another.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of one request. It is what hyper keeps on the stack; a browser sends about twenty.
pub const HEADERS_MAX: usize = 100;
/// Files with a certificate are looked at this often: whoever renews one is not waited for by anybody.
pub const CERTIFICATE_LOOK_EVERY: Duration = Duration::from_secs(10);
/// Bytes of a file with certificates; a chain of four has ten thousand.
pub const CERTIFICATE_BYTES_MAX: u64 = 256 * 1024;
/// A connection on which nothing moves for this long is closed; a page's socket answers a ping every [`PING_EVERY`].
pub const CONNECTION_SILENCE_MAX: Duration = Duration::from_secs(60);
/// Messages in one page of a chat.
pub const PAGE_MESSAGES: usize = 50;
/// Sessions in one page of the list.
pub const SESSIONS_LISTED_MAX: usize = 200;
/// Summaries in one page.
pub const PAGE_SUMMARIES: usize = 50;
/// Messages in the chats that are kept as read, together: some 20 MB.
pub const CHATS_KEPT_MESSAGES_MAX: usize = 30_000;
/// Of a chat's newest messages so many are read with their texts: two pages, so that what is not shown of them, on other branches,
/// leaves a page full.
pub const OPENED_NEWEST: usize = 2 * PAGE_MESSAGES;
/// Of a chat's oldest messages so many are read with their texts: a greeting or a few, and the question after which it is called.
pub const OPENED_OLDEST: usize = 4;
/// Chats of which it is remembered whose they are; forgotten all together when there are more.
pub const OWNERS_REMEMBERED_MAX: usize = 65_536;
/// Answers that are wished beside others, of which it is remembered what was shown before; forgotten all together when there are more.
pub const WISHES_REMEMBERED_MAX: usize = 4096;
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
/// What somebody took counts as of late for so many times as long as an empty bucket takes to fill. Who took more than half of a bucket
/// of late is told to other gateways: so whoever takes a fifth of a limit in the long run, or half of a bucket at once.
pub const HEAVY_FILLS: f64 = 2.5;
/// Gateways tell each other this often what heavy users spent; what these get too much grows with it.
pub const SPENDING_TOLD_EVERY: Duration = Duration::from_secs(1);
/// Heavy users that one gateway tells of, the heaviest first: more of them at a time are an attack from many addresses, which no limit
/// of one address holds.
pub const SPENDING_TOLD_MAX: usize = 64;
/// Bytes of what one gateway tells: the most heavy users, at 32 bytes each, and room for a later release.
pub const SPENDING_BYTES_MAX: usize = 4096;
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
/// The account notes this often that a device has a page open: as often as a page that asks for things is noted by its new token.
pub const DEVICE_NOTED_EVERY_MILLISECONDS: u64 = 10 * 60 * 1000;
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
/// Machines that may join with one invite, as on the command line.
pub const INVITE_USES_MAX: u32 = 1000;
/// An invite that is made on the page lasts a month at most: it passes through browsers and chats.
pub const INVITE_MINUTES_MAX: u64 = 30 * 24 * 60;
/// Complaints of one person that nobody has decided: more would bury those of others.
pub const COMPLAINTS_UNDECIDED_MAX: usize = 20;
/// Complaints of one person in a burst.
pub const COMPLAINT_BURST: f64 = 5.0;
/// Complaints of one person each second in the long run: one a minute.
pub const COMPLAINTS_PER_SECOND: f64 = 1.0 / 60.0;
/// What a decided complaint copied is erased after so many days, unless an administrator sets another number: time to object.
pub const COMPLAINT_DAYS: u64 = 30;
/// It is looked this often for what has been kept long enough, besides at each change: settings may have become other ones.
pub const FORGETTING_LOOK_EVERY: Duration = Duration::from_secs(60 * 60);
/// It looks so long after a change, or after it has come up: what a node was not told while it was away comes together, settings too.
pub const FORGETTING_SETTLES: Duration = Duration::from_secs(10);
/// So much later than one gateway the next one erases what that one should have: replication takes seconds.
pub const FORGETTING_TURN_MILLISECONDS: u64 = 60 * 1000;
/// Requests of one address each second in the long run, unless an administrator sets another number: a household with a few phones.
pub const REQUESTS_PER_SECOND_ADDRESS: u64 = 100;
/// Requests of one person each second in the long run, unless set: five devices that scroll.
pub const REQUESTS_PER_SECOND_ACCOUNT: u64 = 50;
/// So many seconds of the long run may come at once: a page that starts asks for a dozen things.
pub const REQUEST_BURST_SECONDS: f64 = 4.0;
/// A store that does not answer within this is not ready.
pub const READY_PATIENCE: Duration = Duration::from_secs(2);
/// Days that a key of a program lasts at most, when it ends at all: ten years.
pub const KEY_DAYS_MAX: u64 = 3650;
/// Requests with one key in a burst: a script that starts a batch.
pub const KEY_REQUEST_BURST: f64 = 60.0;
/// Requests with one key each second in the long run: more than a node answers.
pub const KEY_REQUESTS_PER_SECOND: f64 = 10.0;
/// Bytes of a program's request: the longest context as text, escaped, with room for tools.
pub const PROGRAM_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Messages of a program's chat.
pub const PROGRAM_MESSAGES_MAX: usize = 1000;
/// Tools that a program offers a model.
pub const PROGRAM_TOOLS_MAX: usize = 128;
/// Texts of one request for embeddings: each takes the model a moment in which nobody else is served.
pub const EMBEDDING_TEXTS_MAX: usize = 64;
/// A program's request is answered within this, or not at all: what the SDKs wait.
pub const PROGRAM_TIMEOUT: Duration = Duration::from_secs(600);
/// Requests of programs that a gateway sees to at one time; an engine refuses more than 32 by itself.
pub const PROGRAM_REQUESTS_MAX: usize = 256;
/// A streamed answer begins so late at the latest, without a word: until then an error still has a status of its own.
pub const STREAM_HEAD_PATIENCE: Duration = Duration::from_secs(2);
/// While a stream has nothing to say it says so, for those in between that close silent connections.
pub const STREAM_KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Bytes of a picture that a person sends.
pub const PICTURE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Pixels of one side of a picture that is unpacked; 50 megapixels are more than any camera's portrait.
pub const PICTURE_SIDE_MAX: u32 = 8192;
/// Memory that unpacking one picture may take.
pub const PICTURE_MEMORY_MAX: u64 = 256 * 1024 * 1024;
/// Cards and pictures that are unpacked at one time; whoever comes next waits. Two take no more memory than a small model.
pub const WORKSHOP_PLACES: usize = 2;
/// Pixels of one side of a picture as it is kept: twice what the largest place of the page shows.
pub const PICTURE_SIDE_KEPT: u32 = 640;
/// Quality of a picture without transparency.
pub const PICTURE_QUALITY: u8 = 85;
/// Entries of a list in one page unless told otherwise.
pub const PAGE_ENTRIES: usize = 50;
/// Entries of a list in one page at most.
pub const PAGE_ENTRIES_MAX: usize = 100;
/// Characters of where a page begins.
pub const PAGE_CURSOR_CHARACTERS_MAX: usize = 200;
/// Characters with whose prompts a new one is compared; a mesh with more shows no likeness, and equality is still found.
pub const CHARACTERS_COMPARED_MAX: usize = 5000;
/// Messages of a test chat: what a model is given of any chat.
pub const TRIAL_MESSAGES_MAX: usize = 20;
/// Characters of one message of a test chat.
pub const TRIAL_CHARACTERS_MAX: usize = 1000;
/// A test chat is answered within this, or not at all.
pub const TRIAL_TIMEOUT: Duration = Duration::from_secs(25);
