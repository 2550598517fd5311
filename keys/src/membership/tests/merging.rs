//! The same evidence gives the same roster, in any order, in any batches, on every node.

use proptest::prelude::*;

use super::*;

/// A mesh in which everything happens that evidence can say.
struct Story {
    root: NodeKey,
    /// Rosters of parts of the mesh that do not hear of each other.
    parts: Vec<Roster>,
    /// Everyone's keys; the first is the founder's.
    nodes: Vec<NodeKey>,
    evidence: BTreeMap<ContentId, Evidence>,
    clock: u64,
}

impl Story {
    fn begin() -> Self {
        let (root, first) = (NodeKey::from_seed(&[1; 32]), NodeKey::from_seed(&[2; 32]));
        let certificate = Certificate::found(&root, first.id(), "first", [0; 16], NOW).unwrap();
        let roster = Roster::new(certificate).unwrap();
        let evidence = roster.evidence().collect();
        Self {
            root,
            parts: vec![roster.clone(), roster.clone(), roster],
            nodes: vec![first],
            evidence,
            clock: NOW.0,
        }
    }

    fn decide(&mut self, part: usize, decrees: impl IntoIterator<Item = Decree>) {
        let evidence: Vec<_> = decrees.into_iter().map(Evidence::Decree).collect();
        self.evidence.extend(evidence.iter().map(|one| (one.id(), one.clone())));
        self.parts[part].take(evidence);
    }

    /// Someone new, or someone who was there already, redeems one of a few tickets before a member.
    fn join(&mut self, part: usize, who: u8, ticket: u8, by_root: bool) {
        let now = Timestamp(self.clock);
        let issuer = if by_root {
            self.root.clone()
        } else {
            self.nodes[usize::from(ticket) % self.nodes.len()].clone()
        };
        let ticket = NodeKey::from_seed(&[100 + ticket % 8; 32]);
        let node = match self.nodes.get(usize::from(who)) {
            Some(known) => known.clone(),
            None => NodeKey::from_seed(&[200, who, self.nodes.len() as u8, 0].repeat(8).try_into().unwrap()),
        };
        let mesh = self.parts[0].mesh();
        let roles = if by_root && who.is_multiple_of(3) {
            Roles::NODE.with(Roles::OPERATOR)
        } else {
            Roles::NODE
        };
        let grant = TicketGrant {
            mesh,
            ticket: ticket.id(),
            roles,
            uses_max: 1,
            expires: now.plus(1000),
            residency: None,
        };
        let redemption = Redemption {
            mesh,
            node: node.id(),
            name: format!("n{who}"),
        };
        let (grant, redemption) = (
            grant.sign(&issuer).unwrap(),
            Signed::sign(&ticket, &redemption).unwrap(),
        );
        let admitter = self.nodes[usize::from(who) % self.nodes.len()].clone();
        if self.parts[part].get(&admitter.id()).is_none() {
            return;
        }
        if let Ok(certificate) = self.parts[part].admit(&admitter, node.id(), grant, redemption, now) {
            let evidence = Evidence::Certificate(certificate);
            self.evidence.insert(evidence.id(), evidence);
            if self.nodes.iter().all(|known| known.id() != node.id()) {
                self.nodes.push(node);
            }
        }
    }

    /// A node goes on with one of a few new keys; others may have given the same key another heir meanwhile.
    fn rotate(&mut self, part: usize, who: usize, heir: u8) {
        let heir = NodeKey::from_seed(&[who as u8, heir % 3, 77, 0].repeat(8).try_into().unwrap());
        let decree = self.parts[part].rotate(&self.nodes[who], &heir, Timestamp(self.clock));
        if let Ok(decree) = decree {
            if self.nodes.iter().all(|known| known.id() != heir.id()) {
                self.nodes.push(heir);
            }
            self.decide(part, [decree]);
        }
    }

