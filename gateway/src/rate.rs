//! Token buckets: so many in a burst, so many in the long run. What is spent at one gateway counts at the others, too ([`told`]).

pub(crate) mod told;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crdt::records::EntryId;
use keys::ContentId;

use self::told::{Debit, Spent};
use crate::limits::{HEAVY_FILLS, RATE_ADDRESSES_MAX};

/// What names are hashed under.
const NAME_CONTEXT: &str = "starling rate limit name 1";

/// One bucket; pure in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// Below zero when others spent it; never further than a whole burst, which is a bounded wait.
    tokens: f64,
    burst: f64,
    per_second: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) const fn new(burst: f64, per_second: f64, now: Instant) -> Self {
        Self {
            tokens: burst,
            burst,
            per_second,
            at: now,
        }
    }

    fn refill(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + earned).min(self.burst);
        self.at = now;
    }

    /// Takes one; otherwise says how long until there is one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.tokens) / self.per_second))
    }

    /// Takes out what another gateway gave.
    fn debit(&mut self, debit: Debit, now: Instant) {
        self.refill(now);
        let left = match debit {
            Debit::More(spent) => self.tokens - spent,
            Debit::Missing(missing) => self.tokens.min(self.burst - missing),
        };
        self.tokens = left.max(-self.burst);
    }
}

/// Whose bucket it is, under a hash: so it can be told to other gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub(crate) struct Name([u8; 16]);

/// What has a bucket of its own.
pub(crate) trait Limited {
    /// What tells it from others of its kind.
    fn identity(&self) -> [u8; 32];
}

impl Limited for IpAddr {
    fn identity(&self) -> [u8; 32] {
        let mapped = match self {
            Self::V4(address) => address.to_ipv6_mapped(),
            Self::V6(address) => *address,
        };
        padded(mapped.octets())
    }
}

impl Limited for ContentId {
    fn identity(&self) -> [u8; 32] {
        self.0
    }
}

impl Limited for EntryId {
    fn identity(&self) -> [u8; 32] {
        padded(*self.bytes())
    }
}

fn padded(bytes: [u8; 16]) -> [u8; 32] {
    let mut padded = [0; 32];
    padded[..16].copy_from_slice(&bytes);
    padded
}

/// A bucket, and what was given out of it here.
#[derive(Clone, Copy, Debug)]
struct Account {
    bucket: Bucket,
    /// Since it was made.
    spent: u64,
    /// Of late: each counts less the longer ago it was.
    recent: f64,
}

impl Account {
    const fn new(burst: f64, per_second: f64, now: Instant) -> Self {
        Self {
            bucket: Bucket::new(burst, per_second, now),
            spent: 0,
            recent: 0.0,
        }
    }

    /// Brings it to this moment, with the limit that holds now.
    fn look(&mut self, burst: f64, per_second: f64, now: Instant) {
        let elapsed = now.saturating_duration_since(self.bucket.at).as_secs_f64();
        self.recent *= (-elapsed * per_second / (HEAVY_FILLS * burst)).exp();
        self.bucket.refill(now);
        (self.bucket.burst, self.bucket.per_second) = (burst, per_second);
    }
}

/// Which limit it is, as it is told to other gateways: a number says the same for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    SignIn = 0,
    Address = 1,
    Account = 2,
    Key = 3,
    Complaint = 4,
}

/// A bucket for each address, or for each person.
pub(crate) struct RateLimit {
    kind: Kind,
    key: [u8; 32],
    // A plain lock: held for a few instructions, or for one pass over the table, never across an await.
    accounts: Mutex<HashMap<Name, Account>>,
}

impl RateLimit {
    /// None has spent anything. Names are hashed under what the members of a mesh know.
    pub(crate) fn new(kind: Kind, mesh: ContentId) -> Self {
        Self {
            kind,
            key: blake3::derive_key(NAME_CONTEXT, &mesh.0),
            accounts: Mutex::default(),
        }
    }

