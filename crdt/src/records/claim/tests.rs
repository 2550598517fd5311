//! Tests of [`super`]: one winner, the same for everyone, whatever claims there are.

use proptest::prelude::*;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::*;
use crate::records::testing::{Replicas, config, steps};

const PEPPER: [u8; 32] = [6; 32];

fn key(text: &str) -> [u8; 32] {
    claim_key(ClaimKind::AccountName, text, &PEPPER)
}

fn claim(subject: u8, known: &BTreeMap<ContentId, Claim>) -> Claim {
    Claim::new(
        ClaimKind::AccountName,
        key("Лис"),
        ContentId([subject; 32]),
        known,
        Timestamp(1),
    )
}

fn id(number: u8) -> ContentId {
    ContentId::of(&[number])
}

fn holder(claims: &BTreeMap<ContentId, Claim>) -> Option<ContentId> {
    let standings = standings(claims);
    let mut holders = standings
        .iter()
        .filter(|(_, standing)| matches!(standing, Standing::Holder { .. }));
    let holder = holders.next().map(|(id, _)| *id);
    assert!(holders.next().is_none(), "two winners");
    holder
}

#[test]
fn names_are_compared_in_their_normal_form_and_keys_need_the_pepper() {
    assert_eq!(key("  ЛИС   Рыжий "), key("лис рыжий"));
    assert_ne!(key("лис"), key("лиса"));
    assert_ne!(key("лис"), claim_key(ClaimKind::CharacterName, "лис", &PEPPER));
    assert_ne!(key("лис"), claim_key(ClaimKind::AccountName, "лис", &[7; 32]));
}

#[test]
fn verified_goes_before_earlier_and_earlier_before_hash() {
    let ids: BTreeSet<ContentId> = (0..3).map(id).collect();
    let [small, middle, great] = ids.into_iter().collect::<Vec<_>>().try_into().unwrap();
    // Unaware of each other: the smaller hash.
    let mut claims = BTreeMap::from([(small, claim(1, &BTreeMap::new())), (great, claim(2, &BTreeMap::new()))]);
    assert_eq!(holder(&claims), Some(small));
    // One that was known when another was made goes before it, whatever the hashes.
    let known = BTreeMap::from([(great, claims[&great].clone())]);
    claims.insert(small, claim(1, &known));
    assert_eq!(holder(&claims), Some(great));
    // Through a third one, too, even when that one has been given up.
    let mut between = claim(3, &known);
    between.released = true;
    claims.insert(middle, between.clone());
    claims.insert(small, claim(1, &BTreeMap::from([(middle, between)])));
    assert_eq!(claims[&small].earlier, BTreeSet::from([middle]));
    assert_eq!(holder(&claims), Some(great));
    // Verified goes before everything.
    claims.get_mut(&small).unwrap().verified = true;
    assert_eq!(holder(&claims), Some(small));
    claims.get_mut(&great).unwrap().verified = true;
    assert_eq!(holder(&claims), Some(great), "of two verified ones the earlier");
    claims.get_mut(&great).unwrap().released = true;
    assert_eq!(holder(&claims), Some(small), "what is given up stands nowhere");
}

#[test]
fn the_others_keep_everything_and_are_told() {
    let claims: BTreeMap<ContentId, Claim> = (0..4)
        .map(|number| (id(number), claim(number, &BTreeMap::new())))
        .collect();
    let standings = standings(&claims);
    let winner = *claims.keys().next().unwrap();
    let mut shown = BTreeSet::new();
    for claim in claims.keys() {
        let name = shown_name("Лис", standings.get(claim));
        match &standings[claim] {
            Standing::Holder { contenders } => {
                assert!(*claim == winner && contenders.len() == 3 && name == "Лис");
            }
            Standing::Conflict { holder, suffix } => {
                assert!(*holder == winner && suffix.len() == SUFFIX_CHARACTERS && name == format!("Лис~{suffix}"));
                assert!(
                    suffix
                        .chars()
                        .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
                );
            }
        }
        shown.insert(name);
    }
    assert_eq!(shown.len(), 4, "each is shown by another name");
    // Two losers whose short suffixes are alike get longer ones.
    let alike = |last: u8| {
        let mut id = [200; 32];
        id[5] = last;
        ContentId(id)
    };
    let claims = BTreeMap::from([
        (ContentId([0; 32]), claim(1, &BTreeMap::new())),
        (alike(1), claim(2, &BTreeMap::new())),
        (alike(2), claim(3, &BTreeMap::new())),
    ]);
    let standings = super::standings(&claims);
    let names: BTreeSet<String> = claims
        .keys()
        .map(|claim| shown_name("Лис", standings.get(claim)))
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(shown_name("Лис", None), "Лис");
}

