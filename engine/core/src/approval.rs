//! What people are asked before a step goes out.

use alloc::sync::Arc;

use crate::{guard::Remedy, id::Timestamp, workflow::Hash};

/// What a policy wants the people of a group to approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The id of the policy.
    pub policy: Arc<str>,
    /// Whose people may answer.
    pub group: Arc<str>,
    /// So many different people must approve.
    pub quorum: u32,
    /// When the fallback comes.
    pub due: Option<Timestamp>,
    /// What is done when not enough have answered by then. Answers of another group then count with those of this one.
    pub fallback: Option<Remedy>,
    /// Why, for people.
    pub reason: Option<Arc<str>>,
    /// Of what they approve: function, arguments and policy set. Of anything else they have approved nothing.
    pub digest: Hash,
    /// The policy set that wants it.
    pub set: Hash,
}

/// An [`Ask`] that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// What is asked.
    pub ask: Arc<Ask>,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// The fallback has come.
    pub overdue: bool,
}

/// Somebody of a group has approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who, as callers are named: `person alice`.
    pub by: Arc<str>,
    /// For people; may be empty.
    pub reason: Arc<str>,
    /// When.
    pub at: Timestamp,
}

impl Asking {
    /// The group whose answers count, too, once the fallback has come.
    pub fn stand_in(&self) -> Option<&Arc<str>> {
        match &self.ask.fallback {
            Some(Remedy::Approval(group)) if self.overdue => Some(group),
            Some(_) | None => None,
        }
    }
}
