//! Who may begin a handshake: decided from the address alone, before any cryptography is done for it.
//!
//! A handshake costs a server half a millisecond of CPU (measured), a packet that is ignored a few hundredths of that. So each network
//! prefix (/24 of IPv4, /48 of IPv6) has a token bucket of handshakes, and while many handshakes are under way an address must first
//! prove with a Retry that it can be reached: a spoofed one cannot. Pure: time is an argument.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use crate::limits::{
    HANDSHAKE_BURST, HANDSHAKE_PREFIXES_MAX, HANDSHAKES_PER_SECOND, HANDSHAKES_UNDER_WAY_MAX, RETRY_ABOVE,
};

/// What to do with the first packet of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admit {
    /// Go on with it.
    Handshake,
    /// Ask the sender to come again with a token that proves its address.
    Retry,
    /// Say nothing, as if nobody were here.
    Ignore,
}

/// The network that an address belongs to, as far as one operator usually has it: addresses within it cost nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Prefix {
    V4([u8; 3]),
    V6([u8; 6]),
}

impl Prefix {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => {
                let [first, second, third, _] = address.octets();
                Self::V4([first, second, third])
            }
            IpAddr::V6(address) => address
                .to_ipv4_mapped()
                .map_or_else(|| Self::V6(first_six(&address)), |mapped| Self::of(IpAddr::V4(mapped))),
        }
    }
}

fn first_six(address: &Ipv6Addr) -> [u8; 6] {
    let octets = address.octets();
    std::array::from_fn(|at| octets[at])
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    handshakes: f64,
    filled: Duration,
}

impl Bucket {
    const fn full(now: Duration) -> Self {
        Self {
            handshakes: HANDSHAKE_BURST,
            filled: now,
        }
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled).as_secs_f64();
        self.handshakes = (self.handshakes + passed * HANDSHAKES_PER_SECOND).min(HANDSHAKE_BURST);
        self.filled = self.filled.max(now);
    }

    fn take(&mut self, now: Duration) -> bool {
        self.refill(now);
        let has_room = self.handshakes >= 1.0;
        if has_room {
            self.handshakes -= 1.0;
        }
        has_room
    }
}

/// The buckets of a node. Times are measured from any one moment, the same for all calls.
#[derive(Debug, Default)]
pub(super) struct Admission {
    prefixes: HashMap<Prefix, Bucket>,
    /// Shared by all prefixes for which there is no room: a flood from everywhere at once.
    others: Option<Bucket>,
    /// Not before this are full buckets looked for again, so that a flood does not make each of its packets a search.
    next_search: Duration,
}

impl Admission {
    /// Judges the first packet of a handshake. `validated`: the sender has proven its address. `under_way`: handshakes that have begun and
    /// not ended.
    pub(super) fn judge(&mut self, address: IpAddr, validated: bool, under_way: usize, now: Duration) -> Admit {
        // Whoever is on this machine has other ways to load it, and all nodes of a trial on one machine share this prefix.
        if address.to_canonical().is_loopback() {
            return Admit::Handshake;
        }
        if under_way >= HANDSHAKES_UNDER_WAY_MAX {
            return Admit::Ignore;
        }
        // Before the bucket, because an address that is not proven must not empty another's.
        if under_way >= RETRY_ABOVE && !validated {
            return Admit::Retry;
        }
        if self.bucket(Prefix::of(address), now).take(now) {
            Admit::Handshake
        } else {
            Admit::Ignore
        }
    }

    fn bucket(&mut self, prefix: Prefix, now: Duration) -> &mut Bucket {
        if self.prefixes.len() >= HANDSHAKE_PREFIXES_MAX && !self.prefixes.contains_key(&prefix) {
            self.forget_full_buckets(now);
            if self.prefixes.len() >= HANDSHAKE_PREFIXES_MAX {
                return self.others.get_or_insert(Bucket::full(now));
            }
        }
        self.prefixes.entry(prefix).or_insert(Bucket::full(now))
    }