    fn hand_over(&mut self, part: usize, heir: u8) {
        let heir = NodeKey::from_seed(&[heir % 3, 78, self.clock as u8, 0].repeat(8).try_into().unwrap());
        let decrees = self.parts[part].hand_over_root(&self.root, &heir, Timestamp(self.clock));
        if let Ok(decrees) = decrees {
            self.decide(part, decrees);
            // Half of the time the old root goes on in other parts, which do not know.
            if heir.id().0[0].is_multiple_of(2) {
                self.root = heir;
            }
        }
    }

    fn step(&mut self, (action, part, a, b): (u8, u8, u8, u8)) {
        self.clock += 1 + u64::from(a);
        let now = Timestamp(self.clock);
        let part = usize::from(part) % self.parts.len();
        let (one, other) = (
            self.nodes[usize::from(a) % self.nodes.len()].clone(),
            self.nodes[usize::from(b) % self.nodes.len()].clone(),
        );
        let author = if a.is_multiple_of(2) {
            self.root.clone()
        } else {
            one.clone()
        };
        if let 15 | 16 = action {
            return self.rotate(part, usize::from(a) % self.nodes.len(), b);
        }
        if action == 17 {
            return self.hand_over(part, b);
        }
        let roster = &self.parts[part];
        let decrees = match action {
            0..6 => return self.join(part, a, b, b.is_multiple_of(2)),
            6 => roster
                .revoke(&author, Target::Node(other.id()), "out", now)
                .unwrap_or_default(),
            7 => {
                let ticket = Target::Ticket(NodeKey::from_seed(&[100 + b % 8; 32]).id());
                roster.revoke(&author, ticket, "leaked", now).unwrap_or_default()
            }
            8 => roster
                .revoke(&self.root, Target::Operator(other.id()), "stolen", now)
                .unwrap_or_default(),
            9 => roster
                .appoint(&self.root, other.id(), Powers::ALL, now)
                .into_iter()
                .collect(),
            10 => roster.renew(&author, other.id(), now).into_iter().collect(),
            11 => roster.leave(&one, "home", now).into_iter().collect(),
            // Without a word for those who fall with it, as a hostile or an older program would.
            12 => {
                let all = roster.revoke(&author, Target::Node(other.id()), "bare", now);
                all.unwrap_or_default().into_iter().take(1).collect()
            }
            _ => {
                let (from, to) = (usize::from(a) % self.parts.len(), part);
                let evidence = self.parts[from].evidence().map(|(_, evidence)| evidence).collect();
                self.parts[to].take(evidence);
                return;
            }
        };
        self.decide(part, decrees);
    }
}

/// Delivers everything in an order and in batches that `seed` determines; what is refused comes again, as from a neighbour that
/// has it.
fn deliver(mut roster: Roster, evidence: &BTreeMap<ContentId, Evidence>, seed: u8, batch: usize) -> Roster {
    let mut order: Vec<_> = evidence.iter().collect();
    order.sort_by_key(|(id, _)| ContentId::of(&[&[seed], id.0.as_slice()].concat()));
    loop {
        let mut news = 0;
        for batch in order.chunks(batch) {
            let batch = batch.iter().map(|(_, evidence)| (*evidence).clone()).collect();
            news += roster.take(batch).news.len();
        }
        if news == 0 {
            return roster;
        }
    }
}