    fn name(&self, of: &impl Limited) -> Name {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&[self.kind as u8]).update(&of.identity());
        let mut name = [0; 16];
        name.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Name(name)
    }

    /// Takes one; the limit may be another one than a moment ago.
    pub(crate) fn take(&self, of: &impl Limited, burst: f64, per_second: f64, now: Instant) -> Result<(), Duration> {
        let name = self.name(of);
        let mut accounts = self.lock();
        let account = find(&mut accounts, name, burst, per_second, now);
        account.bucket.take(now)?;
        account.spent += 1;
        account.recent += 1.0;
        Ok(())
    }

    /// Takes out what another gateway gave.
    fn debit(&self, name: Name, debit: Debit, burst: f64, per_second: f64, now: Instant) {
        let mut accounts = self.lock();
        find(&mut accounts, name, burst, per_second, now)
            .bucket
            .debit(debit, now);
    }

    /// Who took more than half of a bucket of late, with the share.
    fn heavy(&self, burst: f64, per_second: f64, now: Instant) -> Vec<(f64, Spent)> {
        let mut heavy = Vec::new();
        for (name, account) in self.lock().iter_mut() {
            // What was not enough then is not enough now: most are passed over with one comparison.
            if account.recent <= burst / 2.0 {
                continue;
            }
            account.look(burst, per_second, now);
            if account.recent > burst / 2.0 {
                let spent = Spent {
                    limit: self.kind as u8,
                    name: *name,
                    spent: account.spent,
                    missing: (burst - account.bucket.tokens) as u32,
                };
                heavy.push((account.recent / burst, spent));
            }
        }
        heavy
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The account as it is now; a new one when there is none, and room for it.
fn find(accounts: &mut HashMap<Name, Account>, name: Name, burst: f64, per_second: f64, now: Instant) -> &mut Account {
    if accounts.len() >= RATE_ADDRESSES_MAX && !accounts.contains_key(&name) {
        // Full buckets hold no memory of anything: forget them, and if too few were, the fuller half of the rest.
        accounts.retain(|_, account| {
            account.look(burst, per_second, now);
            account.bucket.tokens < account.bucket.burst
        });
        if accounts.len() > RATE_ADDRESSES_MAX / 2 {
            let mut tokens: Vec<f64> = accounts.values().map(|account| account.bucket.tokens).collect();
            let middle = tokens.len() / 2;
            let (_, median, _) = tokens.select_nth_unstable_by(middle, f64::total_cmp);
            let median = *median;
            accounts.retain(|_, account| account.bucket.tokens < median);
        }
    }
    let account = accounts
        .entry(name)
        .or_insert_with(|| Account::new(burst, per_second, now));
    account.look(burst, per_second, now);
    account
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{SIGN_IN_BURST, SIGN_IN_PER_SECOND};

    const MESH: ContentId = ContentId([7; 32]);

    #[test]
    fn a_burst_is_allowed_and_then_the_long_run_rate() {
        let (limit, start) = (RateLimit::new(Kind::SignIn, MESH), Instant::now());
        let take = |address: IpAddr, now| limit.take(&address, SIGN_IN_BURST, SIGN_IN_PER_SECOND, now);
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..10 {
            assert_eq!(take(one, start), Ok(()));
        }
        let wait = take(one, start).unwrap_err();
        assert_eq!(wait, Duration::from_secs(2));
        assert_eq!(take(other, start), Ok(()), "another address is not affected");
        assert_eq!(take(one, start + wait), Ok(()));
        assert!(take(one, start + wait).is_err());
        // An administrator allows more.
        assert_eq!(
            limit.take(&one, 100.0, 10.0, start + wait + Duration::from_secs(2)),
            Ok(())
        );
    }

    #[test]
    fn the_table_is_bounded() {
        let (limit, start) = (RateLimit::new(Kind::Address, MESH), Instant::now());
        for number in 0..RATE_ADDRESSES_MAX as u32 + 100 {
            let _ = limit.take(&IpAddr::from(number.to_be_bytes()), 10.0, 0.5, start);
        }
        assert!(limit.lock().len() <= RATE_ADDRESSES_MAX);
    }

    #[test]
    fn a_name_tells_nothing_without_the_mesh_and_is_of_one_limit() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let name = |kind, mesh| RateLimit::new(kind, mesh).name(&address);
        let here = name(Kind::Address, MESH);
        assert_eq!(
            here,
            name(Kind::Address, MESH),
            "the control: every gateway of a mesh says the same"
        );
        assert_ne!(here, name(Kind::SignIn, MESH));
        assert_ne!(here, name(Kind::Address, ContentId([8; 32])));
    }
}
