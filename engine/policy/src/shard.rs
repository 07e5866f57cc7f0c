//! Which policies a question is about: those whose scope speaks of something else can say nothing, and are not asked.
//!
//! A scope is the first thing that Cedar evaluates of a policy, so that leaving these out changes neither the decision nor
//! what determines it nor its errors. `tests/shards.rs` compares both.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PolicySet, PrincipalConstraint, ResourceConstraint,
};

use serde_json::Value;

use crate::{
    limits,
    question::{Action, Question, type_name, uid},
};

pub(crate) struct Shards {
    policies: Vec<Scoped>,
    /// Resources that policies name: these have shards of their own.
    named: BTreeSet<EntityUid>,
    /// Departments that policies name: all others share what speaks of none.
    departments: BTreeSet<EntityUid>,
    made: Mutex<HashMap<Key, Arc<Shard>>>,
    /// The next group's.
    numbers: AtomicU64,
}

/// The policies that may speak of a question, by what they do and what they read: when a fact changes, only those are asked
/// again that read it.
pub(crate) struct Shard {
    pub(crate) groups: Vec<Group>,
    /// Facts that any of them reads; none: any may be.
    facts: Option<BTreeSet<String>>,
}

/// Policies of one effect that read the same facts.
pub(crate) struct Group {
    /// Of its own in the whole set.
    pub(crate) number: u64,
    pub(crate) effect: Effect,
    pub(crate) policies: PolicySet,
    facts: Option<BTreeSet<String>>,
}

impl Shard {
    fn of<'p>(scoped: impl Iterator<Item = &'p Scoped>, numbers: &AtomicU64) -> Self {
        let mut groups: BTreeMap<_, Vec<&Scoped>> = BTreeMap::new();
        for scoped in scoped {
            let permits = scoped.policy.effect() == Effect::Permit;
            groups.entry((permits, scoped.facts.as_ref())).or_default().push(scoped);
        }
        let facts: Option<Vec<_>> = groups.keys().map(|(_, facts)| *facts).collect();
        let facts = facts.map(|facts| facts.into_iter().flatten().cloned().collect());
        let groups = groups.into_iter().map(|((permits, facts), scoped)| {
            let policies = scoped.into_iter().map(|scoped| scoped.policy.clone());
            Group {
                number: numbers.fetch_add(1, Ordering::Relaxed),
                effect: if permits { Effect::Permit } else { Effect::Forbid },
                policies: PolicySet::from_policies(policies)
                    .expect("their ids differ in the whole set"),
                facts: facts.cloned(),
            }
        });
        Self { groups: groups.collect(), facts }
    }

    /// Names and values of the facts that its policies may read.
    pub(crate) fn facts_of(&self, question: &Question) -> Vec<u8> {
        facts_read(self.facts.as_ref(), question)
    }
}

impl Group {
    /// Names and values of the facts that its policies may read.
    pub(crate) fn facts_of(&self, question: &Question) -> Vec<u8> {
        facts_read(self.facts.as_ref(), question)
    }
}

fn facts_read(read: Option<&BTreeSet<String>>, question: &Question) -> Vec<u8> {
    let mut facts = Vec::new();
    for (name, value) in question.known() {
        if read.is_none_or(|read| read.contains(name)) {
            facts.extend_from_slice(name.as_bytes());
            facts.push(b'=');
            serde_json::to_writer(&mut facts, value).expect("a value is JSON");
            facts.push(b',');
        }
    }
    facts
}

/// The facts that a policy reads; none when that cannot be told.
fn facts_of(policy: &Policy) -> Option<BTreeSet<String>> {
    let mut facts = BTreeSet::new();
    // Cedar's own form of a policy: what reads `context.amount` is `{".": {"left": {"Var": "context"}, "attr": "amount"}}`.
    read_by(&policy.to_json().ok()?, &mut facts)?;
    Some(facts)
}

