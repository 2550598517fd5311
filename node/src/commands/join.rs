//! `starling join`: a new node becomes a member.

use std::{io::Read, net::SocketAddr, path::Path};

use keys::{NodeKey, invite::Invite};
use mesh::Joined;

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

/// What is read of the standard input: an invite has 400 characters, and a mail may have put blanks between them.
const INPUT_BYTES_MAX: u64 = 4096;

/// Asks the member that the invite names, and makes the data directory when it says yes.
///
/// # Errors
/// When the invite is no good, nobody answers, the member refuses, or the directory is not free; nothing is changed then.
pub fn run(path: &Path, invite: &str, new: &NewNode) -> Result<(), CommandError> {
    DataDirectory::check_free(path)?;
    check_model(&new.model)?;
    check_addresses(new)?;
    let invite = Invite::parse(&given(invite, std::io::stdin().lock())?)?;
    // Whoever finds no room here has used up no invite, and is no member that never comes.
    DataDirectory::check_room(path)?;
    let key = NodeKey::generate();
    let name = new.name.clone().unwrap_or_else(machine_name);
    let Joined {
        roster,
        member,
        addresses,
    } = ask(&key, &invite, &name)?;
    // The one that took it in, and the one that the invite names, which may have been away.
    let at = |node, addresses: &[SocketAddr]| {
        addresses
            .iter()
            .map(move |&address| Bootstrap { node, address })
            .collect()
    };
    let mut bootstrap: Vec<_> = at(member, &addresses);
    if member != invite.member {
        bootstrap.extend(at(invite.member, &invite.addresses));
    }
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
    let namesake = roster
        .members()
        .find(|member| member.name == name && member.node != key.id());
    println!(
        "Joined: this is node \"{name}\" ({}), one of {members} in its mesh, in {}.",
        key.id().short(),
        path.display()
    );
    if let Some(other) = namesake {
        println!(
            "Another member is called \"{name}\", too ({}): where commands want a name, give them the first 8 digits of the id.",
            other.node.short()
        );
    }
    println!("Start it with: {}", here("run"));
    Ok(())
}

/// The invite in one piece: as it was typed, or from the standard input when it is `-`, so that it stands in no list of processes and no
/// history of a shell. A mail may have broken it into lines.
fn given(invite: &str, input: impl Read) -> std::io::Result<String> {
    let mut text = invite.to_owned();
    if invite == "-" {
        text.clear();
        input.take(INPUT_BYTES_MAX).read_to_string(&mut text)?;
    }
    Ok(text.split_whitespace().collect())
}

fn ask(key: &NodeKey, invite: &Invite, name: &str) -> Result<Joined, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(mesh::join(key, invite, name))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invite_is_taken_from_the_command_or_the_standard_input_and_put_together() {
        let of = |said, input: &str| given(said, input.as_bytes()).unwrap();
        assert_eq!(of("starling1abc", "not read"), "starling1abc");
        assert_eq!(of("starling1a\nbc \n", ""), "starling1abc");
        assert_eq!(of("-", "starling1a\r\n  bc\n"), "starling1abc");
        assert_eq!(of("-", &"a".repeat(10_000)).len() as u64, INPUT_BYTES_MAX);
    }
}
