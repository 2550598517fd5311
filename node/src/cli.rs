//! The command line: what can be said, with examples; each command has its own file under `commands`.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{commands, config::LogFormat, data_directory};

/// A peer-to-peer mesh of equal nodes on which people chat with AI characters.
#[derive(Parser)]
#[command(
    name = "starling",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  starling init --name home          make a new mesh and its first node
  starling run                       start the node
  starling invite                    print an invite for one more node
  starling join starling1abc...      on another machine: become a member
  starling status                    what the running node is doing"
)]
struct Cli {
    /// Where the node keeps its keys and data.
    #[arg(long, global = true, env = "STARLING_DATA_DIR", value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new mesh and its first node.
    #[command(
        after_help = "Examples:\n  starling init\n  starling --data-dir /srv/starling init --name vds-1 --model none"
    )]
    Init(NewNode),
    /// Print an invite with which one more node becomes a member.
    #[command(after_help = "Examples:\n  starling invite\n  starling invite --uses 5 --expires-minutes 1440")]
    Invite(Invite),
    /// Become a member of a mesh with an invite.
    #[command(
        after_help = "Example:\n  starling join starling1abc... --name pc-home --model /models/Qwen3-8B-Q4_K_M.gguf"
    )]
    Join {
        /// The text that `starling invite` printed.
        invite: String,
        #[command(flatten)]
        new: NewNode,
    },
    /// Start the node.
    #[command(
        after_help = "Examples:\n  starling run\n  starling run --http 127.0.0.1:9000 --model none --log-format json"
    )]
    Run(Run),
    /// Say what the running node is doing.
    #[command(after_help = "Examples:\n  starling status\n  starling status --json")]
    Status {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Who is in the mesh, as the running node knows it.
    #[command(after_help = "Example:\n  starling members")]
    Members,
    /// Check this machine and this node, and say what to mend.
    #[command(after_help = "Example:\n  starling doctor")]
    Doctor,
    /// The engine's process; started by `run`, not by people.
    #[command(hide = true)]
    InferWorker,
}

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

/// Settings of one run; they go before the configuration file.
#[derive(Args)]
pub struct Run {
    /// Serve the page here.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http: Option<SocketAddr>,
    /// Listen for other nodes here.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub mesh_listen: Option<SocketAddr>,
    /// `built-in`, `none`, or a GGUF file.
    #[arg(long)]
    pub model: Option<String>,
    /// How to write the log.
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
}

/// What an invite allows.
#[derive(Args)]
pub struct Invite {
    /// How many nodes may join with it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub uses: u32,
    /// When it ends, in minutes.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=525_600))]
    pub expires_minutes: u64,
}

/// Runs the program; the exit code is 0, 1 after an error that was said, or 2 for a wrong command line.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Command::InferWorker) {
        return inference::engine::worker::main();
    }
    let result = data_directory::choose(cli.data_dir)
        .map_err(Into::into)
        .and_then(|directory| match cli.command {
            Command::Init(new) => commands::init::run(&directory, &new),
            Command::Invite(terms) => commands::invite::run(&directory, &terms),
            Command::Join { invite, new } => commands::join::run(&directory, &invite, &new),
            Command::Run(settings) => commands::run::run(&directory, &settings),
            Command::Status { json } => commands::status::run(&directory, json),
            Command::Members => commands::status::members(&directory),
            Command::Doctor => commands::doctor::run(&directory),
            Command::InferWorker => Ok(()),
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("starling: {error}");
            ExitCode::FAILURE
        }
    }
}
