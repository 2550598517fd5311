//! Who is there? A pure core in the manner of SWIM, for a mesh in which everybody knows the roster but is linked with some only.
//!
//! - *Evidence*: the heartbeats that run on every link anyhow. A neighbour that is silent is asked for at others ([`Message::Ask`]);
//!   when nobody vouches for it in time it is suspected, and that is told.
//! - *Suspicion is not death*: whoever hears of it starts a time of its own, however old the news is, so that the suspect always
//!   has a full round to contradict with a higher incarnation. Several who suspect on their own shorten the time.
//! - *Nobody believes others against his own ears*: who hears the suspect itself passes the news on to it and to nobody else.
//! - *A node that slept judges nobody*: when its own clock jumped, or it had to contradict, it waits longer before it suspects.
//! - *No ghosts*: members are those of the roster; one that is not heard of is gone after a while. Everybody says now and then that
//!   it is there, the more rarely the more members there are, so that all together say it [`PRESENCES_PER_SECOND`] times a second.
//!
//! Time and randomness are arguments. News carry no signature: they come from members over links that have proven their keys.
//! `driver` feeds this core with what the mesh hears and carries its frames; `stream` and `wire` are their way.

pub(crate) mod driver;
mod rumours;
mod stream;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub use rumours::{Claim, Message, Rumour, Tag};
use serde::{Deserialize, Serialize};

use self::rumours::{Rumours, pick};
use crate::limits::{
    LIVENESS_ASK_FOR, LIVENESS_ASK_PEERS, LIVENESS_CONFIRMATIONS, LIVENESS_GONE_AFTER, LIVENESS_GONE_AFTER_CONFIRMED,
    LIVENESS_GOSSIP_PEERS, LIVENESS_ISOLATED_AFTER, LIVENESS_PRESENCE_MIN, LIVENESS_RUMOURS_PER_FRAME,
    LIVENESS_SILENT_AFTER, LIVENESS_SLEPT_AFTER, LIVENESS_STRAIN_FOR, LIVENESS_STRAIN_MAX, LIVENESS_UNHEARD_EVERY,
    PRESENCES_PER_SECOND,
};

/// What a member says of itself. The order is that of the wire: new ones come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It starts, or was not heard of yet.
    Joining,
    /// It takes work.
    Serving,
    /// It finishes what it has and takes nothing new.
    Draining,
    /// A person keeps it from working.
    Maintenance,
    /// It has stopped in order.
    Left,
}

/// What a node thinks of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In the roster and not heard of yet.
    Joining,
    /// There, and takes work.
    Serving,
    /// There, and takes no new work.
    Draining,
    /// There, and kept from working by a person.
    Maintenance,
    /// Perhaps gone: new work goes elsewhere, what runs is kept.
    Suspect,
    /// Gone: what was kept for it may go.
    Gone,
}

impl State {
    /// The word for it in tables and in the interface between programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
            Self::Suspect => "suspect",
            Self::Gone => "gone",
        }
    }

    /// Whether new work may go there, if it can be reached. One that starts says by what it offers whether it is ready.
    #[must_use]
    pub const fn takes_work(self) -> bool {
        matches!(self, Self::Joining | Self::Serving)
    }

    /// Whether it is taken to live, whatever it does.
    #[must_use]
    pub const fn is_there(self) -> bool {
        matches!(self, Self::Serving | Self::Draining | Self::Maintenance)
    }
}

impl From<Standing> for State {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Joining => Self::Joining,
            Standing::Serving => Self::Serving,
            Standing::Draining => Self::Draining,
            Standing::Maintenance => Self::Maintenance,
            Standing::Left => Self::Gone,
        }
    }
}

/// What repairs false alarms. A simulation switches it off to show what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Whether others are asked for a silent neighbour.
    pub asking: bool,
    /// Whether a suspect contradicts.
    pub refuting: bool,
}

impl Recovery {
    /// What the product does.
    pub const ON: Self = Self {
        asking: true,
        refuting: true,
    };
    /// Plain heartbeats.
    pub const OFF: Self = Self {
        asking: false,
        refuting: false,
    };
}

#[derive(Debug)]
enum Health {
    Unseen,
    Alive,
    Suspect { since: Duration, by: BTreeSet<Tag> },
    Gone,
}

#[derive(Debug)]
struct Member {
    claim: Claim,
    health: Health,
    /// When the state became what it is.
    since: Duration,
    /// When there was last a sign of life, from itself or by others; until there was one, since when it is known.
    heard: Duration,
    /// Whether there ever was one in this life of the node.
    was_heard: bool,
}

