//! The bookkeeping against a model of the context: whatever the order of things, what the cache says is computed is computed.

use std::collections::BTreeSet;

use rand::RngExt;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use super::*;
use crate::engine::state::StateError;

const CARD: usize = 40;

const fn room(is_unified: bool) -> Room {
    Room {
        tails: 6,
        cards: 2,
        cells: 3 * 200,
        sequence: 200,
        parked_bytes: 10_000,
        is_unified,
    }
}

/// The contents of a context, as llama.cpp would hold it.
#[derive(Default)]
struct Context {
    tails: BTreeMap<usize, Vec<TokenId>>,
    cards: BTreeMap<usize, Vec<TokenId>>,
    saved: BTreeMap<u64, Vec<TokenId>>,
}

impl Context {
    fn carry_out(&mut self, cache: &mut Cache, moves: Vec<Move>) {
        for one in moves {
            match one {
                Move::Park { tail, from, to, ticket } => {
                    let part = self.tails[&tail][from..to].to_vec();
                    let bytes = part.len() * 10;
                    self.saved.insert(ticket, part);
                    let more = cache.parked(ticket, bytes);
                    self.carry_out(cache, more);
                }
                Move::Clear { tail, from } => self.tails.entry(tail).or_default().truncate(from),
                Move::ClearCard { card } => drop(self.cards.remove(&card)),
                Move::CopyCard { card, tail } => {
                    let whole = self.cards[&card].clone();
                    let empty = self.tails.insert(tail, whole).unwrap_or_default();
                    assert!(empty.is_empty(), "a card is copied into an empty tail");
                }
                Move::PinCard { tail, card, to } => {
                    let beginning = self.tails[&tail][..to].to_vec();
                    assert!(self.cards.insert(card, beginning).is_none(), "into an empty one");
                }
                Move::Restore { ticket, tail, from, to } => {
                    let part = self.saved.remove(&ticket).expect("it was saved");
                    let tail = self.tails.entry(tail).or_default();
                    assert_eq!((tail.len(), from + part.len()), (from, to));
                    tail.extend(part);
                }
                Move::Drop { ticket } => drop(self.saved.remove(&ticket)),
            }
        }
    }
}

fn conversation(card: u8, session: u8) -> Conversation {
    Conversation {
        card: [card; 32],
        account: [session / 4; 32],
        session: [session; 32],
    }
}

fn prompt(card: u8, own: &[TokenId]) -> Vec<TokenId> {
    let card = std::iter::repeat_n(-TokenId::from(card) - 1, CARD);
    card.chain(own.iter().copied()).collect()
}

/// Plays a generation from its place to its end; true unless it has to wait.
fn play(
    (cache, context): (&mut Cache, &mut Context),
    conversation: Conversation,
    prompt: &[TokenId],
    answer: &[TokenId],
    now: Moment,
) -> Option<usize> {
    let place = cache.place(conversation, prompt, CARD, 50, now).ok()?;
    context.carry_out(cache, place.moves);
    if let Some((card, tokens)) = place.computes_card {
        context.cards.insert(card, prompt[..tokens].to_vec());
        cache.card_ready(card);
        context.carry_out(cache, vec![Move::CopyCard { card, tail: place.tail }]);
        cache.extend(place.tail, &prompt[..tokens]);
    }
    let have = cache.length(place.tail);
    let tail = context.tails.entry(place.tail).or_default();
    assert_eq!(
        *tail,
        prompt[..have],
        "what counts as computed is this prompt's own beginning"
    );
    let rest: Vec<_> = prompt[have..].iter().chain(answer).copied().collect();
    tail.extend(&rest);
    cache.extend(place.tail, &rest);
    assert!(
        cache.cells() <= cache.room.cells || !cache.room.is_unified,
        "more promised than there is"
    );
    let moves = cache.release(place.tail, now);
    context.carry_out(cache, moves);
    Some(place.reused)
}

