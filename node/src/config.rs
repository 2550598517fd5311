//! The configuration file: typed, refuses what it does not know, and names the line.

use std::{
    fmt::Write as _,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use inference::{
    ModelSource,
    engine::{
        mock::Script,
        upstream::{AddressError, Server},
    },
    limits::{CONTEXT_TOKENS_DEFAULT, KEEP_ALIVE_DEFAULT, SLOTS_DEFAULT},
};
use keys::NodeId;
use serde::Deserialize;

use crate::hints;

/// What stands before the name of a model in the catalogue.
const CATALOGUE: &str = "catalogue:";
/// Bytes of a configuration file; ours has a few hundred.
const BYTES_MAX: u64 = 256 * 1024;

/// How to write the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line, for programs.
    Json,
}

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The gateway.
    pub gateway: GatewayConfig,
    /// The mesh.
    pub mesh: MeshConfig,
    /// The model.
    #[serde(default)]
    pub inference: InferenceConfig,
    /// Backups.
    #[serde(default)]
    pub backup: BackupConfig,
    /// The log.
    #[serde(default)]
    pub log: LogConfig,
}

/// `[gateway]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// Where the page is served.
    pub listen: SocketAddr,
    /// Under which address people's browsers reach it, such as `https://chat.example.org`: pages of other gateways come here when
    /// theirs is gone.
    #[serde(default)]
    pub public_url: Option<String>,
    /// A file with the certificate of the page and those between it and the root, as PEM: with it people are served over TLS 1.3. It is
    /// read again when it changes.
    #[serde(default)]
    pub tls_certificate: Option<PathBuf>,
    /// A file with the private key of that certificate.
    #[serde(default)]
    pub tls_key: Option<PathBuf>,
    /// Whether the page may be served without encryption beyond this machine.
    #[serde(default)]
    pub plain_http: bool,
}

impl GatewayConfig {
    /// Scheme and address of the page as this machine serves it.
    #[must_use]
    pub fn page(&self) -> String {
        let scheme = if self.tls_certificate.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.listen)
    }
}

/// `[mesh]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeshConfig {
    /// Where other nodes connect, UDP and TCP on the same port.
    pub listen: SocketAddr,
    /// Members to dial first, as `node id@address:port`.
    #[serde(default)]
    pub bootstrap: Vec<Bootstrap>,
    /// Further addresses under which others reach this node, for example a forwarded port.
    #[serde(default)]
    pub public_addresses: Vec<SocketAddr>,
    /// Whether members on the local network are found by themselves; never on a node with public addresses.
    #[serde(default = "default_local_discovery")]
    pub local_discovery: bool,
    /// How fast QUIC sends: `bbr`, or `cubic` where bbr treats other traffic on the line badly.
    #[serde(default)]
    pub congestion: mesh::Congestion,
    /// Where to listen for WebSockets over TLS, for members whose network lets nothing else through.
    #[serde(default)]
    pub websocket: Option<SocketAddr>,
    /// Whether members that cannot reach each other are linked through a third one, here and for others.
    #[serde(default = "default_relaying")]
    pub relaying: bool,
}

impl MeshConfig {
    /// Whether this node calls out on the local network. A server on the internet has no neighbours whom it should call, and one that
    /// listens on this machine only can be reached by none.
    #[must_use]
    pub const fn calls_out(&self) -> bool {
        self.local_discovery && self.public_addresses.is_empty() && !self.listen.ip().is_loopback()
    }
}

/// A member with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Bootstrap {
    /// Who.
    pub node: NodeId,
    /// Where.
    pub address: SocketAddr,
}

impl TryFrom<String> for Bootstrap {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let parsed = text.split_once('@').and_then(|(node, address)| {
            Some(Self {
                node: NodeId::parse(node)?,
                address: address.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| format!("\"{text}\" is not of the form \"node id@address:port\""))
    }
}

impl std::fmt::Display for Bootstrap {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}@{}", self.node, self.address)
    }
}

/// `[inference]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InferenceConfig {
    /// `built-in`, `none`, the path of a GGUF file, `catalogue:` and the name of a model there, or the address of a server that
    /// computes.
    pub model: String,
    /// A private file with the key that such a server wants to be shown.
    pub upstream_key_file: Option<PathBuf>,
    /// Answers computed at once.
    pub slots: u32,
    /// Context of each answer in tokens.
    pub context_tokens: u32,
    /// Threads; chosen by model and machine unless given.
    pub threads: Option<u32>,
    /// For how long a model of the catalogue that nobody asks stays in memory; the one that this node works with stays always.
    pub keep_alive_seconds: u64,
    /// How much memory models may take together; what the machine can give unless said.
    pub memory_megabytes: Option<u64>,
}

impl Default for InferenceConfig {
    fn default() -> Self {
        Self {
            model: "built-in".into(),
            upstream_key_file: None,
            slots: SLOTS_DEFAULT,
            context_tokens: CONTEXT_TOKENS_DEFAULT,
            threads: None,
            keep_alive_seconds: KEEP_ALIVE_DEFAULT.as_secs(),
            memory_megabytes: None,
        }
    }
}

