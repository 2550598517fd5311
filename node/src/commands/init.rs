//! `starling init`: a new mesh and its first node.

use std::{net::SocketAddr, path::Path};

use clap::Args;
use keys::{
    NodeKey, Timestamp,
    identity::random_bytes,
    membership::{Certificate, Residency, Roster},
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
}

/// Makes keys, genesis and configuration in `path`.
///
/// # Errors
/// When the directory is not free or cannot be written; nothing is changed then.
pub fn run(path: &Path, FirstNode { node: new, residency }: &FirstNode) -> Result<(), CommandError> {
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
        root: Some(&root),
        roster: &roster,
        config: &config,
    };
    DataDirectory::create(path, &parts)?;
    println!(
        "Made a new mesh with its first node \"{name}\" ({}) in {}.",
        key.id().short(),
        path.display()
    );
    println!("Start it with: {}", here("run"));
    println!(
        "Its page will be at http://{http}, where you become the administrator by the link that the start prints."
    );
    println!(
        "Then move root.key out of that directory to a safe place, such as a stick: it is the right to everything, above all to make \
         operators, and cannot be replaced. This node is an operator and invites without it."
    );
    Ok(())
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