fn seen(roster: &Roster) -> (ContentId, Vec<Member>, Vec<Former>) {
    (
        roster.digest(),
        roster.members().cloned().collect(),
        roster.formers().cloned().collect(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_evidence_does_not_matter(
        script in prop::collection::vec((0u8..18, any::<u8>(), any::<u8>(), any::<u8>()), 10..50),
        seed in any::<u8>(),
    ) {
        let mut story = Story::begin();
        for step in script {
            story.step(step);
        }
        let late = Timestamp(story.clock + crate::limits::CERTIFICATE_MILLISECONDS);
        let fresh = Roster::new(story.parts[0].certificate(&story.nodes[0].id()).unwrap().clone()).unwrap();
        let reference = deliver(fresh, &story.evidence, seed, 1000);
        let mut starts: Vec<Roster> = story.parts.clone();
        // A node that joined later starts from its own certificate.
        let own = story.nodes.last().and_then(|last| reference.certificate(&last.id()));
        starts.extend(own.map(|own| Roster::new(own.clone()).unwrap()));
        for (index, start) in starts.into_iter().enumerate() {
            let mut merged = deliver(start, &story.evidence, seed.wrapping_add(1 + index as u8), 1 + index * 3);
            prop_assert_eq!(seen(&merged), seen(&reference));
            let mut expected = reference.clone();
            expected.advance(late);
            merged.advance(late);
            prop_assert_eq!(seen(&merged), seen(&expected));
        }
    }

    /// Whoever was put out never comes in again by more evidence, except that an operator vouches for a node that fell with another.
    #[test]
    fn who_is_revoked_stays_out_whatever_comes(
        script in prop::collection::vec((0u8..18, any::<u8>(), any::<u8>(), any::<u8>()), 10..50),
        cut in 0usize..50,
    ) {
        let mut story = Story::begin();
        let mut revoked = Vec::new();
        for (index, step) in script.into_iter().enumerate() {
            story.step(step);
            if index == cut {
                let root = story.root.clone();
                let target = story.nodes.last().unwrap().id();
                let decrees = story.parts[0].revoke(&root, Target::Node(target), "out", Timestamp(story.clock));
                if let Ok(decrees) = decrees {
                    story.decide(0, decrees);
                    revoked.push(target);
                }
            }
        }
        let fresh = Roster::new(story.parts[0].certificate(&story.nodes[0].id()).unwrap().clone()).unwrap();
        let merged = deliver(fresh, &story.evidence, 0, 7);
        for node in revoked {
            prop_assert!(merged.get(&node).is_none());
        }
    }
}

/// The stories above are worth telling: every way out of a mesh occurs in some of them.
#[test]
fn stories_hold_every_way_out() {
    let mut seen = [0; 6];
    for seed in 0..240u8 {
        let mut story = Story::begin();
        for index in 0..30u8 {
            let random = ContentId::of(&[seed, index]).0;
            story.step((random[0] % 18, random[1], random[2], random[3]));
        }
        let fresh = Roster::new(story.parts[0].certificate(&story.nodes[0].id()).unwrap().clone()).unwrap();
        let mut merged = deliver(fresh, &story.evidence, seed, 9);
        merged.advance(Timestamp(story.clock + 2 * crate::limits::CERTIFICATE_MILLISECONDS));
        for former in merged.formers() {
            let way = match former.why {
                Out::Revoked { .. } => 0,
                Out::Left { .. } => 1,
                Out::TicketSpent { .. } => 2,
                Out::NotVouched { .. } => 3,
                Out::Ended { .. } => 4,
                Out::Rotated { .. } => 5,
            };
            seen[way] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count > 3), "{seen:?}");
}

// Red when: only the heir that counts puts anybody out for good.
#[test]
fn whoever_an_heir_of_the_root_put_out_stays_out_also_when_another_heir_counts() {
    let mut story = Story::begin();
    for who in [1, 2] {
        // Tickets for nodes without any power, known in both halves.
        story.join(0, who, 2 * who, true);
        let both: Vec<Evidence> = story.evidence.values().cloned().collect();
        story.parts[1].take(both);
    }
    let (root, nodes) = (story.root.clone(), story.nodes.clone());
    assert_eq!(nodes.len(), 3);
    for half in [0, 1] {
        story.clock += 1;
        let heir = NodeKey::from_seed(&[90 + half as u8; 32]);
        let decrees = story.parts[half].hand_over_root(&root, &heir, Timestamp(story.clock));
        story.decide(half, decrees.unwrap());
        let target = Target::Node(nodes[1 + half].id());
        let decrees = story.parts[half].revoke(&heir, target, "out", Timestamp(story.clock));
        story.decide(half, decrees.unwrap());
    }
    for half in [0, 1] {
        let merged = deliver(story.parts[half].clone(), &story.evidence, 0, 7);
        for node in &nodes[1..] {
            assert!(merged.get(&node.id()).is_none(), "half {half}");
        }
    }
}
