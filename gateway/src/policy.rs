//! What administrators have set, as it holds on this node now.
//!
//! The settings of the mesh replicate; [`Policies::follow`] reads them anew whenever one changes and publishes the whole.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use crdt::{
    Change, Store, StoreError,
    records::{
        RecordKind,
        settings::{Setting, Settings, SettingsEdit, canonical, effective},
    },
};
use keys::{ContentId, Timestamp};
use tokio::sync::{
    broadcast::{Receiver, error::RecvError},
    watch,
};

use crate::limits::{COMPLAINT_DAYS, REQUEST_BURST_SECONDS, REQUESTS_PER_SECOND_ACCOUNT, REQUESTS_PER_SECOND_ADDRESS};

/// Where people reach the service, for links in letters: never taken from a request, which could name another place.
pub(crate) const SITE: &str = "site.address";
/// Whether strangers may ask for an account.
pub(crate) const REGISTRATION: &str = "site.registration";
/// Requests of one address each second in the long run.
pub(crate) const ADDRESS_RATE: &str = "limits.requests_per_second_address";
/// Requests of one person each second in the long run.
pub(crate) const ACCOUNT_RATE: &str = "limits.requests_per_second_account";
/// Days after which what a decided complaint copied is erased.
pub(crate) const COMPLAINT_TEXT_DAYS: &str = "complaints.text_days";
/// Before an address in the name of a ban.
const BAN: &str = "ban.";

/// A kind of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Flag,
    /// Between these.
    Number(u64, u64),
}

/// Every setting of the page, with what it may be.
pub(crate) const KNOWN: &[(&str, Kind)] = &[
    (SITE, Kind::Text),
    (REGISTRATION, Kind::Flag),
    (ADDRESS_RATE, Kind::Number(1, 100_000)),
    (ACCOUNT_RATE, Kind::Number(1, 100_000)),
    (COMPLAINT_TEXT_DAYS, Kind::Number(1, 3650)),
    (monitor::mail::HOST, Kind::Text),
    (monitor::mail::PORT, Kind::Number(1, 65_535)),
    (monitor::mail::SECURITY, Kind::Text),
    (monitor::mail::USER, Kind::Text),
    (monitor::mail::FROM, Kind::Text),
];

/// Why an address is refused, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ban {
    pub(crate) until: Timestamp,
    pub(crate) reason: String,
}

/// What holds now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Policy {
    pub(crate) values: BTreeMap<String, Setting>,
    pub(crate) bans: BTreeMap<IpAddr, Ban>,
}