#[derive(Debug)]
struct Link {
    up: bool,
    /// By this node itself: only this is a reason to vouch, or several that hear nothing would go on vouching to each other.
    heard: Duration,
    /// When others were last taken at their word that it is heard, less what that is worth.
    vouched: Duration,
    asked: Option<Duration>,
}

/// The members as one node sees them.
#[derive(Debug)]
pub struct Liveness {
    own: Tag,
    claim: Claim,
    recovery: Recovery,
    members: BTreeMap<Tag, Member>,
    links: BTreeMap<Tag, Link>,
    /// Members that may be suspect, so that a tick need not look at all.
    suspects: BTreeSet<Tag>,
    /// Members of whom something was noted since the last [`Liveness::take_noted`].
    noted: BTreeSet<Tag>,
    rumours: Rumours,
    ticked: Duration,
    /// When some neighbour was last heard.
    in_touch: Duration,
    presence_due: Duration,
    unheard_due: Duration,
    strain: u32,
    strain_eased: Duration,
}

/// A frame for a neighbour.
pub type Outgoing = (Tag, Message);

impl Liveness {
    /// A node that begins; `incarnation` must be higher than in its life before: the time in milliseconds.
    #[must_use]
    pub fn new(own: Tag, incarnation: u64, recovery: Recovery, now: Duration) -> Self {
        Self {
            own,
            claim: Claim {
                incarnation,
                standing: Standing::Joining,
            },
            recovery,
            members: BTreeMap::new(),
            links: BTreeMap::new(),
            suspects: BTreeSet::new(),
            noted: BTreeSet::new(),
            rumours: Rumours::default(),
            ticked: now,
            in_touch: now,
            presence_due: now,
            unheard_due: now,
            strain: 0,
            strain_eased: now,
        }
    }

    /// Takes the roster: new members are not heard of yet, others are forgotten.
    pub fn set_roster(&mut self, roster: &BTreeSet<Tag>, now: Duration) {
        self.members.retain(|tag, _| roster.contains(tag));
        self.links.retain(|tag, _| roster.contains(tag));
        self.rumours.retain(|tag| roster.contains(&tag) || tag == self.own);
        for tag in roster.iter().filter(|tag| **tag != self.own) {
            self.members.entry(*tag).or_insert_with(|| Member {
                claim: Claim {
                    incarnation: 0,
                    standing: Standing::Joining,
                },
                health: Health::Unseen,
                since: now,
                heard: now,
                was_heard: false,
            });
        }
    }

    /// Says something new of this node.
    pub fn set_standing(&mut self, standing: Standing) -> Vec<Outgoing> {
        self.claim.standing = standing;
        self.claim_anew(self.claim.incarnation)
    }

    /// What this node says of itself.
    #[must_use]
    pub const fn claim(&self) -> Claim {
        self.claim
    }

    /// What this node thinks of a member, and since when; nothing of those that are not in the roster.
    #[must_use]
    pub fn state(&self, tag: Tag, now: Duration) -> Option<(State, Duration)> {
        let member = self.members.get(&tag)?;
        let state = match member.health {
            Health::Unseen => State::Joining,
            Health::Gone => State::Gone,
            // One's own ears count more than what others say.
            Health::Suspect { .. } if !self.hears(tag, now) => State::Suspect,
            Health::Suspect { .. } | Health::Alive => member.claim.standing.into(),
        };
        Some((state, member.since))
    }

    /// When there was last a sign of life of a member, from itself or by others; nothing when there was none since this node started.
    #[must_use]
    pub fn heard_of(&self, tag: Tag) -> Option<Duration> {
        let member = self.members.get(&tag)?;
        member.was_heard.then_some(member.heard)
    }

    /// The members of whom something may be different than when this was last asked. In a large mesh they are few of many.
    pub fn take_noted(&mut self) -> BTreeSet<Tag> {
        let mut noted = std::mem::take(&mut self.noted);
        // Whether one is heard all the same depends on the time.
        noted.extend(&self.suspects);
        noted
    }

    /// A link stands: each side tells the other all it knows.
    pub fn link_up(&mut self, tag: Tag, now: Duration) -> Vec<Outgoing> {
        if !self.members.contains_key(&tag) {
            return vec![];
        }
        let link = Link {
            up: true,
            heard: now,
            vouched: Duration::ZERO,
            asked: None,
        };
        self.links.insert(tag, link);
        self.in_touch = now;
        self.tell_everything(tag)
    }