/// Claims made at random times on nodes that know different ones: however they become known, there is one winner in the end, it is not
/// preceded by another contender, and a claim of another name changes nothing.
#[test]
fn everyone_names_the_same_winner() {
    for seed in 0..300u64 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut nodes: Vec<BTreeMap<ContentId, Claim>> = vec![BTreeMap::new(); 3];
        let mut all: BTreeMap<ContentId, Claim> = BTreeMap::new();
        for number in 0..(2 + random.next_u32() % 7) {
            let node = random.next_u32() as usize % 3;
            let mut claim = claim(number as u8, &nodes[node]);
            claim.verified = random.next_u32().is_multiple_of(5);
            let id = ContentId::of(&random.next_u64().to_le_bytes());
            nodes[node].insert(id, claim.clone());
            all.insert(id, claim);
            // Now and then one node hears from another.
            let (into, from) = (random.next_u32() as usize % 3, random.next_u32() as usize % 3);
            if random.next_u32().is_multiple_of(2) {
                let heard = nodes[from].clone();
                nodes[into].extend(heard);
            }
        }
        let winner = holder(&all).unwrap();
        let is_contender = |id: &ContentId| !all.values().any(|claim| claim.verified) || all[id].verified;
        assert!(is_contender(&winner));
        assert!(!all[&winner].earlier.iter().any(is_contender), "seed {seed}");
        let mut other = claim(99, &BTreeMap::new());
        other.key = key("волк");
        other.verified = true;
        all.insert(ContentId([0; 32]), other);
        let standings = standings(&all);
        assert!(matches!(standings[&winner], Standing::Holder { .. }), "seed {seed}");
        assert_eq!(standings.len(), all.len());
    }
}

/// Nobody can make such claims; if somebody could, there would still be one winner.
#[test]
fn claims_that_know_each_other_do_not_hang() {
    let mut claims: BTreeMap<ContentId, Claim> = (0..3)
        .map(|number| (id(number), claim(number, &BTreeMap::new())))
        .collect();
    let ids: Vec<ContentId> = claims.keys().copied().collect();
    for (number, id) in ids.iter().enumerate() {
        claims.get_mut(id).unwrap().earlier = BTreeSet::from([ids[(number + 1) % 3]]);
    }
    assert_eq!(holder(&claims), Some(ids[0]));
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn replicas_agree_whatever_was_done_in_which_order(
        steps in steps(prop_oneof![Just(ClaimEdit::Verify), Just(ClaimEdit::Release)])
    ) {
        let known = BTreeMap::from([(id(1), claim(1, &BTreeMap::new()))]);
        let mut replicas = Replicas::of(&claim(2, &known));
        replicas.take(&steps);
        let read: Claim = replicas.agreed();
        prop_assert_eq!(&read.earlier, &BTreeSet::from([id(1)]));
        prop_assert_eq!(read.owner(), Some(ContentId([2; 32])));
    }
}

#[test]
fn a_claim_names_only_so_many_earlier_ones() {
    let known: BTreeMap<ContentId, Claim> = (0..40)
        .map(|number| (id(number), claim(number, &BTreeMap::new())))
        .collect();
    let claim = claim(50, &known);
    assert_eq!(claim.earlier.len(), EARLIER_MAX);
    claim.validate().unwrap();
    let mut greedy = claim;
    greedy.earlier = known.keys().copied().collect();
    assert_eq!(greedy.validate(), Err(RecordError::Full("earlier claims")));
    let personal = Claim::new(ClaimKind::Prompt, [1; 32], id(1), &BTreeMap::new(), Timestamp(1));
    assert_eq!(personal.owner(), None);
}
