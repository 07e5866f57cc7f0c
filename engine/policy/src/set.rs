//! A set: its texts, checked and ready to be asked.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cedar_policy::{
    Authorizer, Entities, Entity, EntityUid, EvalResult, Policy, PolicyId, Request, Schema,
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    check,
    finding::{Finding, Severity},
    limits,
    question::{Action, Principal, Question, Resource, uid},
    remedy::Wanted,
    shard::{Shard, Shards},
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
    /// Entities of a question: the same for each that is about the same two.
    pairs: Mutex<HashMap<(Principal, Resource), Arc<Entities>>>,
    /// What was decided: the same whenever what policies read is the same.
    decided: Mutex<HashMap<Read, Decision>>,
    authorizer: Authorizer,
    schema: Schema,
}

/// All of a question that policies read.
#[derive(PartialEq, Eq, Hash)]
struct Read {
    principal: Principal,
    action: Action,
    resource: Resource,
    /// Names and values.
    facts: String,
}

impl Read {
    /// None: it is not worth keeping.
    fn of(question: &Question, shard: &Shard) -> Option<Self> {
        let facts = shard.facts_of(question);
        let (principal, resource) = (question.principal.clone(), question.resource.clone());
        let read = Self { principal, action: question.action, resource, facts };
        (question.action == Action::Dispatch && read.facts.len() <= limits::KEPT_FACTS_BYTES_MAX)
            .then_some(read)
    }
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
        Ok(Self {
            sha256: hash(texts),
            warnings: checked.findings,
            remedies: checked.remedies,
            shards: Shards::of(checked.policies),
            known: known.collect(),
            entities: checked.entities,
            pairs: Mutex::default(),
            decided: Mutex::default(),
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
        let shard = self.shards.of_question(question);
        let read = Read::of(question, &shard);
        if let Some(decision) = read.as_ref().and_then(|read| self.decided().get(read).cloned()) {
            return decision;
        }
        let request = match question.request(&self.schema) {
            Ok(request) => request,
            Err(error) => return deny(error.to_string()),
        };
        let entities = match self.entities_of(question) {
            Ok(entities) => entities,
            Err(error) => return deny(error),
        };
        let decision = self.evaluate(&request, &shard, &entities);
        if let Some(read) = read {
            let mut decided = self.decided();
            if decided.len() >= limits::DECISIONS_MAX {
                decided.clear();
            }
            decided.insert(read, decision.clone());
        }
        decision
    }

    fn decided(&self) -> MutexGuard<'_, HashMap<Read, Decision>> {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn evaluate(&self, request: &Request, shard: &Shard, entities: &Entities) -> Decision {
        let response = self.authorizer.is_authorized(request, &shard.all, entities);
        let diagnostics = response.diagnostics();
        let errors: Vec<_> = diagnostics.errors().map(ToString::to_string).collect();
        if !errors.is_empty() {
            // A policy that errs is passed over by Cedar, be it one that forbids.
            return Decision { verdict: Verdict::Deny, determining: Vec::new(), errors };
        }
        let mut determining: Vec<&PolicyId> = diagnostics.reason().collect();
        determining.sort();
        let lifted = || determining.iter().map(|id| self.remedies.get(*id).cloned()).collect();
        let verdict = match response.decision() {
            cedar_policy::Decision::Allow => Verdict::Allow,
            cedar_policy::Decision::Deny => match lifted() {
                Some(wanted) if !determining.is_empty() => {
                    // Nothing lifts what no permit allows.
                    let permits = &shard.permits;
                    let permitted = self.authorizer.is_authorized(request, permits, entities);
                    match permitted.decision() {
                        cedar_policy::Decision::Allow => Verdict::DenyUnless(wanted),
                        cedar_policy::Decision::Deny => Verdict::Deny,
                    }
                }
                Some(_) | None => Verdict::Deny,
            },
        };
        let determining =
            determining.into_iter().map(|id| AsRef::<str>::as_ref(id).to_owned()).collect();
        Decision { verdict, determining, errors }
    }

    fn entities_of(&self, question: &Question) -> Result<Arc<Entities>, String> {
        let pair = (question.principal.clone(), question.resource.clone());
        let kept = self.pairs.lock().unwrap_or_else(PoisonError::into_inner).get(&pair).cloned();
        if let Some(kept) = kept {
            return Ok(kept);
        }
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
        let entities = Entities::from_entities(all.into_values(), None);
        let entities = Arc::new(entities.map_err(|error| error.to_string())?);
        // Callers and instances are too many to be kept.
        if question.action != Action::Dispatch {
            return Ok(entities);
        }
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        if pairs.len() >= limits::PAIRS_MAX {
            pairs.clear();
        }
        pairs.insert(pair, Arc::clone(&entities));
        Ok(entities)
    }
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