    /// All this node knows, for a neighbour that may have missed something.
    #[must_use]
    pub fn tell_everything(&self, to: Tag) -> Vec<Outgoing> {
        let known = self.members.iter().filter_map(|(tag, member)| member.as_rumour(*tag));
        let all: Vec<_> = std::iter::once(self.own_rumour()).chain(known).collect();
        all.chunks(LIVENESS_RUMOURS_PER_FRAME)
            .map(|chunk| (to, Message::News(chunk.to_vec())))
            .collect()
    }

    /// A link is lost: as if its neighbour had been silent for a while.
    pub fn link_down(&mut self, tag: Tag) {
        if let Some(link) = self.links.get_mut(&tag) {
            link.up = false;
        }
    }

    /// Something came from a neighbour: a heartbeat, or anything else.
    pub fn heard(&mut self, tag: Tag, now: Duration) -> Vec<Outgoing> {
        let (Some(link), Some(member)) = (self.links.get_mut(&tag), self.members.get_mut(&tag)) else {
            return vec![];
        };
        if !link.up {
            return vec![];
        }
        link.heard = link.heard.max(now);
        link.asked = None;
        self.in_touch = self.in_touch.max(now);
        member.heard = member.heard.max(now);
        member.was_heard = true;
        self.noted.insert(tag);
        // It speaks, and others think that it is gone: only it can contradict.
        match member.health {
            Health::Gone if member.claim.standing != Standing::Left => self.tell_itself(tag),
            Health::Suspect { .. } => self.tell_itself(tag),
            _ => vec![],
        }
    }

    /// A frame of a neighbour.
    pub fn receive(&mut self, from: Tag, message: Message, now: Duration) -> Vec<Outgoing> {
        let mut out = self.heard(from, now);
        match message {
            Message::Ask(target) => {
                if target == self.own || self.hears(target, now) {
                    out.push((from, Message::Vouch(target)));
                }
            }
            Message::Vouch(target) => {
                if let Some(member) = self.members.get_mut(&target) {
                    member.heard = now;
                    member.was_heard = true;
                    self.noted.insert(target);
                }
                if let Some(link) = self.links.get_mut(&target).filter(|link| link.up) {
                    link.vouched = now.saturating_sub(LIVENESS_SILENT_AFTER / 2);
                    link.asked = None;
                }
            }
            Message::News(news) => {
                for rumour in news {
                    out.extend(self.learn(from, rumour, now));
                }
            }
        }
        out
    }

    /// Time goes on; called about every [`crate::limits::LIVENESS_TICK`].
    pub fn tick(&mut self, now: Duration, rng: &mut impl rand::Rng) -> Vec<Outgoing> {
        self.look_at_itself(now);
        let mut out = self.look_at_links(now, rng);
        self.bury(now);
        if now >= self.unheard_due {
            self.look_at_the_unheard(now);
            self.unheard_due = now + LIVENESS_UNHEARD_EVERY;
        }
        if now >= self.presence_due {
            let next = self.presence_every().mul_f64(0.9 + 0.2 * rumours::share(rng));
            self.presence_due = now + next;
            let incarnation = self.claim.incarnation;
            out.extend(self.claim_anew(incarnation));
        }
        let neighbours = self.fresh_neighbours(None, now);
        for peer in pick(neighbours, LIVENESS_GOSSIP_PEERS, rng) {
            let news = self.rumours.take(self.members.len());
            if news.is_empty() {
                break;
            }
            out.push((peer, Message::News(news)));
        }
        out
    }

    fn learn(&mut self, from: Tag, rumour: Rumour, now: Duration) -> Vec<Outgoing> {
        let tag = rumour.about();
        if tag == self.own {
            return self.hear_of_itself(&rumour);
        }
        let hears = self.hears(tag, now);
        let Some(member) = self.members.get_mut(&tag) else {
            return vec![];
        };
        let known = member.claim.incarnation;
        self.noted.insert(tag);
        match rumour {
            Rumour::Alive(_, claim) if claim.incarnation > known || matches!(member.health, Health::Unseen) => {
                member.heard = now;
                member.was_heard = true;
                member.speaks(claim, now);
                self.rumours.add(rumour);
            }
            // Old news: whoever told them should know better.
            Rumour::Suspect { incarnation, .. } | Rumour::Gone { incarnation, .. } if incarnation < known => {
                let answer = member.as_rumour(tag);
                return answer
                    .map(|news| (from, Message::News(vec![news])))
                    .into_iter()
                    .collect();
            }
            Rumour::Suspect { .. } | Rumour::Gone { .. } if hears => {
                return vec![(tag, Message::News(vec![rumour]))];
            }
            Rumour::Suspect { incarnation, by, .. } => {
                member.claim.incarnation = incarnation;
                if member.suspect(by, now) {
                    self.suspects.insert(tag);
                    self.rumours.add(rumour);
                }
            }
            Rumour::Gone { incarnation, .. } => {
                let news = !matches!(member.health, Health::Gone) || incarnation > known;
                member.claim.incarnation = incarnation;
                if news {
                    member.become_gone(now);
                    self.rumours.add(rumour);
                }
            }
            Rumour::Alive(..) => {}
        }
        vec![]
    }

