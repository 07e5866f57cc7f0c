//! What stands between a step and its worker: what policies say of it, and what lifts a denial.

use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};

use crate::{json::Json, workflow::Hash};

/// What policies have said of an attempt. It holds all that they were asked, so that it can be asked again at any time.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// What the step may do.
    pub verdict: Verdict,
    /// The policy set that was asked, by its SHA-256.
    pub set: Hash,
    /// Ids of the policies that led to it, in order.
    pub determining: Vec<Arc<str>>,
    /// What could not be evaluated: then it is denied.
    pub errors: Vec<Arc<str>>,
    /// Who does what with what, and the facts of that time: an object in the form of `baton_policy::Question`.
    pub question: Json,
    /// `department.function`.
    pub function: Arc<str>,
    /// Classes of the data that the step is given: they flow into the case when it goes out.
    pub classes: Vec<Arc<str>>,
}

/// What a step may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go out.
    Allow,
    /// Nothing.
    Deny,
    /// Go out when all of this was done and policies, asked again, allow it.
    DenyUnless(Vec<Wanted>),
}

/// A remedy that a policy asks for, with what the policy says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What is to be done.
    pub remedy: Remedy,
    /// The id of the policy.
    pub policy: Arc<str>,
    /// So many different people, where people are asked.
    pub quorum: u32,
    /// By when, as an ISO 8601 duration.
    pub due: Option<Arc<str>>,
    /// For people.
    pub reason: Option<Arc<str>>,
    /// What is done when nobody answers in time.
    pub fallback: Option<Remedy>,
}

/// What lifts a denial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// People of this group approve.
    Approval(Arc<str>),
    /// This field of the arguments is masked.
    Mask(Arc<str>),
    /// The window of this name is open.
    Wait(Arc<str>),
    /// People of this group look at it afterwards.
    Review(Arc<str>),
    /// This level is told.
    Escalate(Arc<str>),
}

impl Remedy {
    /// Its kind, and what it names.
    pub fn parts(&self) -> (&'static str, &Arc<str>) {
        match self {
            Self::Approval(group) => ("approval", group),
            Self::Mask(field) => ("mask", field),
            Self::Wait(window) => ("wait", window),
            Self::Review(group) => ("review", group),
            Self::Escalate(level) => ("escalate", level),
        }
    }
}

impl core::fmt::Display for Remedy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (kind, name) = self.parts();
        write!(f, "{kind}:{name}")
    }
}

/// The guard of a step that may go out only when policies allow it.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// What its task shows of it: an object, or `null` when the task shows nothing.
    pub facts: Json,
    /// Where this attempt stands.
    pub standing: Standing,
    /// What has been done for it, also for earlier attempts.
    pub remedies: BTreeSet<Remedy>,
    /// `department.function`, once it was allowed to go out.
    pub function: Option<Arc<str>>,
}

/// Where a guarded attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Policies are to be asked.
    Unjudged,
    /// It must not go out.
    Held,
    /// It may go out.
    Allowed,
}

/// What goes with a case into the instances that it runs, and back when they end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Classes of the data that has flowed into it.
    pub taint: BTreeSet<Arc<str>>,
    /// What it has cost, in millionths of the unit of money; on the way back, what the instance itself has cost.
    pub cost: u64,
}

/// What policies may know of a case besides its steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    /// Classes of all data that has flowed into it.
    pub taint: BTreeSet<Arc<str>>,
    /// Functions that have answered in it, as `department.function`.
    pub done: BTreeSet<Arc<str>>,
    /// What workers say that they spent on it, in millionths of the unit of money.
    pub cost: u64,
}
