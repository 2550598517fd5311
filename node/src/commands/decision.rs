//! What the commands that decide about members share: whose keys are at hand, who is meant, and how the decision gets into the mesh.

use std::path::{Path, PathBuf};

use clap::Args;
use keys::{
    NodeId, NodeKey,
    archive::ArchiveKey,
    membership::{Decree, Evidence, Member, MembershipError, Roster},
    sealed_key::{self, SealedKeyError},
};

use super::CommandError;
use crate::{
    control::{self, ControlError, Decided, ID_DIGITS_MIN, Request},
    data_directory::DataDirectory,
};

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecisionError {
    /// Nobody is called so.
    #[error(
        "no member is called {0:?}, and no id begins so (of an id at least {ID_DIGITS_MIN} digits are needed); \"starling members\" shows them (ids: \"starling status --json\")"
    )]
    NobodyCalledSo(String),
    /// Several are.
    #[error("{count} nodes are called {name:?}; say the first digits of the id instead: {ids}")]
    Ambiguous {
        /// What was said.
        name: String,
        /// How many.
        count: usize,
        /// Their ids.
        ids: String,
    },
    /// No key at hand has the right.
    #[error(
        "this node has no right to do that. Do it on an operator's node, or give the root key with --root-key FILE (it was made as \
         root.key on the first node); only the root makes and unmakes operators"
    )]
    NoRight,
}

/// Where the root key lies, when it is not in the data directory.
#[derive(Args, Default)]
pub struct RootKey {
    /// The mesh's root key, when it is not in the data directory.
    #[arg(long, value_name = "FILE")]
    pub(super) root_key: Option<PathBuf>,
    /// A private file with the passphrase that opens the root key, when it is closed with one.
    #[arg(long, value_name = "FILE")]
    pub(super) root_passphrase_file: Option<PathBuf>,
}

impl RootKey {
    /// The key in the file that was named.
    pub(super) fn load(&self) -> Result<Option<NodeKey>, SealedKeyError> {
        let passphrase = self.root_passphrase_file.as_deref();
        let passphrase = passphrase.map(ArchiveKey::load_passphrase).transpose()?;
        let load = |file: &PathBuf| sealed_key::load(file, passphrase.as_ref());
        self.root_key.as_ref().map(load).transpose()
    }
}

/// The roster as it is on the disk, and the keys at hand.
pub(super) struct Decision {
    path: PathBuf,
    directory: DataDirectory,
    pub(super) roster: Roster,
    pub(super) key: NodeKey,
    /// This node's own first: what an operator may do need not be done by the root.
    keys: Vec<NodeKey>,
}

impl Decision {
    pub(super) fn open(path: &Path, root_key: &RootKey) -> Result<Self, CommandError> {
        let directory = DataDirectory::open(path)?;
        let key = directory.key()?;
        let roster = directory.roster(&key)?;
        let root = match root_key.load()? {
            Some(root) => Some(root),
            None => directory.root_key()?,
        };
        let keys = std::iter::once(key.clone()).chain(root).collect();
        Ok(Self {
            path: path.to_owned(),
            directory,
            roster,
            key,
            keys,
        })
    }

    /// Whether a key is at hand.
    pub(super) fn holds(&self, id: &NodeId) -> bool {
        self.keys.iter().any(|key| key.id() == *id)
    }

    /// The node of this name, or with this beginning of its id, also one that is out.
    pub(super) fn find(&self, said: &str) -> Result<Member, DecisionError> {
        let formers = self.roster.formers().map(|former| &former.member);
        let all: Vec<&Member> = self.roster.members().chain(formers).collect();
        let digits = said.len() >= ID_DIGITS_MIN && said.bytes().all(|digit| digit.is_ascii_hexdigit());
        let has_id = |member: &&&Member| digits && member.node.to_string().starts_with(&said.to_ascii_lowercase());
        // An id before a name: whoever takes another's id for a name does not stand in for it, nor in its way.
        let mut found: Vec<&Member> = all.iter().filter(has_id).copied().collect();
        if found.is_empty() {
            found = all.iter().filter(|member| member.name == said).copied().collect();
        }
        // A name of a node that is out may have been given again.
        if found.len() > 1 && found.iter().any(|member| self.roster.get(&member.node).is_some()) {
            found.retain(|member| self.roster.get(&member.node).is_some());
        }
        match found[..] {
            [] => Err(DecisionError::NobodyCalledSo(said.to_owned())),
            [one] => Ok(one.clone()),
            _ => Err(DecisionError::Ambiguous {
                name: said.to_owned(),
                count: found.len(),
                ids: found
                    .iter()
                    .map(|member| member.node.short())
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }

    /// Has a decision signed with the first key at hand that has the right.
    pub(super) fn sign<T>(
        &self,
        sign: impl Fn(&Roster, &NodeKey) -> Result<T, MembershipError>,
    ) -> Result<T, CommandError> {
        for key in &self.keys {
            match sign(&self.roster, key) {
                Err(MembershipError::NotAllowed) => {}
                result => return Ok(result?),
            }
        }
        Err(DecisionError::NoRight.into())
    }

    /// Gives the decision to the running node, which tells the others; or, when none runs, writes it where the next start reads it.
    /// Returns how many neighbours know of it now; `None` when the node does not run.
    pub(super) fn publish(mut self, decrees: Vec<Decree>) -> Result<Option<usize>, CommandError> {
        let evidence: Vec<_> = decrees.into_iter().map(Evidence::Decree).collect();
        let request = Request::Decide(evidence.iter().map(Evidence::to_text).collect());
        match control::request::<Decided>(&self.path, &request) {
            Ok(decided) => return Ok(Some(decided.told)),
            Err(ControlError::NotRunning(_)) => {}
            Err(error) => return Err(error.into()),
        }
        // Kept until the file is written, so that no node starts meanwhile with the old one.
        let _lock = self.directory.lock()?;
        if let Some((_, error)) = self.roster.take(evidence).refused.into_iter().next() {
            return Err(error.into());
        }
        self.directory.save_roster(&self.roster)?;
        Ok(None)
    }
}

/// What a person is told after a decision.
pub(super) fn said_to(told: Option<usize>) -> String {
    match told {
        None => "This node is not running: the others hear of it when it starts.".to_owned(),
        Some(0) => "No other node is connected now: they hear of it as soon as one is.".to_owned(),
        Some(told) => format!("{told} connected node(s) know of it; the rest hear of it from them."),
    }
}

/// How a node is called in a sentence.
pub(super) fn called(member: &Member) -> String {
    format!("\"{}\" ({})", member.name, member.node.short())
}

/// Whether a node is one of the keys at hand: to put oneself out is said differently.
pub(super) fn is_self(decision: &Decision, node: &NodeId) -> bool {
    decision.key.id() == *node
}
