//! `starling init`: a new mesh and its first node.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use keys::{
    NodeKey, Timestamp,
    archive::ArchiveKey,
    identity::random_bytes,
    membership::{Certificate, Residency, Roster},
    sealed_key, secret_file,
};

use super::{CommandError, machine_name};
use crate::{
    config,
    data_directory::{self, DataDirectory},
    hints::here,
    ports,
};

/// Settings of a new node; they are written into its configuration file.
#[derive(Args)]
pub struct NewNode {
    /// What people call this node; the machine's name unless given.
    #[arg(long)]
    pub name: Option<String>,
    /// Where the page is served; 127.0.0.1 and the first free port from 8080 unless given.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http: Option<SocketAddr>,
    /// Where other nodes connect, UDP and TCP; all addresses and the first free port from 4001 unless given.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub mesh_listen: Option<SocketAddr>,
    /// `built-in`, `none` (this node only asks others), or a GGUF file.
    #[arg(long, default_value = "built-in")]
    pub model: String,
}

/// A new mesh's first node.
#[derive(Args)]
pub struct FirstNode {
    /// What every new node is told.
    #[command(flatten)]
    pub node: NewNode,
    /// Where this node stands, for example `ru`: personal data can be kept on nodes of one residency. Nodes that join get theirs
    /// from their invite.
    #[arg(long, value_name = "LABEL")]
    pub residency: Option<Residency>,
    /// Where the mesh's root key is written, for example onto a stick; root.key in the data directory unless given.
    #[arg(long, value_name = "FILE")]
    pub root_key: Option<PathBuf>,
    /// A private file with a passphrase that closes the root key.
    #[arg(long, value_name = "FILE", requires = "root_key")]
    pub root_passphrase_file: Option<PathBuf>,
}

/// Makes keys, genesis and configuration in `path`.
///
/// # Errors
/// When the directory is not free or cannot be written; nothing is changed then.
pub fn run(path: &Path, first: &FirstNode) -> Result<(), CommandError> {
    let FirstNode {
        node: new, residency, ..
    } = first;
    DataDirectory::check_free(path)?;
    check_model(&new.model)?;
    check_addresses(new)?;
    let (root, key) = (NodeKey::generate(), NodeKey::generate());
    let name = new.name.clone().unwrap_or_else(machine_name);
    let certificate = Certificate::found_in(
        residency.clone(),
        &root,
        key.id(),
        &name,
        random_bytes(),
        Timestamp::now(),
    )?;
    let roster = Roster::new(certificate)?;
    let http = new.http.unwrap_or_else(ports::free_http);
    let config = config::render(http, new.mesh_listen.unwrap_or_else(ports::free_mesh), &[], &new.model);
    let parts = data_directory::NewNode {
        key: &key,
        root: first.root_key.is_none().then_some(&root),
        roster: &roster,
        config: &config,
    };
    // Before there is a mesh: one whose root nobody holds could decide nothing.
    let elsewhere = save_root(&root, first)?;
    if let Err(error) = DataDirectory::create(path, &parts) {
        if let Some(file) = elsewhere {
            secret_file::destroy(file)?;
        }
        return Err(error.into());
    }
    println!(
        "Made a new mesh with its first node \"{name}\" ({}) in {}.",
        key.id().short(),
        path.display()
    );
    println!("Start it with: {}", here("run"));
    println!(
        "Its page will be at http://{http}, where you become the administrator by the link that the start prints."
    );
    match elsewhere {
        Some(file) => println!(
            "The root key is in {}: keep it, and a copy, in a safe place. It is the right to everything, above all to make operators, and \
             cannot be replaced. This node is an operator and invites without it.",
            file.display()
        ),
        None => println!(
            "Then move root.key out of that directory to a safe place, such as a stick: it is the right to everything, above all to make \
             operators, and cannot be replaced. This node is an operator and invites without it."
        ),
    }
    Ok(())
}

/// Writes the root key where it was asked for, if that is not the data directory; never over another file.
fn save_root<'a>(root: &NodeKey, first: &'a FirstNode) -> Result<Option<&'a Path>, CommandError> {
    let Some(file) = first.root_key.as_deref() else {
        return Ok(None);
    };
    let passphrase = first.root_passphrase_file.as_deref();
    match passphrase.map(ArchiveKey::load_passphrase).transpose()? {
        Some(passphrase) => sealed_key::save(root, file, &passphrase)?,
        None => root.save(file)?,
    }
    Ok(Some(file))
}

/// Addresses that this machine does not have are said now, and so is what travels in the clear.
pub(super) fn check_addresses(new: &NewNode) -> Result<(), CommandError> {
    for (option, address) in [("--http", new.http), ("--mesh-listen", new.mesh_listen)] {
        if let Some(address) = address
            && !ports::is_own(address.ip())
        {
            return Err(format!(
                "{option} {address}: this machine has no address {}; name one of its own, 127.0.0.1 for itself alone, or 0.0.0.0 for all",
                address.ip()
            )
            .into());
        }
    }
    let taken = |(option, address, udp): (_, Option<_>, bool)| Some((option, ports::why_not(address?, udp)?));
    for (option, why) in [("--http", new.http, false), ("--mesh-listen", new.mesh_listen, true)]
        .into_iter()
        .filter_map(taken)
    {
        eprintln!("Warning: {option}: {why}; the node starts when it is free, or with another one in starling.toml.");
    }
    if let Some(http) = new.http.filter(|http| !http.ip().is_loopback()) {
        eprintln!(
            "Warning: the page at {http} would be served without encryption: whoever is on the way reads passwords and chats. Name a \
             certificate in starling.toml (tls_certificate, tls_key), or allow it there with plain_http = true in a network you trust; \
             until then the node does not start."
        );
    }
    Ok(())
}

/// A model file that cannot be read is said now, not at the first start.
pub(super) fn check_model(model: &str) -> Result<(), CommandError> {
    let source = config::model_source(model, None).map_err(|error| error.to_string())?;
    if let inference::ModelSource::File(path) = source {
        let file = std::fs::File::open(&path).and_then(|file| file.metadata());
        match file {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err(format!("the model {} is not a file", path.display()).into()),
            Err(error) => return Err(format!("the model {} cannot be read: {error}", path.display()).into()),
        }
    }
    Ok(())
}