impl Policy {
    fn of(documents: &BTreeMap<ContentId, Settings>) -> Self {
        let (mut values, mut bans) = (BTreeMap::new(), BTreeMap::new());
        for (name, value) in effective(documents) {
            if let Some(ban) = name.strip_prefix(BAN) {
                if let (Some(address), Setting::Text(text)) = (ban_address(ban), value)
                    && let Some((until, reason)) = text.split_once(' ')
                    && let Ok(until) = until.parse()
                {
                    let reason = reason.to_owned();
                    bans.insert(
                        address,
                        Ban {
                            until: Timestamp(until),
                            reason,
                        },
                    );
                }
            } else {
                values.insert(name.to_owned(), value.clone());
            }
        }
        Self { values, bans }
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self.values.get(name) {
            Some(Setting::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        match self.values.get(name) {
            Some(Setting::Number(number)) => *number,
            _ => default,
        }
    }

    /// Where people reach the service, if letters can be sent at all.
    pub(crate) fn site_for_letters(&self) -> Option<&str> {
        self.text(monitor::mail::HOST)?;
        self.text(monitor::mail::FROM)?;
        self.text(SITE)
    }

    pub(crate) fn registration_is_open(&self) -> bool {
        self.values.get(REGISTRATION) != Some(&Setting::Flag(false))
    }

    /// Burst and long run of one address.
    pub(crate) fn address_rate(&self) -> (f64, f64) {
        rate(self.number(ADDRESS_RATE, REQUESTS_PER_SECOND_ADDRESS))
    }

    /// Burst and long run of one person.
    pub(crate) fn account_rate(&self) -> (f64, f64) {
        rate(self.number(ACCOUNT_RATE, REQUESTS_PER_SECOND_ACCOUNT))
    }

    /// Days for which what a complaint copied is kept after it was decided.
    pub(crate) fn complaint_days(&self) -> u64 {
        self.number(COMPLAINT_TEXT_DAYS, COMPLAINT_DAYS)
    }

    pub(crate) fn is_banned(&self, address: IpAddr, now: Timestamp) -> bool {
        !self.bans.is_empty() && self.bans.get(&range(address)).is_some_and(|ban| now < ban.until)
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most a hundred thousand")]
fn rate(per_second: u64) -> (f64, f64) {
    let per_second = per_second as f64;
    (per_second * REQUEST_BURST_SECONDS, per_second)
}

/// What is refused together: an IPv4 address, or the 64 bits that one IPv6 line has for itself.
pub(crate) fn range(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

/// The name of a ban: names have no colons.
pub(crate) fn ban_name(address: IpAddr) -> String {
    format!("{BAN}{}", range(address).to_string().replace(':', "_"))
}

fn ban_address(name: &str) -> Option<IpAddr> {
    name.replace('_', ":").parse().ok()
}

/// The settings of the mesh: read by everyone, written by administrators.
pub(crate) struct Policies {
    store: Store,
    current: watch::Sender<Arc<Policy>>,
}

impl Policies {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            current: watch::Sender::default(),
        }
    }

    pub(crate) fn current(&self) -> Arc<Policy> {
        self.current.borrow().clone()
    }

    async fn documents(&self) -> Result<BTreeMap<ContentId, Settings>, StoreError> {
        Ok(self.store.list::<Settings>().await?.into_iter().collect())
    }

    /// What is set, read anew, and published.
    pub(crate) async fn read(&self) -> Result<Arc<Policy>, StoreError> {
        self.look().await?;
        Ok(self.current())
    }

    async fn look(&self) -> Result<(), StoreError> {
        let policy = Policy::of(&self.documents().await?);
        self.current.send_replace(Arc::new(policy));
        Ok(())
    }

    /// Publishes what is set, for as long as the store lives.
    pub(crate) async fn follow(self: Arc<Self>, mut changes: Receiver<Change>) {
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "the settings cannot be read; those of before hold");
            }
            loop {
                match changes.recv().await {
                    Ok(change) if change.kind == RecordKind::Settings => break,
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return,
                }
            }
        }
    }

    /// Sets a value, or takes it back; it holds here when this returns.
    pub(crate) async fn set(&self, name: &str, value: Option<Setting>) -> Result<(), StoreError> {
        let documents = self.documents().await?;
        let document = match canonical(&documents) {
            Some(document) => document,
            None => self.store.create(Settings::default()).await?,
        };
        match value {
            Some(value) => {
                self.store
                    .edit(document, SettingsEdit::Set(name.to_owned(), value))
                    .await?
            }
            None => {
                // A split may have left the value in more than one document.
                let holders = documents
                    .iter()
                    .filter(|(_, settings)| settings.values.contains_key(name));
                for (holder, _) in holders {
                    self.store.edit(*holder, SettingsEdit::Reset(name.to_owned())).await?;
                }
            }
        }
        self.look().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_reaches_a_whole_line_and_ends() {
        let v6: IpAddr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        let neighbour: IpAddr = "2001:db8:1:2:ffff::1".parse().unwrap();
        let mut settings = Settings::default();
        let text = Setting::Text("1000 a flood of requests".into());
        settings.values.insert(ban_name(v6), text.clone());
        settings
            .values
            .insert(ban_name("::ffff:192.0.2.1".parse().unwrap()), text);
        settings.values.insert("ban.nonsense".into(), Setting::Flag(true));
        crdt::records::Record::validate(&settings).unwrap();
        let policy = Policy::of(&BTreeMap::from([(ContentId([1; 32]), settings)]));
        for address in [v6, neighbour, "192.0.2.1".parse().unwrap()] {
            assert!(policy.is_banned(address, Timestamp(999)));
            assert!(!policy.is_banned(address, Timestamp(1000)), "over");
        }
        assert!(!policy.is_banned("2001:db8:1:3::1".parse().unwrap(), Timestamp(1)));
        assert_eq!(policy.bans.len(), 2);
        assert!(policy.values.is_empty());
    }
}
