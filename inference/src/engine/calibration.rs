//! How a model runs best on this machine: which measurements to make and what follows from them, pure; and the file that keeps it.

use std::{fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::limits::SMALL_MODEL_BYTES;

/// First byte of the file.
const VERSION: u8 = 1;
/// Fewer threads are taken when more bring less than this: they cost the rest of the machine.
const WORTH_MORE_THREADS: f64 = 1.1;
/// Work by which settings are compared: what a chat needs, in tokens.
const REFERENCE: (f64, f64) = (230.0, 64.0);

/// How a model runs on this machine, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Threads.
    pub threads: u32,
    /// Whether all sequences share one store of keys and values.
    pub is_unified: bool,
    /// Prompt tokens per second.
    pub prefill: f64,
    /// Generated tokens per second of one sequence alone.
    pub decode: f64,
    /// Generated tokens per second of eight sequences together.
    pub decode_eight: f64,
}

impl Profile {
    /// Seconds that a usual question takes, alone and among eight: what is to be small.
    fn cost(&self) -> f64 {
        let (prompt, answer) = REFERENCE;
        2.0 * prompt / self.prefill + answer / self.decode + answer * 8.0 / self.decode_eight
    }
}

/// Numbers of threads worth trying, the fewest first.
#[must_use]
pub fn thread_choices(configured: Option<u32>, cores: u32, model_bytes: u64) -> Vec<u32> {
    if let Some(threads) = configured {
        return vec![threads.clamp(1, 256)];
    }
    // Threads of so small a model only wait for each other (measured).
    if model_bytes < SMALL_MODEL_BYTES {
        return vec![1];
    }
    let cores = cores.clamp(1, 256);
    let mut choices: Vec<u32> = std::iter::successors(Some(1_u32), |threads| threads.checked_mul(2))
        .take_while(|threads| *threads < cores)
        .collect();
    choices.push(cores);
    // Measuring takes time: the larger ones are the likelier.
    choices.split_off(choices.len().saturating_sub(3))
}

/// The best of what was measured.
#[must_use]
pub fn best(measured: &[Profile]) -> Option<Profile> {
    let sound = measured
        .iter()
        .filter(|profile| profile.cost().is_finite() && profile.cost() > 0.0);
    let mut sound: Vec<&Profile> = sound.collect();
    sound.sort_by_key(|profile| (profile.threads, !profile.is_unified));
    let mut best = *sound.first()?;
    for profile in sound {
        // Equally many threads cost nobody more: the quicker is taken at once.
        let worth = if profile.threads > best.threads {
            WORTH_MORE_THREADS
        } else {
            1.0
        };
        if profile.cost() * worth < best.cost() {
            best = profile;
        }
    }
    Some(*best)
}

/// The file in which a model's profile on this machine is kept.
#[derive(Clone, Debug)]
pub struct ProfileFile(PathBuf);

impl ProfileFile {
    /// In this directory, for a model and a machine as [`fingerprint`] tells them apart.
    #[must_use]
    pub fn new(directory: &std::path::Path, fingerprint: &str) -> Self {
        Self(directory.join(format!("profile-{fingerprint}.bin")))
    }

    /// What was kept; nothing when it is missing or unreadable, since it is only measured again then.
    #[must_use]
    pub fn read(&self) -> Option<Profile> {
        decode(&fs::read(&self.0).ok()?)
    }

    /// Keeps a profile.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, profile: &Profile) -> io::Result<()> {
        let partial = self.0.with_extension("partial");
        if let Some(directory) = self.0.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&partial, encode(profile)).and_then(|()| fs::rename(&partial, &self.0))
    }
}

/// The bytes that are kept.
#[must_use]
pub fn encode(profile: &Profile) -> Vec<u8> {
    // Writing into a growing vector cannot fail.
    postcard::to_extend(profile, vec![VERSION]).unwrap_or_default()
}

/// The profile in such bytes; `None` for a later version or nonsense.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Profile> {
    let (&VERSION, body) = bytes.split_first()? else {
        return None;
    };
    let profile: Profile = postcard::from_bytes(body).ok()?;
    let sound = (1..=256).contains(&profile.threads) && profile.cost().is_finite() && profile.cost() > 0.0;
    sound.then_some(profile)
}

/// Tells models and machines apart: by beginning, end and size of the file, by processor, cores, and what else is settled before.
#[must_use]
pub fn fingerprint(model: &[&[u8]], processor: &str, cores: u32, settings: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in model {
        hasher.update(part);
    }
    hasher.update(format!("|{processor}|{cores}|{settings}|{}", env!("CARGO_PKG_VERSION")).as_bytes());
    hasher.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn profile(threads: u32, is_unified: bool, speed: f64) -> Profile {
        Profile {
            threads,
            is_unified,
            prefill: speed * 3.0,
            decode: speed,
            decode_eight: speed * 1.4,
        }
    }

    #[test]
    fn more_threads_must_be_worth_it() {
        let best = |measured: &[Profile]| best(measured).map(|best| (best.threads, best.is_unified));
        assert_eq!(best(&[profile(2, true, 52.0), profile(1, true, 50.0)]), Some((1, true)));
        assert_eq!(best(&[profile(2, true, 90.0), profile(1, true, 50.0)]), Some((2, true)));
        assert_eq!(
            best(&[profile(1, true, 50.0), profile(1, false, 51.0)]),
            Some((1, false))
        );
        assert_eq!(best(&[profile(1, true, 0.0), profile(1, true, f64::NAN)]), None);
    }

    #[test]
    fn few_choices_are_tried() {
        assert_eq!(thread_choices(None, 2, 1 << 30), [1, 2]);
        assert_eq!(thread_choices(None, 12, 1 << 30), [4, 8, 12]);
        assert_eq!(thread_choices(None, 12, 1 << 20), [1]);
        assert_eq!(thread_choices(Some(5), 12, 1 << 20), [5]);
    }

    #[test]
    fn a_profile_is_kept_and_nonsense_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let file = ProfileFile::new(directory.path(), "x");
        assert_eq!(file.read(), None);
        let kept = profile(2, true, 30.0);
        file.write(&kept).unwrap();
        assert_eq!(file.read(), Some(kept));
        assert_eq!(decode(&[2, 0, 0]), None);
        assert_eq!(decode(&encode(&profile(0, true, 30.0))), None);
        assert_eq!(decode(&encode(&profile(1, true, f64::NAN))), None);
        assert_ne!(fingerprint(&[b"a"], "p", 2, ""), fingerprint(&[b"a"], "p", 4, ""));
    }
}