#[test]
fn a_card_is_computed_once_and_the_second_turn_continues_the_first() {
    for is_unified in [true, false] {
        let (mut cache, mut context) = (Cache::new(room(is_unified)), Context::default());
        let mut turn = |session, own: &[TokenId], now| {
            let prompt = prompt(1, own);
            play(
                (&mut cache, &mut context),
                conversation(1, session),
                &prompt,
                &[7, 8],
                Duration::from_secs(now),
            )
        };
        assert_eq!(turn(1, &[1, 2, 3], 1), Some(0));
        assert_eq!(
            turn(2, &[1, 2, 3], 2),
            Some(CARD),
            "another person shares the card and nothing else"
        );
        assert_eq!(turn(1, &[1, 2, 3, 7, 8, 9], 3), Some(CARD + 5));
        assert_eq!(
            turn(1, &[1, 5], 4),
            Some(CARD + 1),
            "an edited message is computed from where it differs"
        );
    }
}

#[test]
fn those_who_come_while_a_card_is_computed_wait_for_it() {
    let mut cache = Cache::new(room(true));
    let now = Duration::ZERO;
    let first = cache
        .place(conversation(1, 1), &prompt(1, &[1]), CARD, 10, now)
        .unwrap();
    assert_eq!(first.computes_card, Some((0, CARD)));
    let second = |cache: &mut Cache| cache.place(conversation(1, 2), &prompt(1, &[2]), CARD, 10, now);
    assert_eq!(second(&mut cache), Err(NoPlace::CardComing));
    // The first one is cancelled half way: the next one computes the card.
    cache.release(first.tail, now);
    assert!(second(&mut cache).unwrap().computes_card.is_some());
}

#[test]
fn a_tail_that_had_to_go_comes_back_from_memory() {
    for is_unified in [true, false] {
        let (mut cache, mut context) = (Cache::new(room(is_unified)), Context::default());
        let own: Vec<TokenId> = (0..30).collect();
        let mut seconds = 0;
        let mut turn = |session: u8, own: &[TokenId]| {
            seconds += 1;
            let prompt = prompt(1, own);
            let now = Duration::from_secs(seconds);
            play(
                (&mut cache, &mut context),
                conversation(1, session),
                &prompt,
                &[99],
                now,
            )
            .unwrap()
        };
        turn(0, &own);
        for session in 1..10 {
            turn(session, &own);
        }
        let longer: Vec<_> = own.iter().copied().chain([99, 5]).collect();
        assert_eq!(turn(0, &longer), CARD + 31, "unified {is_unified}");
    }
}

#[test]
fn nobody_ever_gets_what_belongs_to_another() {
    for seed in 0..300 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut cache, mut context) = (Cache::new(room(seed % 2 == 0)), Context::default());
        let mut said: BTreeMap<(u8, u8), Vec<TokenId>> = BTreeMap::new();
        let mut reused = 0;
        for step in 0..120u64 {
            let (card, session) = (random.random_range(0..4), random.random_range(0..12));
            let own = said.entry((card, session)).or_default();
            if own.len() > 80 || random.random_bool(0.1) {
                own.clear();
            }
            own.extend((0..random.random_range(1..12)).map(|_| random.random_range(0..50)));
            let whole = prompt(card, own);
            let answer = [random.random_range(0..50), 50];
            let now = Duration::from_secs(step);
            // `play` asserts that all that counts as computed is the prompt's own.
            reused += play(
                (&mut cache, &mut context),
                conversation(card, session),
                &whole,
                &answer,
                now,
            )
            .unwrap_or(0);
            own.extend(answer);
            if random.random_bool(0.05) {
                let moves = cache.expire(now + TAIL_IDLE_MAX);
                context.carry_out(&mut cache, moves);
            }
            let known: BTreeSet<_> = cache.parked.keys().collect();
            assert_eq!(
                known,
                context.saved.keys().collect(),
                "seed {seed}: nothing is kept that is not known"
            );
        }
        assert!(reused > 1000, "seed {seed}: {reused}");
    }
}

