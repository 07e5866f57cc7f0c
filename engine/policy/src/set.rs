//! A set: its texts, checked and ready to be asked.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    hash::Hash,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cedar_policy::{
    Authorizer, Effect, Entities, Entity, EntityUid, EvalResult, Policy, PolicyId, Request, Schema,
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    check,
    finding::{Finding, Severity},
    limits,
    question::{Action, Principal, Question, Resource, uid},
    remedy::Wanted,
    shard::{Group, Shard, Shards},
};

/// Names and texts: `*.cedar` for policies, `entities.json` for people, groups and agents in Cedar's form. Others are for
/// people and tests.
pub type Texts = BTreeMap<String, String>;

/// Asked from many threads.
pub struct Set {
    /// Of the names and texts that decide.
    pub sha256: [u8; 32],
    /// What was found that does not keep it from being used.
    pub warnings: Vec<Finding>,
    /// By id: what lifts the denials of a policy.
    pub(crate) remedies: BTreeMap<PolicyId, Wanted>,
    shards: Shards,
    entities: Entities,
    known: HashMap<EntityUid, Entity>,
    /// By agent: how much confidence of its own counts, in percent, where that was agreed.
    confidence_bounds: HashMap<String, i64>,
    /// Whose questions about what are asked again and again.
    pairs: Mutex<HashMap<(Principal, Resource), Arc<Pair>>>,
    /// The next pair's.
    numbers: AtomicU64,
    /// What was decided: the same whenever what policies read is the same.
    decided: Mutex<HashMap<Read, Decision>>,
    /// What groups of policies have said, likewise.
    said: Mutex<HashMap<Read, Arc<Said>>>,
    authorizer: Authorizer,
    schema: Schema,
}

/// What is the same in all questions about the same two.
struct Pair {
    /// Of its own.
    number: u64,
    entities: Entities,
    shard: Arc<Shard>,
}

/// All of a question that some policies read.
#[derive(PartialEq, Eq, Hash)]
struct Read {
    pair: u64,
    /// Which policies; none: all that may speak of the question.
    group: Option<u64>,
    /// Names and values.
    facts: Vec<u8>,
}

/// What a group of policies says.
#[derive(Default)]
struct Said {
    /// Those that apply.
    applies: Vec<PolicyId>,
    errors: Vec<String>,
}

/// What a set says to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    pub verdict: Verdict,
    /// Ids of the policies that led to it, in order.
    pub determining: Vec<String>,
    /// What could not be evaluated; then the verdict is [`Verdict::Deny`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    Allow,
    Deny,
    /// Nothing forbids it but what all of these lift.
    DenyUnless(Vec<Wanted>),
}

impl Set {
    /// # Errors
    /// Everything that is wrong with it, and warnings beside.
    pub fn compile(texts: &Texts) -> Result<Self, Vec<Finding>> {
        let checked = check::check(texts);
        if checked.findings.iter().any(|finding| finding.severity == Severity::Error) {
            return Err(checked.findings);
        }
        let known = checked.entities.iter().map(|entity| (entity.uid(), entity.clone()));
        let bounds = check::confidence_bounds(&checked.entities);
        let bounds = bounds.map(|(agent, agreed)| (agent.id().unescaped().to_owned(), agreed));
        Ok(Self {
            sha256: hash(texts),
            warnings: checked.findings,
            remedies: checked.remedies,
            shards: Shards::of(checked.policies),
            known: known.collect(),
            confidence_bounds: bounds.collect(),
            entities: checked.entities,
            pairs: Mutex::default(),
            numbers: AtomicU64::new(0),
            decided: Mutex::default(),
            said: Mutex::default(),
            authorizer: Authorizer::new(),
            schema: check::schema(),
        })
    }