    /// Contradicts what others think of this node, and outbids what is left of its life before.
    fn hear_of_itself(&mut self, rumour: &Rumour) -> Vec<Outgoing> {
        let wrong = match rumour {
            Rumour::Alive(_, claim) => claim.incarnation > self.claim.incarnation,
            Rumour::Suspect { .. } | Rumour::Gone { .. } => rumour.incarnation() >= self.claim.incarnation,
        };
        if !wrong || !self.recovery.refuting || self.claim.standing == Standing::Left {
            return vec![];
        }
        if !matches!(rumour, Rumour::Alive(..)) {
            self.strain = (self.strain + 1).min(LIVENESS_STRAIN_MAX);
        }
        self.claim_anew(rumour.incarnation())
    }

    /// Tells all neighbours at once what this node says of itself, with an incarnation above `above`.
    fn claim_anew(&mut self, above: u64) -> Vec<Outgoing> {
        self.claim.incarnation = self.claim.incarnation.max(above).saturating_add(1);
        let rumour = self.own_rumour();
        self.rumours.add(rumour.clone());
        let linked = self.links.iter().filter(|(_, link)| link.up);
        linked
            .map(|(tag, _)| (*tag, Message::News(vec![rumour.clone()])))
            .collect()
    }

    const fn own_rumour(&self) -> Rumour {
        Rumour::Alive(self.own, self.claim)
    }

    fn tell_itself(&self, tag: Tag) -> Vec<Outgoing> {
        let member = self.members.get(&tag).and_then(|member| member.as_rumour(tag));
        member
            .map(|rumour| (tag, Message::News(vec![rumour])))
            .into_iter()
            .collect()
    }

    /// Whether this node itself hears a member.
    fn hears(&self, tag: Tag, now: Duration) -> bool {
        let link = self.links.get(&tag);
        link.is_some_and(|link| link.up && now.saturating_sub(link.heard) < LIVENESS_SILENT_AFTER)
    }

    fn fresh_neighbours(&self, but: Option<Tag>, now: Duration) -> Vec<Tag> {
        let linked = self.links.keys().copied();
        linked
            .filter(|tag| Some(*tag) != but && self.hears(*tag, now))
            .collect()
    }

    /// A node whose clock jumped was asleep and heard nobody, which says nothing of the others.
    fn look_at_itself(&mut self, now: Duration) {
        let slept = now.saturating_sub(self.ticked);
        self.ticked = now;
        if slept > LIVENESS_SLEPT_AFTER {
            self.strain = (self.strain + 1).min(LIVENESS_STRAIN_MAX);
            // Not beyond now: what has come since it woke up counts no more than that.
            for link in self.links.values_mut() {
                link.heard = (link.heard + slept).min(now);
            }
            for member in self.members.values_mut() {
                if let Health::Suspect { since, .. } = &mut member.health {
                    *since = (*since + slept).min(now);
                }
            }
        }
        if now.saturating_sub(self.strain_eased) >= LIVENESS_STRAIN_FOR {
            self.strain_eased = now;
            self.strain = self.strain.saturating_sub(1);
        }
    }

    /// Asks others for silent neighbours, and suspects those for whom nobody vouches.
    fn look_at_links(&mut self, now: Duration, rng: &mut impl rand::Rng) -> Vec<Outgoing> {
        let patience = LIVENESS_SILENT_AFTER + LIVENESS_SILENT_AFTER.mul_f64(0.5) * self.strain;
        let silent = self
            .links
            .iter()
            .filter(|(_, link)| !link.up || now.saturating_sub(link.heard.max(link.vouched)) >= patience);
        let silent: Vec<_> = silent.map(|(tag, link)| (*tag, link.asked)).collect();
        let mut out = Vec::new();
        for (tag, asked) in silent {
            let alive = self
                .members
                .get(&tag)
                .is_some_and(|member| matches!(member.health, Health::Alive));
            if !alive {
                continue;
            }
            let asks = if self.recovery.asking { LIVENESS_ASK_PEERS } else { 0 };
            match asked {
                None => {
                    if let Some(link) = self.links.get_mut(&tag) {
                        link.asked = Some(now);
                    }
                }
                Some(at) if now.saturating_sub(at) >= LIVENESS_ASK_FOR => {
                    self.suspect(tag, now);
                    continue;
                }
                Some(_) => {}
            }
            // Anew with each tick, of others: what was lost is repaired within the same time.
            let others = self.fresh_neighbours(Some(tag), now);
            out.extend(
                pick(others, asks, rng)
                    .into_iter()
                    .map(|peer| (peer, Message::Ask(tag))),
            );
        }
        out
    }