/// `[backup]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupConfig {
    /// When: `"off"`, or a time of day in UTC.
    pub daily: BackupTime,
    /// Where to; `backups` in the data directory unless given.
    pub directory: Option<PathBuf>,
    /// A file with the passphrase that closes backups; the node's `backup.key` unless given.
    pub passphrase_file: Option<PathBuf>,
}

/// When backups are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum BackupTime {
    /// Never by itself.
    Off,
    /// Each day.
    Daily {
        /// Minutes after midnight, UTC; below 1440.
        minute: u16,
    },
}

impl Default for BackupTime {
    /// 03:15, when people sleep in much of Europe, and full hours are busy.
    fn default() -> Self {
        Self::Daily { minute: 3 * 60 + 15 }
    }
}

impl TryFrom<String> for BackupTime {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let number = |digits: &str, limit: u16| -> Option<u16> {
            let number = digits.parse().ok()?;
            (digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit()) && number < limit).then_some(number)
        };
        let parsed = text.split_once(':').and_then(|(hour, minute)| {
            let minute = number(hour, 24)? * 60 + number(minute, 60)?;
            Some(Self::Daily { minute })
        });
        parsed.ok_or_else(|| format!("\"{text}\" is neither \"off\" nor a time of day such as \"03:15\""))
    }
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// For people or for programs.
    pub format: LogFormat,
    /// A filter as `RUST_LOG` takes it.
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Human,
            level: "info".into(),
        }
    }
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {path} cannot be read: {source}{remedy}", remedy = remedy(.source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Larger than any configuration.
    #[error("the configuration {0} is larger than {BYTES_MAX} bytes")]
    TooLarge(PathBuf),
    /// Wrong somewhere; the line is named.
    #[error("the configuration {path} is wrong in line {line}: {reason}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Reads and checks a configuration file.
///
/// # Errors
/// What is wrong, and where.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).map_err(unreadable)?.len() > BYTES_MAX {
        return Err(ConfigError::TooLarge(path.to_owned()));
    }
    parse(&fs::read_to_string(path).map_err(unreadable)?, path)
}

/// Ends the sentence about a file that is gone or holds something else.
fn remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData => format!(
            ". Put it back; or have \"{} init --data-dir DIRECTORY\" write one in an empty directory, and copy it here",
            hints::launcher()
        ),
        _ => String::new(),
    }
}

/// Checks the text of a configuration file that is, or will be, at `path`.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
        ConfigError::Wrong {
            path: path.to_owned(),
            line,
            reason: error.message().to_owned(),
        }
    })
}

/// Which model a text names; `key` is what an upstream server wants to be shown.
///
/// # Errors
/// When it looks like the address of a server and is none.
pub fn model_source(text: &str, key: Option<String>) -> Result<ModelSource, AddressError> {
    Ok(match text {
        "none" => ModelSource::None,
        "built-in" => ModelSource::BuiltIn,
        address if address.starts_with("http://") || address.starts_with("https://") => {
            ModelSource::Upstream(Server::parse(address, key)?)
        }
        // Its file may still have to be fetched: the start of the node sees to that.
        name if name.starts_with(CATALOGUE) => ModelSource::Catalogue(name[CATALOGUE.len()..].to_owned()),
        other => match Script::parse(other) {
            Some(script) => ModelSource::Mock(script),
            None => ModelSource::File(other.into()),
        },
    })
}

/// Names in the catalogue that a node works with.
#[must_use]
pub fn catalogue_names(config: &InferenceConfig) -> Vec<String> {
    let names = config.model.strip_prefix(CATALOGUE).map(str::to_owned);
    names.into_iter().collect()
}

const fn default_relaying() -> bool {
    true
}

const fn default_local_discovery() -> bool {
    true
}

