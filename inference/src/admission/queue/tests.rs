//! Who goes first, who goes when there are too many, and that nothing is ever lost.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn person(number: u8) -> ContentId {
    ContentId([number; 32])
}

fn asked(number: u8, at: u64) -> Asked {
    Asked {
        account: person(number),
        class: Class::Person,
        at: Timestamp(at),
    }
}

const SUMMARY: Asked = Asked {
    account: ContentId([9; 32]),
    class: Class::Background,
    at: Timestamp(0),
};

const fn at(seconds: u64) -> Moment {
    Duration::from_secs(seconds)
}

fn queue(places: usize) -> Queue {
    let mut queue = Queue::new(Fairness::PerPerson);
    assert_eq!(queue.set_places(at(0), places), []);
    queue
}

#[test]
fn ten_questions_of_one_person_let_the_first_of_another_go_before_their_second() {
    let mut queue = queue(1);
    let (running, effects) = queue.enter(at(0), asked(1, 0));
    assert_eq!(effects, [Effect::Admitted(running)]);
    let many: Vec<Ticket> = (1..10).map(|number| queue.enter(at(0), asked(1, number)).0).collect();
    let (other, effects) = queue.enter(at(1), asked(2, 100));
    assert_eq!(effects, []);
    assert_eq!(queue.standing(at(1), other).unwrap().ahead, 0);
    assert_eq!(queue.standing(at(1), many[0]).unwrap().ahead, 1);
    assert_eq!(queue.leave(at(2), running), [Effect::Admitted(other)]);
}

#[test]
fn whoever_waits_knows_how_many_go_before_and_for_how_long() {
    let mut queue = queue(2);
    let first = queue.enter(at(0), asked(1, 0)).0;
    let second = queue.enter(at(2), asked(2, 1)).0;
    let third = queue.enter(at(3), asked(3, 2)).0;
    let fourth = queue.enter(at(3), asked(4, 3)).0;
    let fifth = queue.enter(at(3), asked(5, 4)).0;
    let standing = |queue: &Queue, ticket| {
        let Standing { ahead, wait } = queue.standing(at(3), ticket).unwrap();
        (ahead, wait.as_secs())
    };
    // Five seconds each, until something else was seen.
    assert_eq!(standing(&queue, third), (0, 2));
    assert_eq!(standing(&queue, fourth), (1, 4));
    assert_eq!(standing(&queue, fifth), (2, 7));
    assert_eq!(queue.standing(at(3), first), None);
    // Who goes away is waited for no longer, at once.
    assert_eq!(queue.leave(at(3), third), []);
    assert_eq!(standing(&queue, fifth), (1, 4));
    assert_eq!(queue.leave(at(3), first), [Effect::Admitted(fourth)]);
    assert_eq!(queue.leave(at(3), second), [Effect::Admitted(fifth)]);
    assert_eq!(queue.questions(), 0);
}

#[test]
fn a_full_queue_refuses_the_youngest_question_of_whoever_asks_most() {
    let mut queue = queue(1);
    queue.enter(at(0), asked(1, 0));
    let waiting = u64::try_from(QUESTIONS_WAITING_MAX).unwrap();
    let many: Vec<Ticket> = (1..=waiting)
        .map(|number| queue.enter(at(0), asked(1, number)).0)
        .collect();
    // Their own next one goes, with where it would have stood.
    let (next, effects) = queue.enter(at(0), asked(1, 1000));
    let refused = |effect: &Effect| match effect {
        Effect::Refused(ticket, standing) => (*ticket, standing.ahead, standing.wait > at(60)),
        other => panic!("{other:?}"),
    };
    assert_eq!(effects.iter().map(refused).collect::<Vec<_>>(), [(next, 64, true)]);
    // Somebody else's first one stays, and one of theirs goes.
    let (other, effects) = queue.enter(at(0), asked(2, 2000));
    assert_eq!(refused(&effects[0]).0, *many.last().unwrap());
    assert_eq!(queue.standing(at(0), other).unwrap().ahead, 0);
    assert_eq!(queue.questions(), QUESTIONS_WAITING_MAX);
}

#[test]
fn a_question_that_was_refused_keeps_its_age() {
    let mut queue = queue(1);
    for number in 0..=QUESTIONS_WAITING_MAX {
        let number = u8::try_from(number).unwrap();
        queue.enter(at(0), asked(number, u64::from(number) + 10));
    }
    let (_, effects) = queue.enter(at(1), asked(200, 500));
    assert!(matches!(effects[..], [Effect::Refused(..)]));
    let (old, effects) = queue.enter(at(2), asked(201, 5));
    assert!(matches!(effects[..], [Effect::Refused(young, _)] if young != old));
    assert_eq!(queue.standing(at(2), old).unwrap().ahead, 0);
}

