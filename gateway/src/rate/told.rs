//! Gateways tell each other what heavy users have spent, and each takes that out of its own buckets: so whoever goes round all
//! gateways gets little more than at one of them, while no request waits for another node.
//!
//! Each second a gateway announces over its direct links who took more than half of a bucket of late, the heaviest first, under
//! hashes: no address and no name leaves it. Whoever takes less than a fifth of a limit at each gateway is never told of.
//!
//! What is told is how much was given *altogether*, so that an announcement may be lost or read twice: the difference to the last one
//! counts. Of somebody who was not told of before, the last is not known; then a bucket is at least as empty here as it is there.

use std::{collections::HashMap, sync::Weak, time::Instant};

use keys::NodeId;
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};

use super::{Name, RateLimit};
use crate::{
    app::App,
    limits::{SPENDING_BYTES_MAX, SPENDING_TOLD_EVERY, SPENDING_TOLD_MAX},
};

/// First byte of what is told.
const VERSION: u8 = 1;

/// What somebody has spent at a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spent {
    /// The number of the limit; those of a later release are passed over.
    pub(super) limit: u8,
    /// Who.
    pub(super) name: Name,
    /// How much was given there altogether.
    pub(super) spent: u64,
    /// How much of a whole bucket is missing there now.
    pub(super) missing: u32,
}

/// What is to be taken out of a bucket because of another gateway.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Debit {
    /// So much was given there since it was last told of.
    More(f64),
    /// So much is missing there; what is missing here may be the same.
    Missing(f64),
}

/// What others told last.
#[derive(Default)]
struct Heard(HashMap<(NodeId, u8, Name), u64>);

impl Heard {
    /// Takes in what is told now, and says what that takes out. Who is not told of any more is forgotten.
    fn take(&mut self, told: &[(NodeId, Vec<Spent>)]) -> Vec<(u8, Name, Debit)> {
        let mut now = HashMap::new();
        let mut debits = Vec::new();
        for (node, entries) in told {
            for entry in entries {
                let whose = (*node, entry.limit, entry.name);
                let more = self.0.get(&whose).and_then(|last| entry.spent.checked_sub(*last));
                let debit = match more {
                    Some(0) => None,
                    Some(more) => Some(Debit::More(more as f64)),
                    // It is new, or began anew.
                    None => Some(Debit::Missing(f64::from(entry.missing))),
                };
                debits.extend(debit.map(|debit| (entry.limit, entry.name, debit)));
                now.insert(whose, entry.spent);
            }
        }
        self.0 = now;
        debits
    }
}

/// A limit as it holds now.
pub(crate) struct Holding<'a> {
    pub(crate) limit: &'a RateLimit,
    pub(crate) burst: f64,
    pub(crate) per_second: f64,
}

fn encode(spent: &[Spent]) -> Vec<u8> {
    // Writing into a growing vector cannot fail.
    postcard::to_extend(spent, vec![VERSION]).unwrap_or_default()
}

/// Reads what another gateway told; nothing when it is malformed, too much, or of another version.
fn parse(told: &[u8]) -> Vec<Spent> {
    let read = || {
        let (&VERSION, body) = told.split_first().filter(|_| told.len() <= SPENDING_BYTES_MAX)? else {
            return None;
        };
        let (spent, rest): (Vec<Spent>, _) = postcard::take_from_bytes(body).ok()?;
        (rest.is_empty() && spent.len() <= SPENDING_TOLD_MAX).then_some(spent)
    };
    read().unwrap_or_default()
}