/// The file that `init` and `join` write.
#[must_use]
pub fn render(http: SocketAddr, mesh: SocketAddr, bootstrap: &[Bootstrap], model: &str) -> String {
    let mut text = format!(
        "# Configuration of this Starling node. Unknown keys are refused; restart the node after a change.\n\n\
         [gateway]\n# Where the page is served. Other machines reach it only when this is not 127.0.0.1.\nlisten = \"{http}\"\n\
         # Under which address browsers reach it; pages of other gateways come here when theirs is gone.\n# public_url = \"https://chat.example.org\"\n\
         # Encryption: the certificate with its chain and its key, as PEM; both are read again when they change.\n\
         # tls_certificate = \"/etc/letsencrypt/live/chat.example.org/fullchain.pem\"\n\
         # tls_key = \"/etc/letsencrypt/live/chat.example.org/privkey.pem\"\n\
         # Allow a page without encryption beyond this machine, in a network you trust.\n# plain_http = true\n\n\
         [mesh]\n# Where other nodes connect, UDP and TCP on the same port.\nlisten = \"{mesh}\"\n\
         # Members to dial first: \"node id@address:port\".\nbootstrap = ["
    );
    for (index, member) in bootstrap.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{}\"{member}\"", if index == 0 { "" } else { ", " });
    }
    let _ = write!(
        text,
        "]\n# Further addresses under which others reach this node, for example a forwarded port.\npublic_addresses = []\n\
         # Find members on the local network by calling (mDNS); off by itself where there are public addresses.\nlocal_discovery = true\n\
         # How fast this node sends: \"bbr\" (good on long and lossy lines) or \"cubic\" (gives way to other traffic).\ncongestion = \"bbr\"\n\
         # Nodes behind home routers are linked through public ones until they reach each other directly; a public node carries such links.\nrelaying = true\n\
         # On a public node: take WebSockets over TLS here, for members whose network lets nothing but the web through.\n# websocket = \"0.0.0.0:443\"\n\n\
         [inference]\n# \"built-in\", \"none\" (this node only asks others), the path of a GGUF file, \"catalogue:NAME\" (see `starling model list`;\n\
         # it is fetched when it is not here), or the address of a server that computes (vLLM, llama-server, Ollama), such as \"http://127.0.0.1:8000/v1#MODEL\".\nmodel = {}\n\
         # A private file with the key that such a server wants.\n# upstream_key_file = \"/etc/starling/upstream.key\"\n\
         slots = {SLOTS_DEFAULT}\ncontext_tokens = {CONTEXT_TOKENS_DEFAULT}\n# threads = 4\n\
         # Other models of the catalogue whose files are here are loaded when programs ask for them. One that nobody asks is kept so long.\n\
         # keep_alive_seconds = 300\n\
         # All models together take at most so much memory; what the machine can give unless said.\n# memory_megabytes = 4096\n\n\
         [backup]\n# Once a day at this time (UTC), or \"off\". Seven days and seven weeks are kept.\ndaily = \"03:15\"\n\
         # Better another disk than this one; \"backups\" in the data directory unless given.\n# directory = \"/mnt/backups\"\n\
         # A private file with a passphrase; the key file backup.key in the data directory unless given.\n\
         # passphrase_file = \"/etc/starling/passphrase\"\n\n\
         [log]\n# \"human\" or \"json\"; the level is a filter such as \"info\" or \"info,mesh=debug\".\n\
         format = \"human\"\nlevel = \"info\"\n",
        toml::Value::String(model.to_owned())
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> String {
        let member = Bootstrap {
            node: NodeId([7; 32]),
            address: "192.0.2.1:4001".parse().unwrap(),
        };
        render(
            "127.0.0.1:8080".parse().unwrap(),
            "0.0.0.0:4001".parse().unwrap(),
            &[member],
            "C:\\model \"x\".gguf",
        )
    }

    #[test]
    fn what_is_written_can_be_read() {
        let config = parse(&example(), Path::new("starling.toml")).unwrap();
        assert_eq!(config.mesh.bootstrap[0].node, NodeId([7; 32]));
        assert_eq!(config.inference.model, "C:\\model \"x\".gguf");
        assert_eq!(config.inference.slots, SLOTS_DEFAULT);
        assert_eq!(config.log, LogConfig::default());
        assert_eq!(config.backup, BackupConfig::default());
        let off = example().replace("daily = \"03:15\"", "daily = \"off\"");
        let off = parse(&off, Path::new("starling.toml")).unwrap();
        assert_eq!(off.backup.daily, BackupTime::Off);
        // A node of an earlier version has no such section, and gets its backups, too.
        let without: String = example()
            .split_inclusive("\n\n")
            .filter(|part| !part.starts_with("[backup]"))
            .collect();
        let without = parse(&without, Path::new("starling.toml")).unwrap();
        assert_eq!(without.backup, BackupConfig::default());
    }

    #[test]
    fn a_node_calls_out_only_where_somebody_could_come() {
        let calls = |text: &str| parse(text, Path::new("starling.toml")).unwrap().mesh.calls_out();
        assert!(calls(&example()));
        for (usual, other) in [
            ("0.0.0.0:4001", "127.0.0.1:4001"),
            ("0.0.0.0:4001", "[::1]:4001"),
            ("public_addresses = []", "public_addresses = [\"203.0.113.5:4001\"]"),
            ("local_discovery = true", "local_discovery = false"),
        ] {
            assert!(!calls(&example().replace(usual, other)), "{other}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let cases = [
            (example().replace("slots", "slotz"), "slotz"),
            (example().replace("127.0.0.1:8080", "localhost"), "socket address"),
            (example().replace("0.0.0.0:4001", "0.0.0.0:400100"), "socket address"),
            (example().replace("@192", "192"), "node id@address:port"),
            (example().replace("\"human\"\nlevel", "\"loud\"\nlevel"), "loud"),
            (example().replace("03:15", "24:00"), "time of day"),
            (example().replace("03:15", "3:15"), "time of day"),
            (example().replace("[log]", "[log"), ""),
        ];
        for (text, expected) in cases {
            let broken = text
                .lines()
                .zip(example().lines())
                .position(|(left, right)| left != right)
                .unwrap()
                + 1;
            match parse(&text, Path::new("starling.toml")) {
                Err(ConfigError::Wrong { line, reason, .. }) => {
                    assert!(line == broken, "line {line} instead of {broken}: {reason}");
                    assert!(reason.contains(expected), "{reason}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
