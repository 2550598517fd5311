//! `starling invite`: one line of text that brings in one more node.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::Path,
    str::FromStr,
};

use clap::Args;
use keys::{
    NodeKey, Timestamp,
    identity::random_bytes,
    invite::Invite,
    membership::{Powers, Residency, Roles, Roster},
};

use super::CommandError;
use crate::{
    config::{self, Config},
    control,
    data_directory::{DataDirectory, DataDirectoryError},
    hints::launcher,
};

/// What an invite allows.
#[derive(Args)]
pub struct Terms {
    /// How many nodes may join with it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub uses: u32,
    /// When it ends: a number of minutes, hours or days, such as `30m`, `2h` or `7d`.
    #[arg(long, default_value = "1h", value_name = "TIME", allow_hyphen_values = true)]
    pub expires: Lifetime,
    /// What nodes that join with it may do: `gateway`, `worker`, `relay`, `storage`, `operator`, separated by commas. A usual node
    /// is all of these but an operator; a worker alone answers questions and is given nobody's chats to read.
    #[arg(long = "role", default_value_t = Roles::NODE, value_name = "ROLES")]
    pub roles: Roles,
    /// Where nodes that join with it stand, for example `ru`: personal data can be kept on nodes of one residency.
    #[arg(long, value_name = "LABEL")]
    pub residency: Option<Residency>,
}

impl Default for Terms {
    /// One usual node, within an hour: the same as the command line's defaults.
    fn default() -> Self {
        Self {
            uses: 1,
            expires: Lifetime(60),
            roles: Roles::NODE,
            residency: None,
        }
    }
}

/// How long an invite is good, in minutes; a year at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime(u64);

/// Why a text is not a lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LifetimeError {
    /// Not a number with a unit.
    #[error("a time is a number with a unit, such as 30m, 2h or 7d")]
    Form,
    /// Zero, or more than a year.
    #[error("an invite is good for a minute at least and {LIFETIME_DAYS_MAX} days at most")]
    Range,
}

/// Whoever needs a longer one makes another: a lost invite should not be good for ever.
const LIFETIME_DAYS_MAX: u64 = 365;

impl FromStr for Lifetime {
    type Err = LifetimeError;

    fn from_str(text: &str) -> Result<Self, LifetimeError> {
        let units = [('m', 1), ('h', 60), ('d', 24 * 60)];
        let split = units
            .iter()
            .find_map(|(unit, minutes)| Some((text.strip_suffix(*unit)?, minutes)));
        let (number, minutes) = split.ok_or(LifetimeError::Form)?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number {
            return Err(LifetimeError::Form);
        }
        // Digits that do not fit are a number that is too large.
        let number: u64 = number.parse().map_err(|_| LifetimeError::Range)?;
        match number.checked_mul(*minutes) {
            Some(minutes @ 1..) if minutes <= LIFETIME_DAYS_MAX * 24 * 60 => Ok(Self(minutes)),
            _ => Err(LifetimeError::Range),
        }
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            minutes if minutes % (24 * 60) == 0 => write!(formatter, "{} day(s)", minutes / (24 * 60)),
            minutes if minutes % 60 == 0 => write!(formatter, "{} hour(s)", minutes / 60),
            minutes => write!(formatter, "{minutes} minute(s)"),
        }
    }
}

/// Why there is no invite.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// Another node has the right.
    #[error(
        "this node may not invite: it has no root key and is no operator; ask an operator, or have the root make it one with \"starling operator\""
    )]
    NoRight,
    /// An operator cannot make operators.
    #[error(
        "only the root makes operators: invite the node without that role, then say \"starling operator NODE --root-key FILE\""
    )]
    RootOnly,
    /// The data directory.
    #[error(transparent)]
    DataDirectory(#[from] DataDirectoryError),
    /// Signing failed.
    #[error(transparent)]
    Signing(#[from] keys::SignedError),
}

/// Prints an invite.
///
/// # Errors
/// When this node may not invite.
pub fn run(path: &Path, terms: &Terms) -> Result<(), CommandError> {
    let directory = DataDirectory::open(path)?;
    let config = config::load(&directory.config_path())?;
    // A running node knows every address of this machine and the other members; without one the configured ones must do.
    let known = control::ask(path)
        .map(|status| Known {
            own: status.mesh_addresses,
            others: status.doors,
        })
        .unwrap_or_default();
    let text = issue(&directory, &config, &known, terms)?;
    println!("{text}");
    let residency = terms
        .residency
        .as_ref()
        .map_or_else(String::new, |label| format!(" in {label}"));
    eprintln!(
        "Valid for {} node(s) and {}, as {}{residency}. On the new machine:",
        terms.uses, terms.expires, terms.roles
    );
    eprintln!("  {command} join {text}\n  {command} run", command = launcher());
    if let Some(warning) = warning(terms.roles) {
        eprintln!("{warning}");
    }
    if config.mesh.listen.ip().is_loopback() && config.mesh.public_addresses.is_empty() {
        eprintln!(
            "This node listens for others on {} alone, so only a node on this machine can use it: see listen under [mesh] in {}.",
            config.mesh.listen,
            directory.config_path().display()
        );
    }
    if known.own.is_empty() {
        eprintln!("This node is not running: start it before the new one joins.");
    }
    Ok(())
}

/// What whoever hands such an invite out should know.
fn warning(roles: Roles) -> Option<&'static str> {
    let works = [Roles::GATEWAY, Roles::WORKER, Roles::STORAGE];
    if roles.contains(Roles::OPERATOR) {
        Some(
            "Whoever uses it becomes an operator: that node may invite, renew and revoke others, and only the root key takes that back.",
        )
    } else if works.into_iter().all(|role| !roles.contains(role)) {
        Some(
            "A node that is only a relay keeps and computes nothing. It carries links of others where it has a public address.",
        )
    } else {
        None
    }
}