/// What one node has computed of a conversation goes to another one, with its card or behind it, and comes back longer.
#[test]
fn a_conversation_moves_to_another_cache_and_brings_its_card() {
    for is_unified in [true, false] {
        let mut nodes: Vec<(Cache, Context)> = (0..2)
            .map(|_| (Cache::new(room(is_unified)), Context::default()))
            .collect();
        let mut own: Vec<TokenId> = (0..20).collect();
        for turn in 0..6 {
            let now = Duration::from_secs(turn);
            let (to, from) = (
                usize::try_from(turn).unwrap() % 2,
                usize::try_from(turn + 1).unwrap() % 2,
            );
            let whole = prompt(1, &own);
            let seen = nodes[to].0.look(conversation(1, 1), &whole, CARD);
            // A stranger's conversation with the same words is given to nobody.
            assert_eq!(nodes[from].0.export(conversation(1, 2), &whole, seen.from), None);
            if turn > 0 {
                let (cache, context) = &mut nodes[from];
                let (held, moves) = cache
                    .export(conversation(1, 1), &whole, seen.from)
                    .expect("it is there");
                context.carry_out(cache, moves);
                let (until, state) = match held {
                    Held::Tail { tail, to } => (to, context.tails[&tail][seen.from..to].to_vec()),
                    Held::Parked { ticket, to } => (to, context.saved[&ticket].clone()),
                };
                assert!(
                    until > seen.cached,
                    "unified {is_unified}, turn {turn}: {held:?} {seen:?}"
                );
                let (cache, context) = &mut nodes[to];
                let known = whole[..until].to_vec();
                let (ticket, moves) = cache.adopt(conversation(1, 1), known, seen.from, 100, now).unwrap();
                context.carry_out(cache, moves);
                context.saved.insert(ticket, state);
            }
            let (cache, context) = &mut nodes[to];
            let reused = play((cache, context), conversation(1, 1), &whole, &[60], now).unwrap();
            assert!(turn == 0 || reused == whole.len() - 1, "turn {turn}: {reused}");
            // Others share the card that came with it.
            let other = play((cache, context), conversation(1, 9), &prompt(1, &[7]), &[8], now).unwrap();
            assert!(other >= CARD || !is_unified, "turn {turn}: {other}");
            own.extend([60, 3]);
        }
    }
}

#[test]
fn a_state_that_has_no_room_or_comes_too_late_is_refused() {
    let mut cache = Cache::new(room(true));
    let whole = prompt(1, &[1, 2, 3]);
    let adopt = |cache: &mut Cache, bytes| cache.adopt(conversation(1, 1), whole.clone(), 0, bytes, Duration::ZERO);
    let no_room = StateError::NoRoom {
        bytes: 10_001,
        room: 10_000,
    };
    assert_eq!(adopt(&mut cache, 10_001), Err(no_room));
    cache
        .place(conversation(1, 1), &whole, CARD, 10, Duration::ZERO)
        .unwrap();
    assert_eq!(adopt(&mut cache, 10_000), Err(StateError::Busy));
}

#[test]
fn more_than_fits_waits_and_what_is_old_goes() {
    let mut cache = Cache::new(room(true));
    for session in 0..6 {
        let own = [TokenId::from(session)];
        cache
            .place(conversation(session, session), &own, 0, 10, Duration::ZERO)
            .unwrap();
    }
    let seventh = cache.place(conversation(9, 9), &[1, 2], 0, 10, Duration::ZERO);
    assert_eq!(seventh, Err(NoPlace::Full));
    for tail in 0..6 {
        cache.extend(tail, &[1]);
        cache.release(tail, Duration::ZERO);
    }
    assert_eq!(cache.next_expiry(Duration::ZERO), Some(TAIL_IDLE_MAX));
    assert_eq!(cache.expire(TAIL_IDLE_MAX * 2).len(), 6);
    assert_eq!(cache.next_expiry(Duration::ZERO), None);
}
