//! Decisions: what the root or an operator signs to put someone out, to keep someone, or to name an operator.
//!
//! Everything here is a pure function of a roster; nothing counts before [`Roster::take`].

use super::{
    Decree, Evidence, Member, MembershipError, OperatorGrant, Powers, Renewal, Revocation, Roles, Roster, Succession,
    Target, decree::check_reason,
};
use crate::{NodeId, NodeKey, Signed, Timestamp};

impl Roster {
    /// Puts a node, a ticket or an operator out. Besides the revocation this says again what else would fall with it and shall
    /// not: whoever the target brought in stays (each gets a renewal), and what a revoked operator has revoked stays revoked.
    ///
    /// # Errors
    /// When the key may not do that, or there is no such target.
    pub fn revoke(
        &self,
        key: &NodeKey,
        target: Target,
        reason: &str,
        now: Timestamp,
    ) -> Result<Vec<Decree>, MembershipError> {
        self.check_may_revoke(&key.id(), target)?;
        let mut sequence = self.revocations_by(&key.id());
        let mut revocation = |target, reason: &str, at| {
            sequence += 1;
            self.sign_revocation(key, (target, reason, at), sequence)
        };
        let mut decrees = vec![revocation(target, reason, now)?];
        if let Target::Operator(operator) | Target::Node(operator) = target
            && self.judged().operators.contains_key(&operator)
        {
            let theirs = self.revocations().filter(|(author, _)| *author == operator);
            for (_, known) in theirs.filter(|(_, known)| known.target != Target::Node(operator)) {
                decrees.push(revocation(known.target, &known.reason, known.at)?);
            }
        }
        if self.powers(&key.id()).contains(Powers::INVITE) {
            decrees.extend(self.vouch(key, target, &decrees, now)?);
        }
        Ok(decrees)
    }

    /// The node itself leaves the mesh for ever.
    ///
    /// # Errors
    /// When it is no member.
    pub fn leave(&self, key: &NodeKey, reason: &str, now: Timestamp) -> Result<Decree, MembershipError> {
        if self.get(&key.id()).is_none() {
            return Err(self.why_not(&key.id()));
        }
        self.sign_revocation(key, (Target::Node(key.id()), reason, now), 1)
    }

    /// A node goes on with a new key: the old one certifies it, and it takes over roles, powers and whom the old one admitted.
    ///
    /// # Errors
    /// When the old key is no member's, or the new one is somebody's.
    pub fn rotate(&self, old: &NodeKey, new: &NodeKey, now: Timestamp) -> Result<Decree, MembershipError> {
        if self.get(&old.id()).is_none() {
            return Err(self.why_not(&old.id()));
        }
        self.hand_over(old, new, now)
    }

    /// The root hands over to a new key. Nobody is let in or made an operator by what the old one has signed, so the new one says again who
    /// is an operator and who is a member. Invites of the old root that nobody has used are void; its revocations count for ever.
    ///
    /// # Errors
    /// When the old key is not the root's, or the new one is somebody's.
    pub fn hand_over_root(&self, old: &NodeKey, new: &NodeKey, now: Timestamp) -> Result<Vec<Decree>, MembershipError> {
        if old.id() != self.root() {
            return Err(MembershipError::NotAllowed);
        }
        let mut decrees = vec![self.hand_over(old, new, now)?];
        for (operator, may) in &self.judged().operators {
            let grant = OperatorGrant {
                mesh: self.mesh(),
                operator: *operator,
                may: *may,
                at: now,
            };
            decrees.push(Decree::OperatorGrant(Signed::sign(new, &grant)?));
        }
        let kept = self.vouch(new, Target::Operator(old.id()), &decrees, now)?;
        Ok(decrees.into_iter().chain(kept).collect())
    }

    fn hand_over(&self, old: &NodeKey, new: &NodeKey, now: Timestamp) -> Result<Decree, MembershipError> {
        if self.is_taken(&new.id()) {
            return Err(MembershipError::KeyInUse);
        }
        let before = self.succession_of(&old.id());
        Ok(Decree::Succession(Succession::hand_over(
            before,
            self.mesh(),
            (old, new),
            now,
        )?))
    }