    /// A full bucket is as good as none.
    fn forget_full_buckets(&mut self, now: Duration) {
        if now < self.next_search {
            return;
        }
        self.next_search = now + Duration::from_secs(1);
        self.prefixes.retain(|_, bucket| {
            bucket.refill(now);
            bucket.handshakes < HANDSHAKE_BURST
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(7);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn admitted(admission: &mut Admission, from: &str, attempts: usize, now: Duration) -> usize {
        let judged = (0..attempts).map(|_| admission.judge(address(from), true, 0, now));
        judged.filter(|judged| *judged == Admit::Handshake).count()
    }

    #[test]
    fn a_flood_is_ignored_while_other_networks_come_in_and_the_flooder_may_come_again_later() {
        let mut admission = Admission::default();
        let burst = HANDSHAKE_BURST as usize;
        assert_eq!(admitted(&mut admission, "192.0.2.1", 10_000, NOW), burst);
        assert_eq!(
            admitted(&mut admission, "192.0.2.77", 10, NOW),
            0,
            "one network has one bucket"
        );
        assert_eq!(
            admitted(&mut admission, "::ffff:192.0.2.9", 10, NOW),
            0,
            "in either form"
        );
        assert_eq!(admitted(&mut admission, "192.0.3.1", 10, NOW), 10);
        assert_eq!(admitted(&mut admission, "2001:db8:1::1", 10_000, NOW), burst);
        assert_eq!(admitted(&mut admission, "2001:db8:1:ff::1", 10, NOW), 0);
        assert_eq!(admitted(&mut admission, "2001:db8:2::1", 10, NOW), 10);
        let later = NOW + Duration::from_secs(1);
        assert_eq!(
            admitted(&mut admission, "192.0.2.1", 10_000, later),
            HANDSHAKES_PER_SECOND as usize
        );
        assert_eq!(admitted(&mut admission, "127.0.0.1", 10_000, NOW), 10_000);
    }

    #[test]
    fn while_many_handshakes_are_under_way_addresses_must_be_proven() {
        let mut admission = Admission::default();
        let from = address("192.0.2.1");
        assert_eq!(admission.judge(from, false, RETRY_ABOVE - 1, NOW), Admit::Handshake);
        assert_eq!(admission.judge(from, false, RETRY_ABOVE, NOW), Admit::Retry);
        assert_eq!(admission.judge(from, true, RETRY_ABOVE, NOW), Admit::Handshake);
        assert_eq!(
            admission.judge(from, true, HANDSHAKES_UNDER_WAY_MAX, NOW),
            Admit::Ignore
        );
        // Spoofed packets have not emptied the bucket of the network they claim to come from.
        for _ in 0..1000 {
            admission.judge(address("198.51.100.1"), false, RETRY_ABOVE, NOW);
        }
        assert_eq!(
            admission.judge(address("198.51.100.1"), true, RETRY_ABOVE, NOW),
            Admit::Handshake
        );
    }

    #[test]
    fn a_flood_from_everywhere_takes_bounded_memory_and_shares_one_bucket() {
        let mut admission = Admission::default();
        let mut passed = 0;
        for network in 0..100_000_u32 {
            let [_, high, middle, low] = network.to_be_bytes();
            let from = IpAddr::from([20 + high, middle, low, 1]);
            passed += usize::from(admission.judge(from, true, 0, NOW) == Admit::Handshake);
        }
        assert_eq!(admission.prefixes.len(), HANDSHAKE_PREFIXES_MAX);
        assert_eq!(passed, HANDSHAKE_PREFIXES_MAX + HANDSHAKE_BURST as usize);
        // Once they are quiet, their places are free again.
        let later = NOW + Duration::from_secs(60);
        assert_eq!(admission.judge(address("192.0.2.1"), true, 0, later), Admit::Handshake);
        assert_eq!(admission.prefixes.len(), 1);
    }
}