/// Takes out what others told, and says what is to be told to them.
fn exchange(limits: &[Holding<'_>], heard: &mut Heard, told: &[(NodeId, Vec<Spent>)], now: Instant) -> Vec<Spent> {
    for (kind, name, debit) in heard.take(told) {
        if let Some(holding) = limits.iter().find(|holding| holding.limit.kind as u8 == kind) {
            let (burst, per_second) = (holding.burst, holding.per_second);
            holding.limit.debit(name, debit, burst, per_second, now);
        }
    }
    let heavy = limits
        .iter()
        .flat_map(|holding| holding.limit.heavy(holding.burst, holding.per_second, now));
    let mut heavy: Vec<(f64, Spent)> = heavy.collect();
    heavy.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    heavy.truncate(SPENDING_TOLD_MAX);
    heavy.into_iter().map(|(_, spent)| spent).collect()
}

/// Tells and hears, until the gateway ends.
pub(crate) async fn follow(app: Weak<App>) {
    let mut heard = Heard::default();
    let mut ticks = interval(SPENDING_TOLD_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(app) = app.upgrade() else { return };
        let told = app.surroundings.told_spending().into_iter();
        let told: Vec<(NodeId, Vec<Spent>)> = told.map(|(node, bytes)| (node, parse(&bytes))).collect();
        let spent = exchange(&app.rate_limits(), &mut heard, &told, Instant::now());
        app.surroundings.tell_spending(encode(&spent));
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, time::Duration};

    use keys::ContentId;

    use super::*;
    use crate::rate::Kind;

    /// Kept for ever: what a gateway of this release tells must be understood by every later one that still reads version 1.
    const GOLDEN: &[u8] = include_bytes!("../../../tests/formats/spending-1.bin");
    const BURST: f64 = 40.0;
    const PER_SECOND: f64 = 10.0;

    struct Gateway {
        node: NodeId,
        limit: RateLimit,
        heard: Heard,
        says: Vec<u8>,
    }

    fn gateways(count: u8) -> Vec<Gateway> {
        let gateway = |number| Gateway {
            node: NodeId([number; 32]),
            limit: RateLimit::new(Kind::Account, ContentId([7; 32])),
            heard: Heard::default(),
            says: encode(&[]),
        };
        (0..count).map(gateway).collect()
    }

    /// Each tells all others, as bytes.
    fn tell(gateways: &mut [Gateway], now: Instant) {
        let said: Vec<(NodeId, Vec<Spent>)> = gateways.iter().map(|one| (one.node, parse(&one.says))).collect();
        for gateway in gateways {
            let told: Vec<_> = said.iter().filter(|(node, _)| *node != gateway.node).cloned().collect();
            let limits = [Holding {
                limit: &gateway.limit,
                burst: BURST,
                per_second: PER_SECOND,
            }];
            gateway.says = encode(&exchange(&limits, &mut gateway.heard, &told, now));
        }
    }

    /// So many were given in a minute to somebody who asks each gateway so often a second.
    fn given(gateways: &mut [Gateway], who: ContentId, per_second: u32, is_told: bool) -> usize {
        let start = Instant::now();
        let mut given = 0;
        for tick in 0..60 * per_second {
            let now = start + Duration::from_secs(1) * tick / per_second;
            for gateway in gateways.iter() {
                given += usize::from(gateway.limit.take(&who, BURST, PER_SECOND, now).is_ok());
            }
            if is_told && tick % per_second == 0 {
                tell(gateways, now);
            }
        }
        given
    }

    // Red when: whoever goes round gets the limit of each gateway, or is shut out of all because what was spent counts twice.
    #[test]
    fn whoever_goes_round_all_gateways_gets_little_more_than_at_one() {
        let who = ContentId([1; 32]);
        let long_run = (60.0 * PER_SECOND) as usize;
        let alone = given(&mut gateways(3), who, 30, false);
        assert!(alone > 3 * long_run, "the control: {alone}");
        let told = given(&mut gateways(3), who, 30, true);
        // Before they hear of each other, each gives its burst and two seconds' worth.
        assert!(told > long_run && told < long_run * 3 / 2, "{told}");
    }

    // Red when: who asks moderately, or somebody else, is refused because of what others are told.
    #[test]
    fn nobody_else_and_nobody_within_the_limit_is_refused() {
        let mut gateways = gateways(3);
        // Three times a second at each of three.
        assert_eq!(given(&mut gateways, ContentId([1; 32]), 3, true), 3 * 3 * 60);
        given(&mut gateways, ContentId([2; 32]), 30, true);
        let other = ContentId([3; 32]);
        assert_eq!(
            gateways[0].limit.take(&other, BURST, PER_SECOND, Instant::now()),
            Ok(())
        );
    }

    // Red when: an announcement that is read twice counts twice, or one that was missed counts never.
    #[test]
    fn what_is_told_counts_once_however_often_it_is_heard() {
        let (node, name) = (NodeId([1; 32]), Name([2; 16]));
        let told = |spent, missing| {
            let entry = Spent {
                limit: 2,
                name,
                spent,
                missing,
            };
            [(node, vec![entry])]
        };
        let mut heard = Heard::default();
        assert_eq!(heard.take(&told(100, 30)), [(2, name, Debit::Missing(30.0))]);
        assert!(heard.take(&told(100, 20)).is_empty());
        assert_eq!(heard.take(&told(160, 40)), [(2, name, Debit::More(60.0))]);
        assert_eq!(
            heard.take(&told(5, 5)),
            [(2, name, Debit::Missing(5.0))],
            "it began anew"
        );
        assert!(
            heard.take(&[]).is_empty() && heard.0.is_empty(),
            "who is not told of is forgotten"
        );
    }

    #[test]
    fn only_the_heaviest_are_told_of_and_what_is_told_is_bounded() {
        let (mut gateways, now) = (gateways(1), Instant::now());
        let take = |number: u32, times| {
            for _ in 0..times {
                let address = IpAddr::from(number.to_be_bytes());
                let _ = gateways[0].limit.take(&address, BURST, PER_SECOND, now);
            }
        };
        for number in 0..200 {
            take(number, if number < 100 { 21 } else { 20 });
        }
        take(7, 19);
        tell(&mut gateways, now);
        let told = parse(&gateways[0].says);
        assert_eq!((told.len(), told[0].spent), (SPENDING_TOLD_MAX, 40));
        assert!(
            told.iter().all(|spent| spent.spent > 20),
            "half a bucket is not heavy yet"
        );
        assert!(gateways[0].says.len() <= SPENDING_BYTES_MAX);
        // Forgotten after a while.
        tell(&mut gateways, now + Duration::from_secs(60));
        assert!(parse(&gateways[0].says).is_empty());
    }

    #[test]
    fn what_is_told_keeps_its_bytes_and_nothing_else_is_read() {
        let spent = |limit, byte, spent| Spent {
            limit,
            name: Name([byte; 16]),
            spent,
            missing: 150,
        };
        let told = [spent(1, 0xAA, 400), spent(2, 0xBB, u64::from(u32::MAX) + 1)];
        assert_eq!(encode(&told), GOLDEN);
        assert_eq!(parse(GOLDEN), told);
        let most = vec![spent(255, 0xFF, u64::MAX); SPENDING_TOLD_MAX];
        assert!(encode(&most).len() <= SPENDING_BYTES_MAX);
        let more = vec![spent(1, 1, 1); SPENDING_TOLD_MAX + 1];
        for wrong in [
            &[] as &[u8],
            &[2],
            &[&[2][..], &GOLDEN[1..]].concat(),
            &GOLDEN[..GOLDEN.len() - 1],
            &[GOLDEN, &[0]].concat(),
            &encode(&more),
            &vec![1; SPENDING_BYTES_MAX + 1],
        ] {
            assert!(parse(wrong).is_empty(), "{wrong:?}");
        }
    }
}