    /// The root names an operator.
    ///
    /// # Errors
    /// When the key is not the root's.
    pub fn appoint(
        &self,
        root: &NodeKey,
        operator: NodeId,
        may: Powers,
        now: Timestamp,
    ) -> Result<Decree, MembershipError> {
        if root.id() != self.root() {
            return Err(MembershipError::NotAllowed);
        }
        let grant = OperatorGrant {
            mesh: self.mesh(),
            operator,
            may,
            at: now,
        };
        Ok(Decree::OperatorGrant(Signed::sign(root, &grant)?))
    }

    /// Renews the certificate of a node: of a member, or of one whose certificate has ended or has lost what it stood on.
    ///
    /// # Errors
    /// When the key may not do that, or the node was revoked or never was a member.
    pub fn renew(&self, key: &NodeKey, node: NodeId, now: Timestamp) -> Result<Decree, MembershipError> {
        if !self.powers(&key.id()).contains(Powers::INVITE) {
            return Err(MembershipError::NotAllowed);
        }
        if self.judged().revocations.contains_key(&Target::Node(node)) {
            return Err(MembershipError::Revoked);
        }
        let former = || self.former(&node).map(|former| &former.member);
        let member = self.get(&node).or_else(former).ok_or(MembershipError::NoSuchTarget)?;
        self.sign_renewal(key, member, now)
    }

    /// The members whose certificates should be renewed now.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = &Member> {
        self.members().filter(move |member| member.is_due(now))
    }

    fn check_may_revoke(&self, author: &NodeId, target: Target) -> Result<(), MembershipError> {
        let is_operator = |key: &NodeId| self.judged().operators.contains_key(key);
        let known = match target {
            Target::Node(node) => self.get(&node).is_some() || self.former(&node).is_some(),
            // A ticket that nobody has used yet is known to whoever issued it only.
            Target::Ticket(_) => true,
            Target::Operator(key) => is_operator(&key),
        };
        let roots_own = match target {
            Target::Node(key) | Target::Operator(key) => is_operator(&key),
            Target::Ticket(_) => false,
        };
        if !known {
            return Err(MembershipError::NoSuchTarget);
        }
        let allowed = *author == self.root() || (self.powers(author).contains(Powers::REVOKE) && !roots_own);
        if allowed {
            Ok(())
        } else {
            Err(MembershipError::NotAllowed)
        }
    }

    fn sign_revocation(
        &self,
        key: &NodeKey,
        (target, reason, at): (Target, &str, Timestamp),
        sequence: u64,
    ) -> Result<Decree, MembershipError> {
        check_reason(reason)?;
        let revocation = Revocation {
            mesh: self.mesh(),
            target,
            reason: reason.to_owned(),
            at,
            sequence,
        };
        Ok(Decree::Revocation(Signed::sign(key, &revocation)?))
    }

    /// Renewals for the members that `decrees` would put out besides the target.
    fn vouch(
        &self,
        key: &NodeKey,
        target: Target,
        decrees: &[Decree],
        now: Timestamp,
    ) -> Result<Vec<Decree>, MembershipError> {
        let mut after = self.clone();
        after.take(decrees.iter().cloned().map(Evidence::Decree).collect());
        let mut kept = Vec::new();
        for member in self.members() {
            let is_target = target == Target::Node(member.node);
            if !is_target && after.get(&member.node).is_none() {
                kept.push(self.sign_renewal(key, member, now)?);
            }
        }
        Ok(kept)
    }

    fn sign_renewal(&self, key: &NodeKey, member: &Member, now: Timestamp) -> Result<Decree, MembershipError> {
        let renewal = Renewal {
            mesh: self.mesh(),
            node: member.node,
            name: member.name.clone(),
            roles: member.roles.without(Roles::OPERATOR),
            residency: member.residency.clone(),
            at: now,
        };
        Ok(Decree::Renewal(Signed::sign(key, &renewal)?))
    }
}
