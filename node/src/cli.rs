//! The command line: what can be said, with examples; each command has its own file under `commands`.

use std::{path::PathBuf, process::ExitCode};

use clap::{
    CommandFactory as _, FromArgMatches as _, Parser, Subcommand, builder::TypedValueParser as _, parser::ValueSource,
};

use crate::{
    commands::{
        self,
        backup::Target,
        erase::What,
        init::{FirstNode, NewNode},
        invite::Terms,
        leave::Farewell,
        maintenance::Maintenance,
        model::ModelCommand,
        operator::Appointment,
        renew::Renewed,
        restore::Sources,
        revoke::Revoked,
        rotate::Rotation,
        run::Overrides,
    },
    data_directory, hints,
};

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
    #[arg(long, global = true, env = "STARLING_DATA_DIR", value_name = "DIRECTORY",
        value_parser = clap::builder::OsStringValueParser::new().map(PathBuf::from))]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new mesh and its first node.
    #[command(
        after_help = "Examples:\n  starling init\n  starling --data-dir /srv/starling init --name vds-1 --model none --residency ru"
    )]
    Init(FirstNode),
    /// Print an invite with which one more node becomes a member.
    #[command(
        after_help = "Examples:\n  starling invite\n  starling invite --uses 5 --expires 1d\n  starling invite --role worker --residency ru"
    )]
    Invite(Terms),
    /// Become a member of a mesh with an invite.
    #[command(
        after_help = "Examples:\n  starling join starling1abc... --name pc-home --model /models/Qwen3-8B-Q4_K_M.gguf\n  starling join - <invite.txt"
    )]
    Join {
        /// The text that `starling invite` printed, or `-` to read it from the standard input.
        invite: String,
        #[command(flatten)]
        new: NewNode,
    },
    /// Start the node.
    #[command(
        after_help = "Examples:\n  starling run\n  starling run --http 127.0.0.1:9000 --model none --log-format json"
    )]
    Run(Overrides),
    /// Say what the running node is doing.
    #[command(after_help = "Examples:\n  starling status\n  starling status --json")]
    Status {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Who is in the mesh, as the running node knows it.
    #[command(after_help = "Examples:\n  starling members\n  starling members --json")]
    Members {
        /// Print JSON for programs.
        #[arg(long)]
        json: bool,
    },
    /// Who is linked with whom in the whole mesh: round trip, lost packets, path, bytes, and how old the figures are.
    #[command(after_help = "Examples:\n  starling links\n  starling links --to pc-home\n  starling links --json")]
    Links {
        /// Show the routes to this node, too: by name or by the first digits of its id.
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Keep this node from working for a while: what runs is finished, nothing new is begun, and every member is told.
    #[command(after_help = "Examples:\n  starling maintenance on\n  starling maintenance off")]
    Maintenance(Maintenance),
    /// Put a node, an invite or an operator out, everywhere and for ever.
    #[command(
        after_help = "Examples:\n  starling revoke pc-home --reason \"sold\"\n  starling revoke 1a2b3c4d --reason stolen --yes\n  \
            starling revoke starling1abc... --reason \"pasted into a chat\"\n  \
            starling revoke vds-2 --operator --root-key /media/usb/root.key --reason \"left the team\""
    )]
    Revoke(Revoked),
    /// Take this node out of its mesh, for ever.
    #[command(after_help = "Example:\n  starling leave --reason \"this machine is given away\"")]
    Leave(Farewell),
    /// Make a node an operator: it may invite, renew and revoke. Needs the root key.
    #[command(
        after_help = "Examples:\n  starling operator vds-2\n  starling operator vds-2 --may invite --root-key /media/usb/root.key"
    )]
    Operator(Appointment),
    /// Renew the certificate of a node, also of one whose certificate has ended.
    #[command(after_help = "Example:\n  starling renew pc-home")]
    Renew(Renewed),
    /// Give this node a new key, or hand the root over to a new one; the old key is refused afterwards.
    #[command(
        after_help = "Examples:\n  starling rotate                    (while the node is stopped)\n  \
            starling rotate --root --to /media/usb/root-2.key --new-passphrase-file /etc/starling/passphrase"
    )]
    Rotate(Rotation),
    /// Have a person or a chat forgotten on every node, for ever.
    #[command(after_help = "Examples:\n  starling erase --account Rita\n  starling erase --session 0f3a... --yes")]
    Erase {
        #[command(flatten)]
        what: What,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// What was erased, and which nodes have done it.
    #[command(after_help = "Examples:\n  starling erasures\n  starling erasures --json")]
    Erasures {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Make an encrypted backup of this node, also while it runs.
    #[command(
        after_help = "Examples:\n  starling backup\n  starling backup --to /mnt/backups --passphrase-file /etc/starling/passphrase"
    )]
    Backup(Target),
    /// Make a node from a backup, in a data directory that is empty.
    #[command(
        after_help = "Examples:\n  starling --data-dir /srv/starling restore /mnt/backups/starling-1a2b3c4d-20260730T031500Z.backup\n  \
            starling restore ARCHIVE --keys keys-1a2b3c4d.backup --key-file backup.key"
    )]
    Restore(Sources),
    /// The catalogue of models: add a file, list, fetch, remove.
    #[command(subcommand)]
    Model(ModelCommand),
    /// Check this machine and this node, and say what to mend.
    #[command(after_help = "Example:\n  starling doctor")]
    Doctor,
    /// The engine's process; started by `run`, not by people.
    #[command(hide = true)]
    Engine,
}

