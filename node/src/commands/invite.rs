//! `starling invite`: one line of text that brings in one more node.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use clap::Args;
use keys::{
    Timestamp,
    identity::random_bytes,
    invite::Invite,
    membership::{Powers, Roles},
};

use super::{CommandError, launcher};
use crate::{
    config::{self, Config},
    control,
    data_directory::{DataDirectory, DataDirectoryError},
};

/// What an invite allows.
#[derive(Args)]
pub struct Terms {
    /// How many nodes may join with it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub uses: u32,
    /// When it ends, in minutes.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=525_600))]
    pub expires_minutes: u64,
}

/// Why there is no invite.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// Another node has the right.
    #[error(
        "this node may not invite: it has no root key and is no operator; ask an operator, or have the root make it one with \"starling operator\""
    )]
    NoRight,
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
    // A running node knows every address of this machine; without one the configured ones must do.
    let known = control::ask(path)
        .map(|status| status.mesh_addresses)
        .unwrap_or_default();
    let text = issue(&directory, &config, &known, terms)?;
    println!("{text}");
    eprintln!(
        "Valid for {} node(s) and {} minutes. On the new machine:",
        terms.uses, terms.expires_minutes
    );
    eprintln!("  {command} join {text}\n  {command} run", command = launcher());
    if known.is_empty() {
        eprintln!("This node is not running: start it before the new one joins.");
    }
    Ok(())
}

/// Signs an invite that names this node at its best addresses.
///
/// # Errors
/// When this node has neither the root key nor an operator's right.
pub fn issue(
    directory: &DataDirectory,
    config: &Config,
    known: &[SocketAddr],
    terms: &Terms,
) -> Result<String, InviteError> {
    let key = directory.key()?;
    let roster = directory.roster(&key)?;
    // The root's signature is understood by nodes of the release before, too.
    let is_operator = roster.powers(&key.id()).contains(Powers::INVITE);
    let issuer = directory.root_key()?.or_else(|| is_operator.then(|| key.clone()));
    let issuer = issuer.ok_or(InviteError::NoRight)?;
    let expires = Timestamp::now().plus(terms.expires_minutes.saturating_mul(60_000));
    let addresses = best_addresses(config, known);
    let terms = keys::invite::Terms::new(Roles::NODE, terms.uses, expires);
    Ok(Invite::issue(&issuer, roster.mesh(), key.id(), addresses, random_bytes(), terms)?.to_text())
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
