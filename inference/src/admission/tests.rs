//! What those who wait are told, and when.

use std::{sync::mpsc, time::Duration};

use keys::{ContentId, Timestamp};
use tokio::task::JoinHandle;

use super::*;

fn asked(number: u8, class: Class) -> Asked {
    Asked {
        account: ContentId([number; 32]),
        class,
        at: Timestamp(u64::from(number)),
    }
}

type Told = mpsc::Receiver<(Instant, Standing)>;

/// Waits in a task of its own and reports what it is told.
fn wait(admission: &Admission, number: u8) -> (JoinHandle<Result<Place, Standing>>, Told) {
    let waiter = admission.enter(1, asked(number, Class::Person));
    let (sender, told) = mpsc::channel();
    let tell = move |standing| {
        // Some tests do not listen.
        let _ = sender.send((Instant::now(), standing));
    };
    (tokio::spawn(waiter.place(tell)), told)
}

#[tokio::test(start_paused = true)]
async fn who_waits_hears_their_place_at_once_at_every_change_and_every_second() {
    let admission = Admission::new(Fairness::PerPerson);
    let (first, untold) = wait(&admission, 1);
    let first = first.await.unwrap().unwrap();
    let (second, _) = wait(&admission, 2);
    let (third, told) = wait(&admission, 3);
    let began = Instant::now();
    tokio::time::sleep(Duration::from_millis(3500)).await;
    drop(first);
    let second = second.await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(second);
    third.await.unwrap().unwrap();
    assert!(untold.try_recv().is_err(), "who gets a place at once hears of no queue");
    let told: Vec<(u128, u32)> = told
        .try_iter()
        .map(|(at, standing)| ((at - began).as_millis(), standing.ahead))
        .collect();
    let [(0, 1), (1000, 1), (2000, 1), (3000, 1), (changed, 0)] = told[..] else {
        panic!("{told:?}")
    };
    assert!((3500..3800).contains(&changed), "{changed}");
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_is_gone_at_once() {
    let admission = Admission::new(Fairness::PerPerson);
    let questions = admission.questions();
    let place = admission.enter(1, asked(1, Class::Person)).place(|_| {}).await.unwrap();
    let (second, _) = wait(&admission, 2);
    let (third, _) = wait(&admission, 3);
    tokio::task::yield_now().await;
    assert_eq!(*questions.borrow(), 2);
    second.abort();
    assert!(second.await.is_err());
    assert_eq!(*questions.borrow(), 1);
    drop(place);
    drop(third.await.unwrap().unwrap());
    assert_eq!((*questions.borrow(), admission.lock().words.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn background_work_is_told_that_a_person_wants_its_place() {
    let admission = Admission::new(Fairness::PerPerson);
    let summary = admission
        .enter(1, asked(9, Class::Background))
        .place(|_| {})
        .await
        .unwrap();
    assert!(
        tokio::time::timeout(Duration::from_secs(5), summary.wanted())
            .await
            .is_err()
    );
    let (person, _) = wait(&admission, 1);
    tokio::time::timeout(Duration::from_secs(1), summary.wanted())
        .await
        .expect("it is wanted");
    drop(summary);
    person.await.unwrap().unwrap();
}
