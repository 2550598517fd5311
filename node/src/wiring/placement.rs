//! Who holds what, from the roster and from who is there: computed here, by the rules of `crdt`, whenever one of the two changes, and
//! given to the store.

use std::{collections::BTreeMap, time::Duration};

use crdt::{
    Store, StoreError,
    placement::{Placement, RESIDENCY_SETTING, Ranks, Rules, Seat},
    records::{
        RecordKind,
        settings::{Setting, Settings, effective},
    },
};
use keys::{NodeId, membership::Roles};
use mesh::Mesh;
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};

use crate::tasks::Tasks;

/// How often it is looked at who is silent; the shortest patience is some seconds.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Computes the placement for one node.
pub struct Placer {
    mesh: Mesh,
    store: Store,
    rules: Rules,
    ranks: Ranks,
    /// When each member was last heard, or first known.
    heard: BTreeMap<NodeId, Instant>,
    placements: watch::Sender<Option<Placement>>,
}

impl Placer {
    /// Places for the first time, before anything comes in: a node that keeps no documents must not be given any.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn start(mesh: Mesh, store: Store) -> Result<Self, StoreError> {
        let mut placer = Self {
            mesh,
            store,
            rules: Rules::default(),
            ranks: Ranks::default(),
            heard: BTreeMap::new(),
            placements: watch::Sender::new(None),
        };
        placer.read_rules().await?;
        placer.look().await?;
        Ok(placer)
    }

    /// The placement as it is now.
    pub fn placements(&self) -> watch::Receiver<Option<Placement>> {
        self.placements.subscribe()
    }

    /// Keeps the placement up to date.
    pub async fn run(mut self, tasks: Tasks) {
        let mut changes = self.store.changes();
        let mut rosters = self.mesh.roster_updates();
        loop {
            let result = tokio::select! {
                () = settings_changed(&mut changes) => self.read_rules().await,
                changed = rosters.changed() => match changed {
                    Ok(()) => Ok(()),
                    Err(_) => return,
                },
                () = tokio::time::sleep(LOOK_EVERY) => Ok(()),
            };
            let result = match result {
                Ok(()) => self.look().await,
                failed => failed,
            };
            if let Err(error) = result {
                tasks.note_error("placement", &error);
            }
        }
    }

    async fn read_rules(&mut self) -> Result<(), StoreError> {
        let documents: BTreeMap<_, Settings> = self.store.list().await?.into_iter().collect();
        let values = effective(&documents);
        self.rules.residency = match values.get(RESIDENCY_SETTING) {
            Some(Setting::Text(label)) if !label.is_empty() => Some(label.clone()),
            _ => None,
        };
        Ok(())
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let seats = self.seats();
        let placement = Placement::of(&self.rules, &seats, &mut self.ranks);
        if self.placements.borrow().as_ref() == Some(&placement) {
            return Ok(());
        }
        if let Some(shortage) = placement.shortage() {
            tracing::error!(
                wanted = shortage.wanted,
                found = shortage.found,
                "too few nodes have the residency label that documents about persons need; nothing is dropped anywhere"
            );
        }
        self.store.place(placement.clone()).await?;
        self.placements.send_replace(Some(placement));
        Ok(())
    }

    /// The members that keep documents, and for how long each has been silent.
    fn seats(&mut self) -> Vec<Seat> {
        let (roster, view, now) = (self.mesh.roster(), self.mesh.view(), Instant::now());
        self.heard.retain(|node, _| roster.get(node).is_some());
        let view = view.borrow();
        let storage = roster.members().filter(|member| member.roles.contains(Roles::STORAGE));
        let seat = storage.map(|member| {
            let heard = self.heard.entry(member.node).or_insert(now);
            if let Some(link) = view.links.get(&member.node) {
                *heard = (*heard).max(link.heard);
            }
            // One without a link is silent from when the mesh suspects it, however seldom it says itself that it is there.
            if view
                .members
                .get(&member.node)
                .is_some_and(|known| known.state.is_there())
            {
                *heard = now;
            }
            let is_self = member.node == self.mesh.node();
            let silent_for = if is_self {
                Duration::ZERO
            } else {
                now.saturating_duration_since(*heard)
            };
            Seat {
                node: member.node,
                residency: member.residency.as_ref().map(|label| label.as_str().to_owned()),
                silent_for,
            }
        });
        seat.collect()
    }
}

async fn settings_changed(changes: &mut broadcast::Receiver<crdt::Change>) {
    loop {
        match changes.recv().await {
            Ok(change) if change.kind == RecordKind::Settings => return,
            Err(broadcast::error::RecvError::Lagged(_)) => return,
            Ok(_) => {}
            // The store has stopped, and with it the node.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