    /// Policies that stand in the set, in no order.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.shards.policies()
    }

    /// The name under which a person's answers count: another one where the set says `sameAs`.
    pub fn person<'p>(&self, name: &'p str) -> Cow<'p, str> {
        let mut found = Cow::Borrowed(name);
        for _ in 0..limits::NAMES_MAX {
            let known = self.known.get(&uid("Person", &found));
            match known.and_then(|person| person.attr("sameAs")) {
                Some(Ok(EvalResult::EntityUid(same))) => {
                    found = Cow::Owned(same.id().unescaped().to_owned());
                }
                Some(_) | None => break,
            }
        }
        found
    }

    /// How much confidence counts that any of these agents has stated, in percent: the least that was agreed with one of
    /// them. Nothing is looked up in a set that has agreed on nothing.
    pub fn confidence_max<'a>(&self, agents: impl IntoIterator<Item = &'a str>) -> Option<i64> {
        if self.confidence_bounds.is_empty() {
            return None;
        }
        let agreed = agents.into_iter().filter_map(|agent| self.confidence_bounds.get(agent));
        agreed.min().copied()
    }

    /// Never fails: whatever goes wrong denies.
    pub fn decide(&self, question: &Question) -> Decision {
        let deny = |error: String| Decision {
            verdict: Verdict::Deny,
            determining: Vec::new(),
            errors: vec![error],
        };
        if let Err(error) = question.check() {
            return deny(error.to_string());
        }
        let pair = match self.pair_of(question) {
            Ok(pair) => pair,
            Err(error) => return deny(error),
        };
        let read = read(question, &pair, None, || pair.shard.facts_of(question));
        if let Some(decision) =
            read.as_ref().and_then(|read| lock(&self.decided).get(read).cloned())
        {
            return decision;
        }
        let request = match question.request(&self.schema) {
            Ok(request) => request,
            Err(error) => return deny(error.to_string()),
        };
        let decision = self.evaluate(question, &request, &pair);
        if let Some(read) = read {
            keep(&mut lock(&self.decided), limits::DECISIONS_MAX, read, decision.clone());
        }
        decision
    }

    fn evaluate(&self, question: &Question, request: &Request, pair: &Pair) -> Decision {
        let (mut permits, mut forbids, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for group in &pair.shard.groups {
            let said = self.said(group, question, request, pair);
            let applies = match group.effect {
                Effect::Permit => &mut permits,
                Effect::Forbid => &mut forbids,
            };
            applies.extend(said.applies.iter().cloned());
            errors.extend(said.errors.iter().cloned());
        }
        if !errors.is_empty() {
            // A policy that errs is passed over by Cedar, be it one that forbids.
            return Decision { verdict: Verdict::Deny, determining: Vec::new(), errors };
        }
        let permitted = !permits.is_empty();
        let mut determining = if forbids.is_empty() { permits } else { forbids.clone() };
        determining.sort();
        let lifted = || -> Option<Vec<_>> {
            determining.iter().map(|id| self.remedies.get(id).cloned()).collect()
        };
        let verdict = match (permitted, forbids.is_empty()) {
            (true, true) => Verdict::Allow,
            // Nothing lifts what no permit allows.
            (false, _) => Verdict::Deny,
            (true, false) => lifted().map_or(Verdict::Deny, Verdict::DenyUnless),
        };
        let determining =
            determining.iter().map(|id| AsRef::<str>::as_ref(id).to_owned()).collect();
        Decision { verdict, determining, errors }
    }

    fn said(
        &self,
        group: &Group,
        question: &Question,
        request: &Request,
        pair: &Pair,
    ) -> Arc<Said> {
        let read = read(question, pair, Some(group.number), || group.facts_of(question));
        if let Some(said) = read.as_ref().and_then(|read| lock(&self.said).get(read).cloned()) {
            return said;
        }
        // Of one effect only, so that those that determine the decision are all that apply.
        let response = self.authorizer.is_authorized(request, &group.policies, &pair.entities);
        let diagnostics = response.diagnostics();
        let said = Arc::new(Said {
            applies: diagnostics.reason().cloned().collect(),
            errors: diagnostics.errors().map(ToString::to_string).collect(),
        });
        if let Some(read) = read {
            keep(&mut lock(&self.said), limits::DECISIONS_MAX, read, Arc::clone(&said));
        }
        said
    }

    fn pair_of(&self, question: &Question) -> Result<Arc<Pair>, String> {
        let key = (question.principal.clone(), question.resource.clone());
        if let Some(kept) = lock(&self.pairs).get(&key).filter(|_| is_kept(question)) {
            return Ok(Arc::clone(kept));
        }
        let pair = Arc::new(Pair {
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
            entities: self.entities_of(question)?,
            shard: self.shards.of_question(question),
        });
        if is_kept(question) {
            keep(&mut lock(&self.pairs), limits::PAIRS_MAX, key, Arc::clone(&pair));
        }
        Ok(pair)
    }

    fn entities_of(&self, question: &Question) -> Result<Entities, String> {
        let (principal, resource) = (&question.principal, &question.resource);
        // Of the set only what the two are in: groups have no attributes, and nothing else is asked about.
        let mut about = vec![principal.uid(), resource.uid()];
        let own = (!self.known.contains_key(&principal.uid())).then(|| principal.entity());
        if own.is_some() {
            about.extend(principal.groups());
        }
        for uid in about.clone() {
            about.extend(self.entities.ancestors(&uid).into_iter().flatten().cloned());
        }
        let known = about.iter().filter_map(|uid| self.known.get(uid).cloned());
        let mut all: HashMap<_, _> = known.map(|entity| (entity.uid(), entity)).collect();
        all.extend(own.into_iter().chain(resource.entity()).map(|entity| (entity.uid(), entity)));
        Entities::from_entities(all.into_values(), None).map_err(|error| error.to_string())
    }
}

/// Callers and instances are too many to be kept.
fn is_kept(question: &Question) -> bool {
    question.action == Action::Dispatch
}

/// None: it is not worth keeping.
fn read(
    question: &Question,
    pair: &Pair,
    group: Option<u64>,
    facts: impl FnOnce() -> Vec<u8>,
) -> Option<Read> {
    let facts = is_kept(question).then(facts)?;
    (facts.len() <= limits::KEPT_FACTS_BYTES_MAX).then_some(Read {
        pair: pair.number,
        group,
        facts,
    })
}

fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forgets everything when there is too much.
fn keep<K: Eq + Hash, V>(kept: &mut HashMap<K, V>, most: usize, key: K, value: V) {
    if kept.len() >= most {
        kept.clear();
    }
    kept.insert(key, value);
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Set").field("policies", &self.policies().count()).finish_non_exhaustive()
    }
}

/// Whether a text has a say in decisions.
pub(crate) fn decides(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|kind| kind == "cedar") || name == ENTITIES
}

pub(crate) const ENTITIES: &str = "entities.json";

/// Lengths go before what they measure, so that no text can pass for two.
fn hash(texts: &Texts) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (name, text) in texts.iter().filter(|(name, _)| decides(name)) {
        for part in [name, text] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
    }
    hash.finalize().into()
}
