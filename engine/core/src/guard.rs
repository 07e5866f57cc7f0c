//! What stands between a step and its worker: what policies say of it, and what lifts a denial.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

use crate::{
    approval::{Answer, Asking},
    id::{Duration, Timestamp},
    json::Json,
    workflow::Hash,
};

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
    /// Of function, arguments and set: what an approval that it wants is for.
    pub digest: Hash,
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
    /// After how long the fallback comes.
    pub due: Option<Duration>,
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
    /// What people are asked about it, also about earlier attempts. Boxed, because it is rare.
    pub people: Option<Box<People>>,
    /// `department.function`, once it was allowed to go out.
    pub function: Option<Arc<str>>,
}

/// What people are asked about one digest, and have answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct People {
    /// By the id of the policy that wants it.
    pub asked: BTreeMap<Arc<str>, Asking>,
    /// Those who have approved, by group.
    pub answers: BTreeMap<Arc<str>, Vec<Answer>>,
    /// Who works on what a group is asked; others leave it alone.
    pub claims: BTreeMap<Arc<str>, Arc<str>>,
}

impl People {
    /// Whether enough have approved what a policy wants of a group; once its fallback has come, answers of the group that is
    /// named there count, too.
    pub fn are_enough(&self, policy: &str, group: &str, quorum: u32) -> bool {
        let count = |group: &str| self.answers.get(group).map_or(0, Vec::len);
        let stand_in = self.asked.get(policy).and_then(Asking::stand_in);
        let stand_in = stand_in.filter(|other| ***other != *group).map_or(0, |other| count(other));
        count(group) + stand_in >= quorum as usize
    }

    /// What has not enough answers.
    pub fn open(&self) -> impl Iterator<Item = &Asking> {
        self.asked.values().filter(|asking| {
            !self.are_enough(&asking.ask.policy, &asking.ask.group, asking.ask.quorum)
        })
    }

    /// Groups whose answers are still wanted.
    pub fn groups(&self) -> BTreeSet<&Arc<str>> {
        self.open()
            .flat_map(|asking| [Some(&asking.ask.group), asking.stand_in()])
            .flatten()
            .collect()
    }

    /// What they are asked about.
    pub fn digest(&self) -> Option<Hash> {
        self.asked.values().next().map(|asking| asking.ask.digest)
    }
}

impl Guard {
    /// People whose answers are still wanted.
    pub fn waits_for(&self) -> Option<&People> {
        let held = self.standing == Standing::Held;
        self.people.as_deref().filter(|people| held && people.open().next().is_some())
    }

    /// Whether enough have approved exactly this.
    pub fn has_approved(&self, policy: &str, group: &str, quorum: u32, digest: Hash) -> bool {
        let people = self.people.as_deref().filter(|people| people.digest() == Some(digest));
        people.is_some_and(|people| people.are_enough(policy, group, quorum))
    }

    /// When fallbacks come.
    pub fn dues(&self) -> BTreeSet<Timestamp> {
        let open = self.waits_for().into_iter().flat_map(People::open);
        open.filter(|asking| !asking.overdue).filter_map(|asking| asking.ask.due).collect()
    }
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
    /// Steps that have gone out, each counted once.
    pub turns: u32,
    /// How often the same was asked of the same function, by what [`sameness`] makes of both. Up to a bound; what comes then has
    /// not been seen.
    pub seen: BTreeMap<u64, u32>,
}

/// The same for the same function and arguments, and else hardly ever: FNV-1a with 64 bits (Fowler, Noll, Vo). It decides nothing
/// that an attacker could gain by: a collision is one turn too many that seems to be a repetition.
pub fn sameness(function: &str, arguments: &Json) -> u64 {
    let bytes = function.bytes().chain([0]).chain(arguments.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