/// A reader that has seen enough (`| head`) is no error of the command, and needs no backtrace.
fn end_when_nobody_reads() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let words = panic.payload().downcast_ref::<String>();
        if words.is_some_and(|words| words.starts_with("failed printing to stdout") && words.contains("Broken pipe")) {
            std::process::exit(0);
        }
        usual(panic);
    }));
}

/// Runs the program; the exit code is 0, 1 after an error that was said, or 2 for a wrong command line.
#[must_use]
pub fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let is_given = matches.value_source("data_dir") == Some(ValueSource::CommandLine);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if matches!(cli.command, Command::Engine) {
        return inference::engine::worker::main();
    }
    if !matches!(cli.command, Command::Run(_)) {
        end_when_nobody_reads();
    }
    if let Some(directory) = cli.data_dir.as_ref().filter(|_| is_given) {
        hints::given(directory);
    }
    let result = data_directory::choose(cli.data_dir)
        .map_err(Into::into)
        .and_then(|directory| match cli.command {
            Command::Init(new) => commands::init::run(&directory, &new),
            Command::Invite(terms) => commands::invite::run(&directory, &terms),
            Command::Join { invite, new } => commands::join::run(&directory, &invite, &new),
            Command::Run(settings) => commands::run::run(&directory, &settings),
            Command::Status { json } => commands::status::run(&directory, json),
            Command::Members { json } => commands::status::members(&directory, json),
            Command::Links { to, json } => commands::links::run(&directory, to.as_deref(), json),
            Command::Maintenance(switch) => commands::maintenance::run(&directory, &switch),
            Command::Revoke(what) => commands::revoke::run(&directory, &what),
            Command::Leave(farewell) => commands::leave::run(&directory, &farewell),
            Command::Operator(appointment) => commands::operator::run(&directory, &appointment),
            Command::Renew(renewed) => commands::renew::run(&directory, &renewed),
            Command::Rotate(rotation) => commands::rotate::run(&directory, &rotation),
            Command::Erase { what, yes } => commands::erase::run(&directory, what, yes),
            Command::Erasures { json } => commands::erase::list(&directory, json),
            Command::Backup(target) => commands::backup::run(&directory, &target),
            Command::Restore(sources) => commands::restore::run(&directory, &sources),
            Command::Model(command) => commands::model::run(&directory, command),
            Command::Doctor => commands::doctor::run(&directory),
            Command::Engine => Ok(()),
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("starling: {error}");
            ExitCode::FAILURE
        }
    }
}
