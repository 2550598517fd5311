//! Limits of requests hold for all gateways together.

use std::time::Duration;

use crdt::records::{
    account::Role,
    settings::{Setting, Settings},
};
use tests::process::PATIENCE;
use tokio::time::{Instant, sleep};

use crate::gate::{Caller, two, until};

/// Requests of one person each second in the long run, and four times as many at once.
const PER_SECOND: usize = 10;
/// Between two requests at one gateway: five times what is allowed.
const ASKED_EVERY: Duration = Duration::from_millis(20);

async fn is_refused(caller: &Caller) -> bool {
    caller.get("/api/v1/me").await.status == 429
}

/// How many requests are let through to whoever asks all of them.
async fn let_through(callers: [&Caller; 2], lasts: Duration) -> usize {
    let (until, mut count) = (Instant::now() + lasts, 0);
    while Instant::now() < until {
        for caller in callers {
            count += usize::from(!is_refused(caller).await);
        }
        sleep(ASKED_EVERY).await;
    }
    count
}

// Red when: whoever goes round two gateways gets twice the limit, or somebody else pays for it. The control, gateways that do not hear
// of each other, stands in `gateway/src/rate/told.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_round_the_gateways_is_limited_as_at_one() {
    let (a, b) = two().await;
    let limit = Setting::Number(PER_SECOND as u64);
    let values = [("limits.requests_per_second_account".to_owned(), limit)].into();
    a.node.store().create(Settings { values }).await.unwrap();
    let mut people = Vec::new();
    for name in ["Рита", "Вера", "Надя"] {
        let at_a = Caller::of(&a, a.account(name, &[Role::User]).await).await;
        people.push((at_a.at(&b), at_a));
    }
    let [(rita_b, rita_a), (vera_b, vera_a), (nadya_b, nadya_a)] = people.try_into().ok().unwrap();
    for vera in [&vera_a, &vera_b] {
        until("the limit holds", PATIENCE, || is_refused(vera)).await;
    }
    until("the last account is there", PATIENCE, || async {
        nadya_b.get("/api/v1/me").await.status == 200
    })
    .await;
    // Each gives its burst before they hear of each other.
    let_through([&rita_a, &rita_b], Duration::from_secs(4)).await;
    let lasts = Duration::from_secs(4);
    let count = let_through([&rita_a, &rita_b], lasts).await;
    let allowed = PER_SECOND * lasts.as_secs() as usize;
    assert!(count > allowed / 2 && count < allowed * 3 / 2, "{count} of {allowed}");
    for nadya in [&nadya_a, &nadya_b] {
        assert!(!is_refused(nadya).await, "somebody else is not affected");
    }
    a.stop().await;
    b.stop().await;
}