/// Where a new node may knock, as a running node knows.
#[derive(Default)]
pub struct Known {
    /// The addresses of this node.
    pub own: Vec<SocketAddr>,
    /// Those of other members, the best first.
    pub others: Vec<SocketAddr>,
}

impl Known {
    /// As this node knows now.
    pub async fn of(mesh: &mesh::Mesh) -> Self {
        Self {
            own: mesh.listen_addresses().await,
            others: mesh.doors().await.into_iter().map(|(_, address)| address).collect(),
        }
    }
}

/// Signs an invite that names this node at its best addresses, and other members for when it is away.
///
/// # Errors
/// When this node has neither the root key nor an operator's right.
pub fn issue(directory: &DataDirectory, config: &Config, known: &Known, terms: &Terms) -> Result<String, InviteError> {
    let key = directory.key()?;
    let roster = directory.roster(&key)?;
    let issuer = issuer(directory.root_key()?, &key, &roster, terms.roles)?;
    let expires = Timestamp::now().plus(terms.expires.0.saturating_mul(60_000));
    let addresses = best_addresses(config, &known.own);
    let terms = keys::invite::Terms {
        roles: terms.roles,
        uses_max: terms.uses,
        expires,
        residency: terms.residency.clone(),
    };
    let invite = Invite::issue(&issuer, roster.mesh(), key.id(), addresses, random_bytes(), terms)?;
    Ok(invite.naming_others(known.others.iter().copied()).to_text())
}

/// Whether this node may invite others.
///
/// # Errors
/// When its keys cannot be read.
pub fn may(directory: &DataDirectory, roster: &Roster) -> Result<bool, InviteError> {
    match issuer(directory.root_key()?, &directory.key()?, roster, Terms::default().roles) {
        Ok(_) => Ok(true),
        Err(InviteError::NoRight) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whose key signs: the root's when it is at hand, because nodes of the release before understand that, too; otherwise this node's own
/// when it is an operator's.
fn issuer(root: Option<NodeKey>, key: &NodeKey, roster: &Roster, roles: Roles) -> Result<NodeKey, InviteError> {
    // One that has handed over to a new root signs nothing that counts.
    match root.filter(|root| root.id() == roster.root()) {
        Some(root) => Ok(root),
        None if !roster.powers(&key.id()).contains(Powers::INVITE) => Err(InviteError::NoRight),
        None if roles.contains(Roles::OPERATOR) => Err(InviteError::RootOnly),
        None => Ok(key.clone()),
    }
}

/// Configured public addresses first, then this machine's, loopback last.
fn best_addresses(config: &Config, known: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut rest: Vec<SocketAddr> = known.to_vec();
    if !config.mesh.listen.ip().is_unspecified() {
        rest.push(config.mesh.listen);
    }
    rest.push(SocketAddr::from(([127, 0, 0, 1], config.mesh.listen.port())));
    rest.retain(|address| !address.ip().is_unspecified());
    // Link-local addresses mean nothing on another machine.
    rest.retain(|address| !matches!(address.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local()));
    rest.sort_by_key(|address| (address.ip().is_loopback(), address.is_ipv6()));
    let mut best = Vec::new();
    for address in config.mesh.public_addresses.iter().chain(&rest) {
        if !best.contains(address) {
            best.push(*address);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_has_a_unit_and_ends_within_a_year() {
        for (text, minutes, words) in [
            ("1m", 1, "1 minute(s)"),
            ("90m", 90, "90 minute(s)"),
            ("2h", 120, "2 hour(s)"),
            ("48h", 2880, "2 day(s)"),
            ("365d", 525_600, "365 day(s)"),
        ] {
            let lifetime: Lifetime = text.parse().unwrap();
            assert_eq!((lifetime, lifetime.to_string().as_str()), (Lifetime(minutes), words));
        }
        for text in ["", "h", "2", "2 h", "-2h", "+2h", "2w", "1h30m", "д"] {
            assert_eq!(text.parse::<Lifetime>(), Err(LifetimeError::Form), "{text}");
        }
        for text in [
            "0m",
            "366d",
            "525601m",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            assert_eq!(text.parse::<Lifetime>(), Err(LifetimeError::Range), "{text}");
        }
    }

    #[test]
    fn roles_that_are_not_what_they_seem_come_with_a_warning() {
        let said = |roles: &str| warning(roles.parse().unwrap());
        assert!(said("worker,operator").unwrap().contains("revoke"));
        assert!(said("relay").unwrap().contains("public address"));
        assert_eq!((said("worker,relay"), warning(Roles::NODE)), (None, None));
    }

    #[test]
    fn addresses_that_others_can_use_come_first() {
        let text = config::render(
            "127.0.0.1:8080".parse().unwrap(),
            "0.0.0.0:4001".parse().unwrap(),
            &[],
            "none",
        );
        let text = text.replace("public_addresses = []", "public_addresses = [\"203.0.113.5:4001\"]");
        let config: Config = toml::from_str(&text).unwrap();
        let known = ["127.0.0.1:4001", "[fe80::1]:4001", "192.168.1.5:4001"].map(|address| address.parse().unwrap());
        let best: Vec<String> = best_addresses(&config, &known)
            .iter()
            .map(SocketAddr::to_string)
            .collect();
        assert_eq!(best, ["203.0.113.5:4001", "192.168.1.5:4001", "127.0.0.1:4001"]);
    }
}
