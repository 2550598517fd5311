//! `starling join`: a new node becomes a member.

use std::path::Path;

use keys::{NodeKey, invite::Invite, membership::Roster};

use super::{
    CommandError,
    init::{NewNode, check_addresses, check_model},
    machine_name,
};
use crate::{
    config::{self, Bootstrap},
    data_directory::{self, DataDirectory},
    hints::here,
    ports,
};

/// Asks the member that the invite names, and makes the data directory when it says yes.
///
/// # Errors
/// When the invite is no good, nobody answers, the member refuses, or the directory is not free; nothing is changed then.
pub fn run(path: &Path, invite: &str, new: &NewNode) -> Result<(), CommandError> {
    DataDirectory::check_free(path)?;
    check_model(&new.model)?;
    check_addresses(new)?;
    let invite = Invite::parse(invite)?;
    let key = NodeKey::generate();
    let name = new.name.clone().unwrap_or_else(machine_name);
    let roster = ask(&key, &invite, &name)?;
    let bootstrap: Vec<_> = invite
        .addresses
        .iter()
        .map(|address| Bootstrap {
            node: invite.member,
            address: *address,
        })
        .collect();
    let http = new.http.unwrap_or_else(ports::free_http);
    let config = config::render(
        http,
        new.mesh_listen.unwrap_or_else(ports::free_mesh),
        &bootstrap,
        &new.model,
    );
    let parts = data_directory::NewNode {
        key: &key,
        root: None,
        roster: &roster,
        config: &config,
    };
    DataDirectory::create(path, &parts)?;
    let members = roster.members().count();
    println!(
        "Joined: this is node \"{name}\" ({}), one of {members} in its mesh, in {}.",
        key.id().short(),
        path.display()
    );
    println!("Start it with: {}", here("run"));
    Ok(())
}

fn ask(key: &NodeKey, invite: &Invite, name: &str) -> Result<Roster, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(mesh::join(key, invite, name))?)
}
