//! Every limit of this crate, with its reason.

/// Bytes of one signed object, payload and signature: the 64 KiB that gossip carries in one message.
pub const SIGNED_BYTES_MAX: usize = 64 * 1024;
/// Characters of an invite: what one paste or one QR code (version 15, alphanumeric) carries comfortably.
pub const INVITE_CHARACTERS_MAX: usize = 400;
/// Addresses inside an invite: where they are long, fewer, so that it stays within [`INVITE_CHARACTERS_MAX`].
pub const INVITE_ADDRESSES_MAX: usize = 4;
/// Addresses of other members inside an invite, one for each of them.
pub const INVITE_OTHERS_MAX: usize = 3;
/// Members of one mesh; bounds the roster that a node holds in memory.
pub const MEMBERS_MAX: usize = 4096;
/// Bytes of a node's name, so that a table on a phone can show it.
pub const NODE_NAME_BYTES_MAX: usize = 64;
/// Bytes of a residency label: a country or a region is said in fewer, and it must fit into an invite.
pub const RESIDENCY_BYTES_MAX: usize = 16;
/// Bytes of the reason for a revocation: one line of a terminal.
pub const REASON_BYTES_MAX: usize = 200;
/// A certificate lives 30 days: a node that nobody renews is out of the mesh by itself within about a month.
pub const CERTIFICATE_MILLISECONDS: u64 = 30 * 24 * 3600 * 1000;
/// A certificate is renewed from a third of its life on, so that an operator may be away for three weeks.
pub const CERTIFICATE_RENEWAL_MILLISECONDS: u64 = CERTIFICATE_MILLISECONDS / 3;
/// After its end a certificate still counts for so long: a split or a holiday must not end a mesh.
pub const CERTIFICATE_GRACE_MILLISECONDS: u64 = 7 * 24 * 3600 * 1000;
/// Certificates that are kept of one node: it may have joined on both sides of a split, or joined again.
pub const CERTIFICATES_PER_NODE_MAX: usize = 4;
/// Decrees that a node keeps: for each member of a full mesh a renewal by two operators and a revocation, and as many again.
pub const DECREES_MAX: usize = 6 * MEMBERS_MAX;
/// Keys that came one after the other into the place of one: a key a month for a year. Each step has 170 bytes.
pub const SUCCESSION_STEPS_MAX: usize = 12;
/// Successions of one key that are held: one for each step, and for each half of a split in which it was rotated. Only whoever holds a
/// key can make more; then nodes may hold different evidence of what those heirs have signed, but never another heir that counts.
pub const SUCCESSIONS_KEPT: usize = 16;
/// Bytes of one certificate or decree: a certificate has about 800.
pub const EVIDENCE_BYTES_MAX: usize = 4 * 1024;
/// How far two honest clocks may differ when an expiry is judged.
pub const CLOCK_SKEW_MILLISECONDS: u64 = 10 * 60 * 1000;
/// An access token lives this long: what is stolen is soon worth nothing, and a page asks for another one six times an hour.
pub const ACCESS_TOKEN_MILLISECONDS: u64 = 10 * 60 * 1000;
/// How far two clocks may differ when the end of an access token is judged: little, so that ten minutes remain ten minutes.
pub const ACCESS_TOKEN_SKEW_MILLISECONDS: u64 = 30 * 1000;
/// A device that was not used for so long is signed out: two weeks of holidays.
pub const DEVICE_IDLE_MILLISECONDS: u64 = 14 * 24 * 3600 * 1000;
/// A link that confirms an address lives this long: a day, for letters that arrive late.
pub const CONFIRMATION_MILLISECONDS: u64 = 24 * 3600 * 1000;
/// A link to choose another password lives this long: it opens an account, and who asked for it sits before the letter-box.
pub const PASSWORD_RESET_MILLISECONDS: u64 = 3600 * 1000;
/// Bytes of a TOTP secret: the 160 bits of RFC 4226.
pub const TOTP_SECRET_BYTES: usize = 20;
/// Seconds for which one TOTP code is shown (RFC 6238).
pub const TOTP_STEP_SECONDS: u64 = 30;
/// How many steps before and after the present one are accepted: clocks of telephones differ by less.
pub const TOTP_STEPS_AROUND: u64 = 1;
/// A one-time link lives this long.
pub const ONE_TIME_LINK_MILLISECONDS: u64 = 24 * 3600 * 1000;
/// Characters of a token that are looked at; a longer one is refused before it is decoded.
pub const TOKEN_CHARACTERS_MAX: usize = 512;
/// Characters of a key for programs that are looked at: it has 120.
pub const API_KEY_CHARACTERS_MAX: usize = 128;
/// Shortest password, in characters (NIST SP 800-63B asks for 8).
pub const PASSWORD_CHARACTERS_MIN: usize = 8;
/// Longest password in bytes, so that hashing a hostile one costs no more than a usual one.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// argon2id memory in KiB with one pass: OWASP's first recommendation, 46 ms on the reference machine.
pub const ARGON2_MEMORY_KIB: u32 = 46 * 1024;
/// argon2id passes.
pub const ARGON2_PASSES: u32 = 1;
/// argon2id memory in KiB for an archive's passphrase: RFC 9106's second recommendation, because a stolen archive is guessed at
/// without anybody noticing.
pub const ARCHIVE_ARGON2_MEMORY_KIB: u32 = 64 * 1024;
/// argon2id passes for an archive's passphrase.
pub const ARCHIVE_ARGON2_PASSES: u32 = 3;
/// argon2id memory in KiB that an archive may ask for when it is read; a hostile one could otherwise ask for all there is.
pub const ARCHIVE_ARGON2_MEMORY_KIB_MAX: u32 = 256 * 1024;
/// argon2id passes that an archive may ask for when it is read.
pub const ARCHIVE_ARGON2_PASSES_MAX: u32 = 16;
/// Bytes of one encrypted chunk of an archive: what is in memory at a time.
pub const ARCHIVE_CHUNK_BYTES: usize = 64 * 1024;
/// Bytes of a file that holds a passphrase.
pub const PASSPHRASE_FILE_BYTES_MAX: usize = 4096;
/// Shortest passphrase of an archive, in characters: longer than a password, because guesses at a file are not counted.
pub const PASSPHRASE_CHARACTERS_MIN: usize = 12;
