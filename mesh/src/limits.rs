//! Every limit of this crate, with its reason.

use std::time::Duration;

/// Bytes of one gossip message: what one signed change may have, and a kilobyte for gossip's own framing.
pub const GOSSIP_BYTES_MAX: usize = 64 * 1024;
/// Gossip messages that wait for the node; when full the newest is dropped, because reconciliation repairs it.
pub const GOSSIP_QUEUE: usize = 1024;
/// Neighbours to whom a node forwards gossip at once. Each node receives a message about as often as it has such neighbours, less
/// one: this decides what a message costs. With these numbers the simulator (`./x bench sim`) has a message at all of 100 nodes after
/// a quarter of a second for 4.4 copies; six neighbours are 20 ms faster and cost 5.2 copies.
pub const GOSSIP_MESH: usize = 5;
/// With fewer of them a node looks for more at its next gossip heartbeat.
pub const GOSSIP_MESH_LOW: usize = 4;
/// With so many of them a node lets go of some. Closer to the aim, neighbours would be let go all the time, and for a minute each.
pub const GOSSIP_MESH_HIGH: usize = 7;
/// So many of them a node has dialled itself; members are invited, so that nobody can surround a node with many of his own.
pub const GOSSIP_OUTBOUND_MIN: usize = 1;
/// How often nodes tell others which messages they have; only while there are any. A frame that got lost is asked for after about
/// this: with every third one lost, a second would be too long for the slowest of 100 nodes.
pub const GOSSIP_HEARTBEAT: Duration = Duration::from_millis(100);
/// Further neighbours who are told with each heartbeat, and as many tell each node, however large the mesh is. Each one more repairs
/// losses faster, and costs copies that are asked for while the message is on its way anyhow.
pub const GOSSIP_LAZY: usize = 7;
/// Part of the further neighbours who are told if that is more: none, or in a mesh of 1000 a node would tell 250.
pub const GOSSIP_FACTOR: f64 = 0.0;
/// Heartbeats for which a message is kept to be asked for, or to be forwarded when what it waited for has come: five seconds.
pub const GOSSIP_HISTORY: usize = 50;
/// Heartbeats for which others are told of a message: a second; afterwards reconciliation is cheaper.
pub const GOSSIP_HISTORY_TOLD: usize = 10;
/// How long a message that was asked for may take before it is asked for again, of whoever tells of it then; looked at with each
/// heartbeat.
pub const GOSSIP_PATIENCE: Duration = Duration::from_millis(50);
/// Whether the author of a message sends it to everyone it is linked with. It would be everywhere after a tenth of a second, but a
/// home line would carry up a thousand copies of everything that its node writes.
pub const GOSSIP_FLOOD_PUBLISH: bool = false;
/// Messages above this many bytes are called off with the other neighbours as soon as one comes. Shorter ones are already on their
/// way when the word that they are not wanted arrives.
pub const GOSSIP_CALL_OFF_BYTES: usize = 1000;
/// How long a message is remembered as known, so that what goes in circles ends.
pub const GOSSIP_KNOWN_FOR: Duration = Duration::from_secs(60);
/// Commands from the node to the mesh actor; callers wait.
pub const COMMAND_QUEUE: usize = 256;
/// Reports from link tasks to the mesh actor; link tasks wait.
pub const LINK_EVENT_QUEUE: usize = 256;
/// Requests to open a stream that wait for the swarm; callers wait.
pub const OPEN_QUEUE: usize = 256;
/// Inbound streams of one protocol that wait for their owner; further ones are answered BUSY, never dropped silently.
pub const INBOUND_STREAM_QUEUE: usize = 64;
/// Inbound streams of one connection whose OK or BUSY is still being written; further ones are reset.
pub const ANSWERING_STREAMS_MAX: usize = 128;
/// Connections of strangers at one time; each may only speak the join protocol.
pub const STRANGER_CONNECTIONS_MAX: usize = 64;
/// From the request to open a stream until the other side said OK or BUSY.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// A whole join conversation; a stranger that is slower is cut off.
pub const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
/// For how long a newcomer waits for the member that its invite names before it dials the others as well.
pub const JOIN_HEAD_START: Duration = Duration::from_secs(2);
/// Bytes of one frame of the join protocol: one request or one certificate.
pub const JOIN_FRAME_BYTES_MAX: usize = 8 * 1024;
/// Certificates that a member presents or hands out at once.
pub const JOIN_CERTIFICATES_MAX: usize = keys::limits::MEMBERS_MAX;
/// Certificates and decrees that a member presents at once.
pub const JOIN_EVIDENCE_MAX: usize = 4 * keys::limits::MEMBERS_MAX;
/// Bytes of one frame of the trust protocol: a thousand ids of 16 bytes, or twenty certificates.
pub const TRUST_FRAME_BYTES_MAX: usize = 20 * 1024;
/// Ids in one frame.
pub const TRUST_IDS_PER_FRAME: usize = 1024;
/// Bytes of evidence in one frame: with one more piece it still fits.
pub const TRUST_EVIDENCE_BYTES: usize = TRUST_FRAME_BYTES_MAX - keys::limits::EVIDENCE_BYTES_MAX - 1024;
/// Answers of one trust stream that wait to be written: a full mesh's evidence. Further ones are dropped; the next digest repairs it.
pub const TRUST_QUEUE: usize = 1024;
/// News for the links that wait for the slowest one, which then compares digests instead.
pub const TRUST_NEWS: usize = 256;
/// The two sides of a link compare digests this often.
pub const TRUST_AGAIN: Duration = Duration::from_secs(30);
/// A neighbour that does not read its trust stream for so long loses it.
pub const TRUST_WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Trust streams of one link; a member that opens more loses the oldest.
pub const TRUST_STREAMS_MAX: usize = 4;
/// A link is used without agreement on who is a member when that takes longer: a slow comparison must not cost a link.
pub const TRUST_FIRST: Duration = Duration::from_secs(3);
/// Evidence that waits for other evidence (whoever admitted its node); more is dropped and comes again. Verifying it anew with each
/// piece of news costs 40 ms at most.
pub const EVIDENCE_WAITING_MAX: usize = 256;
/// How often certificates that have ended, or are to be renewed, are looked for.
pub const JUDGE_EVERY: Duration = Duration::from_secs(60);
/// A heartbeat on every link this often: four in a row missed make a link suspect after a second.
pub const HEARTBEAT: Duration = Duration::from_millis(250);
/// Over a link on which nothing was heard for this long no new work goes, but its streams are kept, because a blip is not a death. Six
/// heartbeats: a busy machine may miss a few. The same time after which the neighbour is suspected when nobody else hears it.
pub const SUSPECT_AFTER: Duration = LIVENESS_SILENT_AFTER.saturating_add(LIVENESS_ASK_FOR);
/// For how long it is told that two processes use one key after it was last seen: longer than both need to find each other's links
/// again and again.
pub const DOUBLED_FOR: Duration = Duration::from_secs(10 * 60);
/// Nodes of which one neighbour may say that two processes use their key.
pub const DOUBLED_TOLD_MAX: usize = 32;
/// Former lives of a node that are remembered: of one process that is started again and again, and of a few that run at once.
pub const FORMER_LIVES_MAX: usize = 8;
/// A link without any frame for this long is closed and dialled again, because TCP does not notice a dead peer by itself.
pub const LINK_SILENCE_MAX: Duration = Duration::from_secs(10);
/// Connections that two members dialled to each other within this time were dialled at once: a dial over a slow network takes a second or two.
/// Whoever dials later has none any more.
pub const DIALLED_AT_ONCE: Duration = Duration::from_secs(5);
/// A link whose control stream ended while its connection stands is lost when no other comes in this time: less than
/// [`SUSPECT_AFTER`], and several round trips of the slowest lines.
pub const LINK_LAPSE: Duration = Duration::from_secs(1);
/// Bytes of one control frame.
pub const CONTROL_FRAME_BYTES_MAX: usize = 20 * 1024;
/// Bytes of one announced section (load, offers, addresses).
pub const SECTION_BYTES_MAX: usize = 16 * 1024;
/// Sections that are taken from a neighbour.
pub const SECTIONS_MAX: usize = 16;
/// Sections that a node may announce besides the two of the mesh itself: with those as many as the release before takes.
pub const SECTIONS_ANNOUNCED_MAX: usize = 6;
/// Bytes of a section's name.
pub const SECTION_NAME_BYTES_MAX: usize = 32;
/// Changes of address that wait to be taken note of: one of each connection of a large mesh.
pub const MOVES_WAITING_MAX: usize = 1024;
/// Addresses remembered for one node.
pub const ADDRESSES_PER_NODE_MAX: usize = 8;
/// Addresses of one node that were called out on the local network: one of each family.
pub const NEARBY_ADDRESSES_MAX: usize = 2;
/// Addresses from one answer on the local network that are looked at.
pub const NEARBY_FOUND_MAX: usize = 256;
/// Nodes whose addresses one node passes on to its neighbours.
pub const ADDRESS_BOOK_MAX: usize = 64;
/// First wait before dialling again.
pub const REDIAL_FIRST: Duration = Duration::from_millis(200);
/// Longest wait before dialling again; redialling never stops.
pub const REDIAL_MAX: Duration = Duration::from_secs(5);
/// Wait after a peer said that we are not a member: only a person can change that.
pub const REDIAL_REFUSED: Duration = Duration::from_secs(30);
/// QUIC gives a connection up after this long without a packet; long enough that a blip of 8 s keeps its streams.
pub const QUIC_IDLE: Duration = Duration::from_secs(30);
/// QUIC keep-alive, so that home routers keep their mapping.
pub const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Bytes that one QUIC stream may have on the way. A line of 50 ms and 40 MiB/s holds two MiB; on one that loses every two hundredth
/// packet something is always missing, and what came behind it waits for two or three round trips (measured: 4 MiB make it slower).
pub const QUIC_STREAM_WINDOW: u32 = 12 * 1024 * 1024;
/// Bytes that all streams of one QUIC connection may have on the way.
pub const QUIC_CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// Streams that the other side may have open on one QUIC connection at first. A connection has a place for each, in tables that double when
/// they are seven eighths full; with this side's own streams that is one table of 32.
pub const QUIC_STREAMS_FIRST: u32 = 20;
/// And at most, when it uses them.
pub const QUIC_STREAMS_MAX: u32 = 200;
/// A QUIC handshake takes three times across the line; what takes longer is dialled again.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes that one network prefix may begin at once: as many nodes as one operator starts together.
pub const HANDSHAKE_BURST: f64 = 64.0;
/// Handshakes that one network prefix may begin each second for ever: half a percent of a core.
pub const HANDSHAKES_PER_SECOND: f64 = 10.0;
/// Network prefixes whose handshakes are counted apart; the rest shares one bucket.
pub const HANDSHAKE_PREFIXES_MAX: usize = 4096;
/// With so many handshakes under way a sender must first prove its address.
pub const RETRY_ABOVE: usize = 32;
/// Handshakes under way; further ones are ignored.
pub const HANDSHAKES_UNDER_WAY_MAX: usize = 256;
/// Admitted handshakes that wait for the swarm; further ones are ignored, and their senders try again.
pub const HANDSHAKE_QUEUE: usize = 64;
/// Between two packets that open a home router.
pub const PUNCH_EVERY: Duration = Duration::from_millis(50);
/// Connections through two home routers that are tried at the same time.
pub const PUNCHES_MAX: usize = 64;
/// So long the direct way to a node is tried alone; then a WebSocket and circuits are tried beside it.
pub const FURTHER_AFTER: Duration = Duration::from_millis(700);
/// Bytes of one address hint: eight addresses of each kind, three relays, and the signature.
pub const HINT_BYTES_MAX: usize = 1024;
/// A hint is made anew after this, also when it says the same.
pub const HINT_REFRESH: Duration = Duration::from_secs(5 * 60);
/// A hint ends so long after it was made: one refresh may be lost.
pub const HINT_LIVES_MS: u64 = 10 * 60 * 1000;
/// How far two honest clocks may differ when a hint's age is judged.
pub const HINT_CLOCK_SKEW_MS: u64 = keys::limits::CLOCK_SKEW_MILLISECONDS;
/// Two hints of one node are at least so far apart: whoever says more is not forwarded.
pub const HINT_SOONEST_MS: u64 = 500;
/// A hint that a link brings is gossiped on while it is younger: what is older everybody has had the time to hear.
pub const HINT_FRESH_MS: u64 = 30_000;
/// A node waits so long between two hints of its own: longer than [`HINT_SOONEST_MS`], so that every clock agrees.
pub const HINT_EVERY_MIN: Duration = Duration::from_secs(1);
/// The two sides of a link compare which hints they have this often; gossip brings almost all of them before.
pub const HINTS_AGAIN: Duration = Duration::from_secs(120);
/// A hints stream on which nothing came for this long has ended.
pub const HINTS_SILENCE_MAX: Duration = Duration::from_secs(300);
/// Bytes of one frame of the hints protocol: the numbers of a full mesh's hints.
pub const HINTS_FRAME_BYTES_MAX: usize = 80 * 1024;
/// Hints in one frame.
pub const HINTS_PER_FRAME: usize = 64;
/// Frames of hints that wait to be written: all of a full mesh. Further ones are dropped; the next comparison repairs it.
pub const HINTS_QUEUE: usize = 64;
/// A neighbour that does not read its hints stream for so long loses it.
pub const HINTS_WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A hints stream that ended while its link stands is opened again after this.
pub const HINTS_REOPEN: Duration = Duration::from_secs(5);
/// Members whose word counts for how this node is seen.
pub const OBSERVERS_MAX: usize = 64;
/// Relays at which a node behind a router keeps a reservation: two may fail at once.
pub const RELAYS_HELD: usize = 3;
/// A relay that has not answered for so long does not count as asked any more.
pub const RELAY_ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// First wait before a relay is asked again.
pub const RELAY_RETRY_FIRST: Duration = Duration::from_millis(300);
/// Longest wait before a relay is asked again; asking never stops.
pub const RELAY_RETRY_MAX: Duration = Duration::from_secs(30);
/// Reservations that one relay keeps: members of a large mesh behind routers, each with three of them.
pub const RELAY_RESERVATIONS_MAX: usize = 1024;
/// Reservations of one member at one relay: one for each of its connections there, for a moment.
pub const RELAY_RESERVATIONS_PER_MEMBER: usize = 4;
/// Circuits that one relay carries at once; each has two buffers of 8 KiB.
pub const RELAY_CIRCUITS_MAX: usize = 512;
/// Circuits that one member may have begun at one relay.
pub const RELAY_CIRCUITS_PER_MEMBER: usize = 64;
/// A circuit carries a link, so that it may be old; libp2p's two minutes would cut answers off. Its bytes are not limited.
pub const RELAY_CIRCUIT_LIVES: Duration = Duration::from_secs(24 * 3600);
/// Circuits and reservations that one member may ask a relay for in a row.
pub const RELAY_ASKS_BURST: u32 = 60;
/// After that one for each of these.
pub const RELAY_ASK_EVERY: Duration = Duration::from_secs(1);
/// How often reservations, hints and relayed links are looked after.
pub const REACH_TICK: Duration = Duration::from_millis(250);
/// A link that a direct one has replaced is closed at the earliest after this: streams that were being opened on it stand by then.
pub const RETIRED_MIN: Duration = Duration::from_secs(1);
/// Bytes that are written into one message of a WebSocket: one frame of TLS.
pub const WEBSOCKET_WRITE_BYTES: usize = 16 * 1024;
/// Bytes of one message of a WebSocket that are taken, and that wait to be written; what is more ends the connection.
pub const WEBSOCKET_MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Bytes of one frame of the dialback protocol: so many attempts and a little more.
pub const DIALBACK_FRAME_BYTES_MAX: usize = 1024;
/// Ways to a node that are tried for it: eight addresses over UDP and TCP.
pub const DIALBACK_ATTEMPTS_MAX: usize = 16;
/// An attempt that takes longer comes to nothing: three times across the slowest line.
pub const DIALBACK_TRY_TIMEOUT: Duration = Duration::from_secs(3);
/// A whole conversation about being dialled back.
pub const DIALBACK_TIMEOUT: Duration = Duration::from_secs(4);
/// Nodes for which one node tries at the same time; a further one is told so.
pub const DIALBACKS_MAX: usize = 4;
/// Bytes of one frame of the punch protocol.
pub const PUNCH_FRAME_BYTES_MAX: usize = 256;
/// Addresses that each side names to be punched.
pub const PUNCH_ADDRESSES_MAX: usize = 4;
/// Two sides agree in this on when to dial.
pub const PUNCH_TALK_TIMEOUT: Duration = Duration::from_secs(5);
/// A link over TCP or a WebSocket is tried by QUIC so soon after it stands: on a busy machine TCP may have been faster by chance.
pub const BETTER_FIRST: Duration = Duration::from_secs(1);
/// First wait before a relayed link is tried directly again; each further one is four times as long.
pub const PUNCH_AGAIN_FIRST: Duration = Duration::from_secs(6);
/// Longest wait before a relayed link is tried directly again.
pub const PUNCH_AGAIN_MAX: Duration = Duration::from_secs(10 * 60);
/// A connection that nothing uses (a stranger after its join) is closed after this.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(5);
/// How long a stop waits for connections to close in order.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of one blob: the largest model files, with room. The bits of its groups then take 2 MiB.
pub const BLOB_BYTES_MAX: u64 = 256 * 1024 * 1024 * 1024;
/// Blobs of one node, unless it is told otherwise.
pub const BLOBS_MAX: usize = 4096;
/// Bytes of all blobs of one node, unless it is told otherwise.
pub const BLOB_STORE_BYTES: u64 = 256 * 1024 * 1024 * 1024;
/// Bytes of a download after which the disk is made to keep them: what a power cut costs at most.
pub const BLOB_SYNC_BYTES: u64 = 64 * 1024 * 1024;
/// Groups of 16 KiB in one range that is asked for: 4 MiB.
pub const BLOB_ASK_GROUPS_MAX: u64 = 256;
/// Runs of groups that a node tells of a blob it has in part; more scattered ones are told in part.
pub const BLOB_RUNS_MAX: usize = 1024;
/// Bytes of one answer about blobs: a group with all hashes above it, or the runs of a part.
pub const BLOB_FRAME_BYTES_MAX: usize = 24 * 1024;
/// Bytes of one question about blobs.
pub const BLOB_REQUEST_BYTES_MAX: usize = 64;
/// Conversations about blobs that a node serves at once; further ones are told that it is busy. Each holds
/// [`BLOB_READ_GROUPS`] groups in memory.
pub const BLOB_UPLOADS_MAX: usize = 32;
/// Questions about blobs that may be sent ahead on one stream.
pub const BLOB_ASKS_MAX: usize = 16;
/// Groups that an upload reads and verifies at once.
pub const BLOB_READ_GROUPS: usize = 16;
/// A conversation about blobs in which nothing was asked for this long is ended.
pub const BLOB_IDLE: Duration = Duration::from_secs(60);
/// One frame about blobs must be taken, or come, within this; long enough for a blip of 8 s.
pub const BLOB_FRAME_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a node tries to say that it is busy.
pub const BLOB_BUSY_TIMEOUT: Duration = Duration::from_millis(200);
/// The share of the line that bulk has while tokens flow.
pub const BLOB_PACE_UNDER_TOKENS: f64 = 0.3;
/// What bulk may send at once after a pause: as long as timers are late.
pub const BLOB_PACE_BURST: Duration = Duration::from_millis(20);
/// A second in which bulk paused for so long does not say what a line carries.
pub const BLOB_PACE_PAUSE: Duration = Duration::from_millis(500);
/// Seconds of which the best says what a line carries.
pub const BLOB_PACE_SECONDS: usize = 10;
/// Bytes a second that a line is taken to carry before anything was measured: 100 Mbit.
pub const BLOB_PACE_ASSUMED: f64 = 12_500_000.0;
/// Groups in the range that one source is asked for at a time: 1 MiB.
pub const BLOB_PIECE_GROUPS: u64 = 64;
/// A source is asked so far ahead: more than a round trip, so that the line stays full.
pub const BLOB_AHEAD: Duration = Duration::from_millis(250);
/// Ranges that one source is asked for ahead.
pub const BLOB_ASKS_AHEAD_MAX: usize = 8;
/// A range is divided between two sources only while the smaller part has so many groups: less is over sooner than it is divided.
pub const BLOB_STEAL_GROUPS_MIN: u64 = 8;
/// The rate of a source is measured over this.
pub const BLOB_RATE_WINDOW: Duration = Duration::from_millis(250);
/// A source that was asked and sent nothing for this long loses its ranges to others.
pub const BLOB_STALLED_AFTER: Duration = Duration::from_secs(2);
/// After this long it is given up and connected again.
pub const BLOB_DEAD_AFTER: Duration = Duration::from_secs(10);
/// From the attempt to reach a source until it says what it holds.
pub const BLOB_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// First wait before a lost source is tried again.
pub const BLOB_RETRY_FIRST: Duration = Duration::from_millis(500);
/// Longest wait before a lost source is tried again.
pub const BLOB_RETRY_MAX: Duration = Duration::from_secs(8);
/// Wait before a busy source is tried again.
pub const BLOB_RETRY_BUSY: Duration = Duration::from_secs(2);
/// A source that has nothing to give is asked this often whether it has more by now.
pub const BLOB_QUERY_EVERY: Duration = Duration::from_secs(2);
/// A download in which nothing arrived for this long is given up; what came is kept.
pub const BLOB_PATIENCE: Duration = Duration::from_secs(30);
/// Nodes that one download asks.
pub const BLOB_SOURCES_MAX: usize = 16;
/// What sources report to a download's writer, and the writer to the download, before somebody waits: 1 MiB of groups.
pub const BLOB_REPORT_QUEUE: usize = 64;
/// How often a download looks at the clock and tells people how it goes on.
pub const BLOB_TICK: Duration = Duration::from_millis(100);
/// The rate that people see is that of this time.
pub const BLOB_PROGRESS_WINDOW: Duration = Duration::from_secs(3);
/// Streams for blobs that wait for one connection to be dialled; further ones go over the link.
pub const BULK_WAITERS_MAX: usize = 64;
/// The liveness core looks at the clock and passes news on this often: five such steps reach 1000 nodes.
pub const LIVENESS_TICK: Duration = Duration::from_millis(100);
/// Neighbours that are told news with each tick.
pub const LIVENESS_GOSSIP_PEERS: usize = 3;
/// How often one piece of news is told by each node, times the logarithm of the members: 27 times among 1000. With two instead of
/// three every tenth mesh of 100 has a node that misses one until the next.
pub const LIVENESS_TELLINGS: u32 = 3;
/// Pieces of news in one frame: 20 KiB at most.
pub const LIVENESS_RUMOURS_PER_FRAME: usize = 400;
/// Others are asked for a neighbour that was silent for so long: four heartbeats.
pub const LIVENESS_SILENT_AFTER: Duration = Duration::from_secs(1);
/// A silent neighbour is suspected when nobody vouches for it within this.
pub const LIVENESS_ASK_FOR: Duration = Duration::from_millis(500);
/// How many are asked with each tick.
pub const LIVENESS_ASK_PEERS: usize = 3;
/// So many that suspect a member on their own shorten its time.
pub const LIVENESS_CONFIRMATIONS: usize = 3;
/// A suspect that does not contradict within this is gone: a suspicion reaches it, and its word everybody, in less than two seconds.
pub const LIVENESS_GONE_AFTER: Duration = Duration::from_millis(2400);
/// The same when several suspect it.
pub const LIVENESS_GONE_AFTER_CONFIRMED: Duration = Duration::from_millis(1500);
/// A tick that comes so late shows that the node itself was asleep.
pub const LIVENESS_SLEPT_AFTER: Duration = Duration::from_millis(500);
/// A node under strain waits longer before it asks for others, by half as much again for each step, up to so many.
pub const LIVENESS_STRAIN_MAX: u32 = 2;
/// A step of strain is forgotten after this.
pub const LIVENESS_STRAIN_FOR: Duration = Duration::from_secs(10);
/// How often all members together say that they are there.
pub const PRESENCES_PER_SECOND: f64 = 2.0;
/// One member says it no more often than this.
pub const LIVENESS_PRESENCE_MIN: Duration = Duration::from_secs(3);
/// A node that hears no neighbour for so long knows of nobody whether it is there.
pub const LIVENESS_ISOLATED_AFTER: Duration = Duration::from_secs(5);
/// How often it is looked at whom nobody has told of.
pub const LIVENESS_UNHEARD_EVERY: Duration = Duration::from_secs(1);
/// Bytes of one frame of the liveness protocol: [`LIVENESS_RUMOURS_PER_FRAME`] of at most 44 bytes.
pub const LIVENESS_FRAME_BYTES_MAX: usize = 20 * 1024;
/// Frames of the liveness protocol that wait for one neighbour; one more is dropped and counted: news is told several times, and all of
/// it when the stream is opened anew. All that a full mesh knows takes 25.
pub const LIVENESS_QUEUE: usize = 64;
/// Frames of all neighbours that wait for the task which drives the core; the streams wait.
pub const LIVENESS_REPORT_QUEUE: usize = 256;
/// A neighbour that does not take a frame for so long loses its stream: what is later is of no use to anybody.
pub const LIVENESS_WRITE_TIMEOUT: Duration = Duration::from_secs(3);
/// A stream to a neighbour whose link stands is opened again after this.
pub const LIVENESS_STREAM_AGAIN: Duration = Duration::from_millis(500);
/// A neighbour of the release before, which knows nothing of such streams, is asked again after this.
pub const LIVENESS_STREAM_REFUSED: Duration = Duration::from_secs(120);
/// How long a node that stops tries to say so to its neighbours.
pub const LIVENESS_FAREWELL: Duration = Duration::from_millis(500);
/// After a panic in the task that drives the core it is started again after this.
pub const LIVENESS_RESTART: Duration = Duration::from_millis(200);
/// How far ahead of the clock an incarnation may be, in milliseconds: it begins as a time and is counted up seldom, so that one which
/// is further ahead was made up, perhaps to be so high that its member could not contradict.
pub const LIVENESS_AHEAD_MAX_MS: u64 = 365 * 24 * 3600 * 1000;
/// Links that a node tells of, those with the shortest round trips: enough for a full mesh of a thousand.
pub const LINKS_TOLD_MAX: usize = 1024;
/// Nodes whose links are known: as many as a mesh has members.
pub const LINK_STATES_MAX: usize = keys::limits::MEMBERS_MAX;
/// What a node last said of its links is forgotten after this: three times as long as it says nothing new.
pub const LINK_STATE_KEPT: Duration = Duration::from_secs(900);
/// A node whose links are what they were says so again after this.
pub const LINK_STATE_AGAIN: Duration = Duration::from_secs(300);
/// A node tells of links that are new or gone at most this often: what flaps costs every node.
pub const LINK_STATE_GAP: Duration = Duration::from_secs(1);
/// And of links that have become faster or slower by a quarter at most this often.
pub const LINK_STATE_DRIFT_GAP: Duration = Duration::from_secs(30);
/// All nodes together tell of their links that changed about so many times a second, however many there are: each node verifies each.
pub const LINK_STATES_PER_SECOND: f64 = 20.0;
/// So often a node that has been quiet tells of them at once, before it waits for its turn.
pub const LINK_STATE_AT_ONCE: f64 = 1.0;
/// What has come of the graph is handed to its readers at most this often: in a large mesh several states come at once.
pub const LINK_STATE_PUBLISH: Duration = Duration::from_millis(100);
/// How often a node looks at its own links.
pub const LINKS_LOOK: Duration = Duration::from_secs(1);
/// How often neighbours are told of what is new: several pieces of news share a frame.
pub const LINK_STATE_TICK: Duration = Duration::from_millis(250);
/// Bytes of one frame about links: the state of a node with the most links is 25 KiB.
pub const LINK_STATE_FRAME_BYTES_MAX: usize = 40 * 1024;
/// Bytes of states in one frame: with one more it still fits.
pub const LINK_STATE_FRAME_BYTES: usize = 8 * 1024;
/// Stamps in one frame.
pub const LINK_STATE_STAMPS_MAX: usize = 1024;
/// Room for so many stamps of the other side is kept between two looks.
pub const LINK_STATE_THEIRS_KEPT: usize = 64;
/// What was asked for and has not come in this time is asked of another neighbour.
pub const LINK_STATE_ASK_AGAIN: Duration = Duration::from_secs(3);
/// A stream about links that broke is opened again after this.
pub const LINK_STREAM_AGAIN: Duration = Duration::from_secs(2);
/// A neighbour that knows nothing of such streams is asked again after this: it may have been brought up to date.
pub const LINK_STREAM_REFUSED: Duration = Duration::from_secs(120);
/// States that wait for the task which owns the graph; the streams wait.
pub const LINK_STATE_QUEUE: usize = 256;
/// With fewer pairs whose routes are to be computed, starting threads takes longer than what they save.
pub const ROUTE_PAIRS_TO_SHARE: usize = 512;
/// Processors that share the routes of many pairs: the node has other things to do.
pub const ROUTE_PROCESSORS_MAX: usize = 8;
/// Messages that do not hold for which a neighbour is ignored: an honest one forwards none, unless it knows a rule that is newer here.
pub const GOSSIP_INVALID_MAX: u32 = 8;
/// Half of them are forgotten after this: a member that was brought up to date is heard again within the hour.
pub const GOSSIP_INVALID_HALVED_AFTER: Duration = Duration::from_secs(600);
