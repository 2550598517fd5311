//! A model that has clearly more memory than was set aside for it is an alert: what was planned with is wrong then, and somebody should look.

use std::{collections::BTreeMap, time::Duration};

use crdt::{
    Store, StoreError,
    records::alert::{self, Alert, AlertEdit, Severity},
};
use inference::{Engines, keeper::plan::ModelView};
use keys::{NodeId, Timestamp};

use crate::tasks::Tasks;

/// What kind of alert it is.
const NAME: &str = "model.memory";
/// The name of the task.
const TASK: &str = "memory of models";
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Watches this node's models until it stops.
pub(super) async fn watch(engines: Engines, store: Store, node: NodeId, tasks: Tasks) {
    // Not at once: a node that keeps no records itself has found those that do by then.
    let mut look = tokio::time::interval_at(tokio::time::Instant::now() + LOOK_EVERY, LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_told = None;
    loop {
        look.tick().await;
        let over = engines
            .models()
            .into_iter()
            .filter(ModelView::is_overrun)
            .collect::<Vec<_>>();
        let is_over = !over.is_empty();
        if is_told == Some(is_over) {
            continue;
        }
        match tell(&store, node, &over).await {
            Ok(()) => is_told = Some(is_over),
            Err(error) => tasks.note_error(TASK, &error),
        }
    }
}

/// Starts the watch under its name.
pub(super) fn start(tasks: &Tasks, engines: &Engines, store: &Store, node: NodeId) {
    tasks.spawn(TASK, watch(engines.clone(), store.clone(), node, tasks.clone()));
}

/// Opens the alert, has it seen again, or ends it.
async fn tell(store: &Store, node: NodeId, over: &[ModelView]) -> Result<(), StoreError> {
    let now = Timestamp::now();
    let alerts: BTreeMap<_, _> = store.list::<Alert>().await?.into_iter().collect();
    let known = alert::standing(&alerts).get(&(NAME.to_owned(), Some(node))).copied();
    match (known, over.first()) {
        (None, None) => Ok(()),
        (Some(known), None) => store.edit(known, AlertEdit::Resolve(now)).await,
        (Some(known), Some(_)) => {
            let severity = Severity::Medium;
            store.edit(known, AlertEdit::See { at: now, severity }).await
        }
        (None, Some(worst)) => store.create(opened(worst, node, now)).await.map(drop),
    }
}

fn opened(model: &ModelView, node: NodeId, now: Timestamp) -> Alert {
    let (has, planned) = (model.measured_bytes, model.estimated_bytes);
    let text = format!(
        "the model {} has {} MB of memory, {} MB were set aside for it",
        model.name,
        has / 1_000_000,
        planned / 1_000_000
    );
    Alert {
        value: Some(has as f64),
        limit: Some(planned as f64),
        ..Alert::new(NAME, Some(node), Severity::Medium, &text, now)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crdt::{StoreSettings, ingress::Right, records::alert::AlertState};
    use inference::keeper::plan::Condition;
    use keys::NodeKey;

    use super::*;

    fn view(measured_bytes: u64) -> ModelView {
        ModelView {
            name: "a".into(),
            is_main: true,
            condition: Condition::Loaded,
            expected: Duration::ZERO,
            estimated_bytes: 1_000_000_000,
            measured_bytes,
            uses: 0,
        }
    }

    /// Red when an overrun opens no alert, opens one twice, or does not end it.
    #[tokio::test]
    async fn an_overrun_opens_one_alert_which_ends_with_it_and_opens_again() {
        let directory = tempfile::tempdir().unwrap();
        let key = NodeKey::from_seed(&[1; 32]);
        let node = key.id();
        let settings = StoreSettings {
            directory: directory.path().join("store"),
            keys: directory.path().join("keys"),
            key,
            right: Arc::new(|_| Right::Member),
        };
        let (store, _outputs, _) = Store::open(settings).unwrap();
        let over = [view(2_000_000_000)];
        assert!(over[0].is_overrun() && !view(1_010_000_000).is_overrun());
        for round in 1..=2 {
            tell(&store, node, &[]).await.unwrap();
            for _ in 0..2 {
                tell(&store, node, &over).await.unwrap();
                let alerts = store.list::<Alert>().await.unwrap();
                let open: Vec<_> = alerts
                    .iter()
                    .filter(|(_, alert)| alert.state() == AlertState::Open)
                    .collect();
                assert_eq!((alerts.len(), open.len()), (round, 1));
                assert!(open[0].1.text.contains("has 2000 MB of memory, 1000 MB"), "{open:?}");
            }
            tell(&store, node, &[]).await.unwrap();
            let alerts = store.list::<Alert>().await.unwrap();
            let is_over = |alert: &Alert| matches!(alert.state(), AlertState::Resolved { .. });
            assert!(alerts.iter().all(|(_, alert)| is_over(alert)));
        }
        store.stop().await;
    }
}
