//! The second factor: time-based one-time passwords (RFC 6238) as every authenticator app computes them: HMAC-SHA1, six digits, half
//! a minute each.
//!
//! SHA-1 is what the apps agree on; its collisions do not matter inside an HMAC.

use data_encoding::BASE32_NOPAD;
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use crate::{
    Timestamp,
    identity::random_bytes,
    limits::{TOTP_SECRET_BYTES, TOTP_STEP_SECONDS, TOTP_STEPS_AROUND},
};

/// Bytes of one block of SHA-1.
const BLOCK: usize = 64;
/// Six digits.
const MODULUS: u32 = 1_000_000;

/// A fresh secret in base32, as it is typed into an app.
#[must_use]
pub fn new_secret() -> Zeroizing<String> {
    let bytes = Zeroizing::new(random_bytes::<TOTP_SECRET_BYTES>());
    Zeroizing::new(BASE32_NOPAD.encode(&*bytes))
}

/// The address that an app reads from a QR code. `account` is what it shows beside the code.
#[must_use]
pub fn address(secret: &str, account: &str) -> String {
    let account: String = account.bytes().map(escaped).collect();
    format!("otpauth://totp/Starling:{account}?secret={secret}&issuer=Starling")
}

fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

/// The time step of `now`.
#[must_use]
pub const fn step_at(now: Timestamp) -> u64 {
    now.0 / 1000 / TOTP_STEP_SECONDS
}

/// The code of a step; `None` when the secret is no base32.
#[must_use]
pub fn code(secret: &str, step: u64) -> Option<String> {
    let key = Zeroizing::new(BASE32_NOPAD.decode(secret.as_bytes()).ok()?);
    let mac = hmac(&key, &step.to_be_bytes());
    // RFC 4226, 5.3: the last four bits say where the number stands.
    let offset = usize::from(mac[19] & 0x0f);
    let bytes = [mac[offset], mac[offset + 1], mac[offset + 2], mac[offset + 3]];
    let number = u32::from_be_bytes(bytes) & 0x7fff_ffff;
    Some(format!("{:06}", number % MODULUS))
}

/// The step whose code this is, if it is one of now and was not used yet; each code opens only once.
#[must_use]
pub fn check(secret: &str, shown: &str, now: Timestamp, used: u64) -> Option<u64> {
    let shown: String = shown.chars().filter(|character| !character.is_whitespace()).collect();
    let present = step_at(now);
    let around = present.saturating_sub(TOTP_STEPS_AROUND)..=present.saturating_add(TOTP_STEPS_AROUND);
    let mut found = None;
    // All of them are compared, so that time tells nothing about which one fits.
    for step in around.filter(|step| *step > used) {
        if code(secret, step).is_some_and(|code| is_equal(code.as_bytes(), shown.as_bytes())) {
            found = Some(step);
        }
    }
    found
}

fn is_equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

/// RFC 2104.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 20] {
    let mut block = Zeroizing::new([0u8; BLOCK]);
    if key.len() > BLOCK {
        block[..20].copy_from_slice(&Sha1::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |with: u8| Zeroizing::new(block.map(|byte| byte ^ with));
    let inner = Sha1::new().chain_update(*pad(0x36)).chain_update(message).finalize();
    Sha1::new()
        .chain_update(*pad(0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B, SHA-1; the last six of its eight digits.
        let secret = BASE32_NOPAD.encode(b"12345678901234567890");
        for (seconds, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_234_567_890, "005924"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(
                code(&secret, step_at(Timestamp(seconds * 1000))).as_deref(),
                Some(expected)
            );
        }
        assert_eq!(code("not base32!", 1), None);
    }

    #[test]
    fn a_code_opens_once_and_only_around_its_time() {
        let secret = new_secret();
        let now = Timestamp(1_800_000_000_000);
        let shown = code(&secret, step_at(now)).unwrap();
        let step = check(&secret, &format!("{} {}", &shown[..3], &shown[3..]), now, 0).unwrap();
        assert_eq!(step, step_at(now));
        assert_eq!(check(&secret, &shown, now, step), None, "used up");
        assert_eq!(
            check(&secret, &shown, now.plus(30_000), 0),
            Some(step),
            "a clock that is late"
        );
        assert_eq!(check(&secret, &shown, now.plus(60_000), 0), None);
        assert_eq!(check(&secret, "", now, 0), None);
        assert_ne!(*secret, *new_secret());
        assert!(address("ABC", "Рита").ends_with("%D0%A0%D0%B8%D1%82%D0%B0?secret=ABC&issuer=Starling"));
    }
}