fn read_by(term: &Value, facts: &mut BTreeSet<String>) -> Option<()> {
    match term {
        Value::Object(members) => {
            let of_context = |of: &Value| {
                let context = of.get("left")?.get("Var")? == "context";
                context.then(|| of.get("attr")?.as_str().map(str::to_owned)).flatten()
            };
            for (name, member) in members {
                match (name.as_str(), of_context(member)) {
                    ("." | "has", Some(fact)) => {
                        facts.insert(fact);
                    }
                    ("Var", _) if member == "context" => return None,
                    _ => read_by(member, facts)?,
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                read_by(item, facts)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Some(())
}

struct Scoped {
    policy: Policy,
    /// In the order of [`Action::ALL`].
    actions: [bool; Action::ALL.len()],
    principal: PrincipalConstraint,
    resource: ResourceConstraint,
    /// Facts that it reads; none: any may be.
    facts: Option<BTreeSet<String>>,
}

/// Questions of which the same policies may speak.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    action: Action,
    principal: &'static str,
    resource: &'static str,
    department: Owner,
    named: Option<EntityUid>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Owner {
    /// The set says whose it is, as of an agent.
    Unknown,
    /// A department that no policy names.
    Other,
    Named(EntityUid),
}

impl Shards {
    pub(crate) fn of(policies: Vec<Policy>) -> Self {
        let policies: Vec<_> = policies.into_iter().map(Scoped::of).collect();
        let named = policies.iter().filter_map(|scoped| match &scoped.resource {
            ResourceConstraint::Eq(uid) => Some(uid.clone()),
            ResourceConstraint::Any
            | ResourceConstraint::In(_)
            | ResourceConstraint::Is(_)
            | ResourceConstraint::IsIn(..) => None,
        });
        let named = named.collect();
        let within = policies.iter().filter_map(|scoped| match &scoped.resource {
            ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => Some(uid.clone()),
            ResourceConstraint::Any | ResourceConstraint::Eq(_) | ResourceConstraint::Is(_) => None,
        });
        let departments = within.collect();
        Self { policies, named, departments, made: Mutex::default(), numbers: AtomicU64::new(0) }
    }

    pub(crate) fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter().map(|scoped| &scoped.policy)
    }

    fn made(&self) -> MutexGuard<'_, HashMap<Key, Arc<Shard>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn of_question(&self, question: &Question) -> Arc<Shard> {
        let resource = question.resource.uid();
        let key = Key {
            action: question.action,
            principal: question.principal.kind(),
            resource: question.resource.kind(),
            department: match question.resource.department() {
                None => Owner::Unknown,
                Some(department) => {
                    let department = uid("Department", department);
                    let named = self.departments.contains(&department);
                    if named { Owner::Named(department) } else { Owner::Other }
                }
            },
            named: self.named.contains(&resource).then_some(resource),
        };
        if let Some(found) = self.made().get(&key) {
            return Arc::clone(found);
        }
        // Nobody waits for it: two may make the same.
        let of_key = self.policies.iter().filter(|scoped| scoped.speaks_of(&key));
        let shard = Arc::new(Shard::of(of_key, &self.numbers));
        let mut made = self.made();
        if made.len() >= limits::SHARDS_MAX {
            made.clear();
        }
        made.insert(key, Arc::clone(&shard));
        shard
    }
}

impl Scoped {
    fn of(policy: Policy) -> Self {
        let speaks_of = |action: Action| match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::In(actions) => actions.contains(&action.uid()),
            ActionConstraint::Eq(found) => found == action.uid(),
        };
        let (principal, resource) = (policy.principal_constraint(), policy.resource_constraint());
        let facts = facts_of(&policy);
        Self { actions: Action::ALL.map(speaks_of), principal, resource, facts, policy }
    }

    fn speaks_of(&self, key: &Key) -> bool {
        let principal = type_name(key.principal);
        let of_principal = match &self.principal {
            PrincipalConstraint::Any | PrincipalConstraint::In(_) => true,
            PrincipalConstraint::Eq(uid) => *uid.type_name() == principal,
            PrincipalConstraint::Is(kind) | PrincipalConstraint::IsIn(kind, _) => {
                *kind == principal
            }
        };
        let resource = type_name(key.resource);
        let of_resource = match &self.resource {
            ResourceConstraint::Any => true,
            ResourceConstraint::In(uid) => may_be_in(uid, key),
            ResourceConstraint::Eq(uid) => key.named.as_ref() == Some(uid),
            ResourceConstraint::Is(kind) => *kind == resource,
            ResourceConstraint::IsIn(kind, uid) => *kind == resource && may_be_in(uid, key),
        };
        let of_action = Action::ALL.iter().position(|action| *action == key.action);
        of_principal && of_resource && of_action.is_some_and(|at| self.actions[at])
    }
}

/// A department holds what it owns, and itself. That nothing else is in one, `check.rs` sees to.
fn may_be_in(container: &EntityUid, key: &Key) -> bool {
    if *container.type_name() != type_name("Department") {
        return true;
    }
    match &key.department {
        Owner::Unknown => true,
        Owner::Other => false,
        Owner::Named(department) => container == department,
    }
}
