//! What gossip of a member costs it: whoever forwards messages that do not hold is ignored after a few of them.
//!
//! Only what an honest member never does counts. A slow line, a full queue, a message that was promised and came late, many members
//! behind one address: none of that is a fault here, because members are invited and reconciliation repairs what gossip misses.

use std::{collections::HashMap, time::Duration};

use libp2p::gossipsub::{PeerScoreParams, PeerScoreThresholds, TopicHash, TopicScoreParams};

use crate::limits::{GOSSIP_INVALID_HALVED_AFTER, GOSSIP_INVALID_MAX};

/// How often faults fade.
const FADE: Duration = Duration::from_secs(1);

/// Faults on the one topic, each message that was rejected being one; the score is their square, negative.
pub(crate) fn parameters(topic: TopicHash) -> (PeerScoreParams, PeerScoreThresholds) {
    let halves = GOSSIP_INVALID_HALVED_AFTER.as_secs_f64() / FADE.as_secs_f64();
    let faults = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -1.0,
        invalid_message_deliveries_decay: 0.5_f64.powf(1.0 / halves),
        ..TopicScoreParams::default()
    };
    let params = PeerScoreParams {
        topics: HashMap::from([(topic, faults)]),
        app_specific_weight: 0.0,
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: 0.0,
        slow_peer_weight: 0.0,
        decay_interval: FADE,
        retain_score: 2 * GOSSIP_INVALID_HALVED_AFTER,
        ..PeerScoreParams::default()
    };
    let ignored = -f64::from(GOSSIP_INVALID_MAX * GOSSIP_INVALID_MAX);
    let thresholds = PeerScoreThresholds {
        gossip_threshold: ignored / 4.0,
        publish_threshold: ignored / 2.0,
        graylist_threshold: ignored,
        opportunistic_graft_threshold: 0.0,
        ..PeerScoreThresholds::default()
    };
    (params, thresholds)
}