#[test]
fn background_work_waits_for_people_and_gives_its_place_back() {
    let mut queue = queue(2);
    let (summary, effects) = queue.enter(at(0), SUMMARY);
    assert_eq!(effects, [Effect::Admitted(summary)]);
    let (first, effects) = queue.enter(at(0), asked(1, 0));
    assert_eq!(effects, [Effect::Admitted(first)], "there is a place beside it");
    let (second, effects) = queue.enter(at(0), asked(2, 1));
    assert_eq!(effects, [Effect::Yield(summary)]);
    assert_eq!(queue.standing(at(0), second).unwrap(), Standing::default());
    assert_eq!(queue.leave(at(0), summary), [Effect::Admitted(second)]);
    // The next one waits until nobody else does.
    let (later, effects) = queue.enter(at(0), SUMMARY);
    assert_eq!(effects, []);
    let (third, _) = queue.enter(at(0), asked(1, 2));
    assert_eq!(queue.leave(at(1), first), [Effect::Admitted(third)]);
    assert_eq!(queue.leave(at(1), second), [Effect::Admitted(later)]);
    for _ in 0..BACKGROUND_WAITING_MAX + 2 {
        queue.enter(at(1), SUMMARY);
    }
    let (refused, effects) = queue.enter(at(1), SUMMARY);
    assert!(matches!(effects[..], [Effect::Refused(ticket, _)] if ticket == refused));
}

#[test]
fn who_was_away_has_saved_nothing_up_and_who_took_much_still_has() {
    let mut queue = queue(1);
    let long = queue.enter(at(0), asked(1, 0)).0;
    let other = queue.enter(at(0), asked(2, 1)).0;
    queue.leave(at(100), long);
    // The second person works on alone for a long time; the first comes back behind them only by what both had.
    queue.enter(at(100), asked(2, 2));
    let returned = queue.enter(at(101), asked(1, 3)).0;
    let third = queue.enter(at(101), asked(3, 4)).0;
    assert_eq!(
        queue.standing(at(101), third).unwrap().ahead,
        0,
        "a new person has nothing yet"
    );
    assert_eq!(queue.standing(at(101), returned).unwrap().ahead, 2);
    queue.leave(at(102), other);
}

/// Whatever happens: no more places than there are, nothing lost and nothing doubled, a bound, and a free place only where nobody waits.
#[test]
fn whatever_happens_the_queue_is_bounded_and_nothing_is_lost() {
    for seed in 0..20 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let places = random.random_range(1..6);
        let mut queue = queue(places);
        let (mut waiting, mut held) = (Vec::new(), Vec::new());
        let mut now = Duration::ZERO;
        for step in 0..600_u64 {
            now += Duration::from_millis(random.random_range(0..400));
            let effects = if random.random_bool(0.55) {
                let class = if random.random_bool(0.1) {
                    Class::Background
                } else {
                    Class::Person
                };
                let account = person(random.random_range(0..8_u8).min(3));
                let at = Timestamp(step);
                let (ticket, effects) = queue.enter(now, Asked { account, class, at });
                waiting.push(ticket);
                effects
            } else if !held.is_empty() && random.random_bool(0.7) {
                let ticket = held.swap_remove(random.random_range(0..held.len()));
                queue.leave(now, ticket)
            } else if !waiting.is_empty() {
                let ticket = waiting.swap_remove(random.random_range(0..waiting.len()));
                queue.leave(now, ticket)
            } else {
                continue;
            };
            for effect in effects {
                match effect {
                    Effect::Admitted(ticket) => {
                        let place = waiting.iter().position(|other| *other == ticket).expect("it waited");
                        held.push(waiting.swap_remove(place));
                    }
                    Effect::Refused(ticket, _) => {
                        let place = waiting.iter().position(|other| *other == ticket).expect("it waited");
                        waiting.swap_remove(place);
                    }
                    Effect::Yield(ticket) => assert!(held.contains(&ticket)),
                }
            }
            assert!(held.len() <= places);
            assert!(waiting.is_empty() || held.len() == places, "seed {seed}, step {step}");
            assert!(waiting.len() <= QUESTIONS_WAITING_MAX + BACKGROUND_WAITING_MAX);
            assert!(queue.counters.len() <= 9);
            if step % 20 > 0 {
                continue;
            }
            let order = queue.order(now);
            assert_eq!(order.len(), waiting.len());
            let mut longest = Duration::ZERO;
            for (place, ticket) in order.iter().enumerate() {
                let standing = queue.standing(now, *ticket).expect("it waits");
                assert_eq!(standing.ahead as usize, place);
                assert!(standing.wait >= longest);
                longest = standing.wait;
            }
        }
    }
}