    fn suspect(&mut self, tag: Tag, now: Duration) {
        let own = self.own;
        if let Some(member) = self.members.get_mut(&tag)
            && member.suspect(own, now)
        {
            let incarnation = member.claim.incarnation;
            self.suspects.insert(tag);
            self.noted.insert(tag);
            self.rumours.add(Rumour::Suspect {
                about: tag,
                incarnation,
                by: own,
            });
        }
        // A lost link gives cause once: when the member contradicts, it is known to others, and watched by them.
        match self.links.get_mut(&tag) {
            Some(link) if link.up => link.asked = None,
            _ => drop(self.links.remove(&tag)),
        }
    }

    /// Those that did not contradict in time are gone.
    fn bury(&mut self, now: Duration) {
        let (members, rumours, noted) = (&mut self.members, &mut self.rumours, &mut self.noted);
        self.suspects.retain(|tag| {
            noted.insert(*tag);
            let Some(member) = members.get_mut(tag) else {
                return false;
            };
            let Health::Suspect { since, by } = &member.health else {
                return false;
            };
            let patience = if by.len() >= LIVENESS_CONFIRMATIONS {
                LIVENESS_GONE_AFTER_CONFIRMED
            } else {
                LIVENESS_GONE_AFTER
            };
            if now.saturating_sub(*since) < patience {
                return true;
            }
            member.become_gone(now);
            rumours.add(Rumour::Gone {
                about: *tag,
                incarnation: member.claim.incarnation,
            });
            false
        });
    }

    fn presence_every(&self) -> Duration {
        let all = Duration::from_secs_f64(self.members.len() as f64 / PRESENCES_PER_SECOND);
        all.max(LIVENESS_PRESENCE_MIN)
    }

    /// Members that nobody has told of for three presences, or of whom a node that hears nobody cannot know, are gone for this node.
    fn look_at_the_unheard(&mut self, now: Duration) {
        let patience = self.presence_every() * 3;
        let isolated = now.saturating_sub(self.in_touch) >= LIVENESS_ISOLATED_AFTER;
        let linked: BTreeSet<Tag> = self.fresh_neighbours(None, now).into_iter().collect();
        for (tag, member) in &mut self.members {
            let silent = isolated || now.saturating_sub(member.heard) >= patience;
            if silent && !linked.contains(tag) && !matches!(member.health, Health::Gone) {
                member.become_gone(now);
                self.noted.insert(*tag);
            }
        }
    }
}

impl Member {
    /// Takes what it says of itself. Whoever has stopped in order is gone, and nobody need miss it first.
    fn speaks(&mut self, claim: Claim, now: Duration) {
        if claim.standing == Standing::Left {
            self.claim = claim;
            return self.become_gone(now);
        }
        if !matches!(self.health, Health::Alive) || self.claim.standing != claim.standing {
            self.since = now;
        }
        self.claim = claim;
        self.health = Health::Alive;
    }

    /// Notes who suspects it; whether that is news.
    fn suspect(&mut self, who: Tag, now: Duration) -> bool {
        match &mut self.health {
            Health::Suspect { by, .. } => by.len() < LIVENESS_CONFIRMATIONS && by.insert(who),
            Health::Alive | Health::Unseen => {
                self.health = Health::Suspect {
                    since: now,
                    by: BTreeSet::from([who]),
                };
                self.since = now;
                true
            }
            Health::Gone => false,
        }
    }

    fn become_gone(&mut self, now: Duration) {
        if !matches!(self.health, Health::Gone) {
            self.since = now;
        }
        self.health = Health::Gone;
    }

    fn as_rumour(&self, about: Tag) -> Option<Rumour> {
        let incarnation = self.claim.incarnation;
        match &self.health {
            Health::Unseen => None,
            Health::Alive => Some(Rumour::Alive(about, self.claim)),
            Health::Suspect { by, .. } => by.first().map(|by| Rumour::Suspect {
                about,
                incarnation,
                by: *by,
            }),
            Health::Gone => Some(Rumour::Gone { about, incarnation }),
        }
    }
}
