//! `GET /api/v1/complaints`: what moderators have to look at: what nobody looks at yet goes first, the oldest of it before.

use std::sync::Arc;

use axum::extract::State;
use crdt::records::complaint::{Complaint, ComplaintState};
use keys::ContentId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{ComplaintRow, StateBody};
use crate::{
    app::App,
    auth::Person,
    error::{ApiError, ErrorBody},
    routes::{
        Json, Query,
        page::{PageQuery, page},
    },
};

/// Which complaints are wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ComplaintsQuery {
    /// Only those that have got so far.
    #[param(inline)]
    state: Option<StateBody>,
    /// What the page before said in `next`; the first page without it.
    #[param(max_length = 200)]
    after: Option<String>,
    /// Entries of the page; 50 unless told otherwise.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
}

/// A page of the queue.
#[derive(Serialize, ToSchema)]
pub(crate) struct ComplaintsAnswer {
    complaints: Vec<ComplaintRow>,
    /// How many nobody has decided, whatever is wanted here.
    undecided: usize,
    /// Where the next page begins; `null` behind the last one.
    next: Option<String>,
}

#[utoipa::path(get, path = "/api/v1/complaints", params(ComplaintsQuery), responses(
    (status = 200, body = ComplaintsAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 503, body = ErrorBody),
))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    _person: Person,
    Query(query): Query<ComplaintsQuery>,
) -> Result<Json<ComplaintsAnswer>, ApiError> {
    let mut found = app.store.list::<Complaint>().await?;
    let undecided = found
        .iter()
        .filter(|(_, complaint)| complaint.decided().is_none())
        .count();
    found.retain(|(_, complaint)| {
        query
            .state
            .is_none_or(|state| state == StateBody::from(complaint.state()))
    });
    found.sort_by_cached_key(cursor);
    let place = PageQuery {
        after: query.after,
        limit: query.limit,
    };
    let (found, next) = page(found, &place, cursor)?;
    let mut complaints = Vec::with_capacity(found.len());
    for (id, complaint) in &found {
        complaints.push(ComplaintRow::of(&app, *id, complaint).await?);
    }
    Ok(Json(ComplaintsAnswer {
        complaints,
        undecided,
        next,
    }))
}

/// What waits goes by age, the oldest first; what is decided the other way round.
fn cursor((id, complaint): &(ContentId, Complaint)) -> String {
    let (rank, time) = match (complaint.state(), complaint.decided()) {
        (ComplaintState::Decided, Some(decided)) => (2, u64::MAX - decided.id.at().0),
        (ComplaintState::Taken, _) => (1, complaint.created.0),
        _ => (0, complaint.created.0),
    };
    format!("{rank}{time:016x}{id}")
}

#[cfg(test)]
mod tests {
    use crdt::records::{
        EntryId,
        complaint::{ComplaintReason, Decided, Decision, Taken},
    };
    use keys::Timestamp;

    use super::*;

    fn complaint(created: u64, taken: bool, decided: Option<u64>) -> Complaint {
        let by = ContentId([9; 32]);
        Complaint {
            account: ContentId([1; 32]),
            character: ContentId([2; 32]),
            author: None,
            answer: None,
            reason: ComplaintReason::Other,
            words: "".into(),
            name: "Лис".into(),
            excerpt: "".into(),
            created: Timestamp(created),
            taken: taken.then_some(Taken {
                by,
                at: Timestamp(created),
            }),
            decisions: decided
                .map(|at| Decided {
                    id: EntryId::new(Timestamp(at), 1),
                    decision: Decision::Dismissed,
                    by,
                })
                .into_iter()
                .collect(),
        }
    }

    // Red when: something decided or taken stands before what nobody has looked at, or the oldest waits behind newer ones.
    #[test]
    fn what_nobody_looks_at_goes_first() {
        let mut all: Vec<_> = [
            complaint(1, true, Some(50)),
            complaint(2, false, Some(60)),
            complaint(30, true, None),
            complaint(20, true, None),
            complaint(40, false, None),
            complaint(10, false, None),
        ]
        .into_iter()
        .map(|complaint| (ContentId([3; 32]), complaint))
        .collect();
        all.sort_by_cached_key(cursor);
        let order: Vec<u64> = all.iter().map(|(_, complaint)| complaint.created.0).collect();
        assert_eq!(order, [10, 40, 20, 30, 2, 1]);
    }
}
