//! One question: may this principal do that to this resource, knowing this.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use cedar_policy::{
    Context, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression, Schema,
    validate_scope_variables,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// In JSON and YAML, `{principal: {agent: clerk, kind: write}, action: dispatch, resource: {function: finance.pay, effect:
/// irreversible}, facts: {amount: 500}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub principal: Principal,
    pub action: Action,
    pub resource: Resource,
    /// Named as in the schema. What is missing or null is not known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, Value>,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Principal {
    Person {
        person: String,
        /// As somebody else vouches for them. Where the set knows the person, what it says counts instead.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        groups: Vec<String>,
    },
    Service {
        service: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        groups: Vec<String>,
    },
    Agent {
        agent: String,
        /// Unless the set says it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<String>,
    },
    Worker {
        worker: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    Dispatch,
    Deploy,
    Start,
    Read,
    Signal,
    Cancel,
    Export,
    Claim,
    Decide,
    Kill,
    Rearm,
    ActivatePolicy,
    Publish,
}

/// What it is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Resource {
    /// `department.function`
    Function {
        function: String,
        effect: String,
    },
    /// `department/name`, with the name of its version's risk class.
    Workflow {
        workflow: String,
        risk: String,
    },
    Instance {
        instance: String,
        /// `department/name`
        of: String,
    },
    Department {
        department: String,
    },
    Agent {
        agent: String,
    },
    PolicySet {
        set: String,
    },
}

/// Why there is no such question.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no fact {0}")]
    UnknownFact(String),
    #[error("fact {name} must be {wanted}")]
    Fact { name: String, wanted: &'static str },
    #[error("{0} must be two names with a {1} between them")]
    Name(String, char),
    #[error("the facts cannot be told: {0}")]
    Facts(Box<cedar_policy::ContextCreationError>),
    #[error("the question cannot be asked: {0}")]
    Request(String),
}

/// A name of the schema's namespace.
pub(crate) fn type_name(name: &str) -> EntityTypeName {
    format!("Baton::{name}").parse().expect("our own names are well formed")
}

pub(crate) fn uid(kind: &str, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(type_name(kind), EntityId::new(id))
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn entity(
    uid: EntityUid,
    attributes: impl IntoIterator<Item = (&'static str, RestrictedExpression)>,
    parents: impl IntoIterator<Item = EntityUid>,
) -> Entity {
    let attributes: HashMap<_, _> =
        attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Entity::new(uid, attributes, parents.into_iter().collect::<HashSet<_>>())
        .expect("texts evaluate to themselves")
}

impl Principal {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Person { .. } => "Person",
            Self::Service { .. } => "Service",
            Self::Agent { .. } => "Agent",
            Self::Worker { .. } => "Worker",
        }
    }

    pub fn id(&self) -> &str {
        match self {
            Self::Person { person: id, .. }
            | Self::Service { service: id, .. }
            | Self::Agent { agent: id, .. }
            | Self::Worker { worker: id } => id,
        }
    }

    pub(crate) fn uid(&self) -> EntityUid {
        uid(self.kind(), self.id())
    }

    /// For those of whom the set says nothing.
    pub(crate) fn entity(&self) -> Entity {
        let kind = match self {
            Self::Agent { kind, .. } => kind.as_deref().map(|kind| ("kind", text(kind))),
            Self::Person { .. } | Self::Service { .. } | Self::Worker { .. } => None,
        };
        entity(self.uid(), kind, self.groups())
    }

    /// That somebody vouches for.
    pub(crate) fn groups(&self) -> impl Iterator<Item = EntityUid> {
        let groups = match self {
            Self::Person { groups, .. } | Self::Service { groups, .. } => groups.as_slice(),
            Self::Agent { .. } | Self::Worker { .. } => &[],
        };
        groups.iter().map(|group| uid("Group", group))
    }
}

/// `person alice`, `service ci`, …
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind().to_lowercase(), self.id())
    }
}

impl Action {
    pub(crate) const ALL: [Self; 13] = [
        Self::Dispatch,
        Self::Deploy,
        Self::Start,
        Self::Read,
        Self::Signal,
        Self::Cancel,
        Self::Export,
        Self::Claim,
        Self::Decide,
        Self::Kill,
        Self::Rearm,
        Self::ActivatePolicy,
        Self::Publish,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch",
            Self::Deploy => "deploy",
            Self::Start => "start",
            Self::Read => "read",
            Self::Signal => "signal",
            Self::Cancel => "cancel",
            Self::Export => "export",
            Self::Claim => "claim",
            Self::Decide => "decide",
            Self::Kill => "kill",
            Self::Rearm => "rearm",
            Self::ActivatePolicy => "activatePolicy",
            Self::Publish => "publish",
        }
    }

    pub(crate) fn uid(self) -> EntityUid {
        uid("Action", self.name())
    }
}

impl Resource {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Function { .. } => "Function",
            Self::Workflow { .. } => "Workflow",
            Self::Instance { .. } => "Instance",
            Self::Department { .. } => "Department",
            Self::Agent { .. } => "Agent",
            Self::PolicySet { .. } => "PolicySet",
        }
    }

    pub(crate) fn uid(&self) -> EntityUid {
        let id = match self {
            Self::Function { function: id, .. }
            | Self::Workflow { workflow: id, .. }
            | Self::Instance { instance: id, .. }
            | Self::Department { department: id }
            | Self::Agent { agent: id }
            | Self::PolicySet { set: id } => id,
        };
        uid(self.kind(), id)
    }

    /// A name that tells no owner would escape what is said of its owner.
    fn expect_name(&self) -> Result<(), Error> {
        let (name, between) = match self {
            Self::Function { function, .. } => (function, '.'),
            Self::Workflow { workflow: name, .. } | Self::Instance { of: name, .. } => (name, '/'),
            Self::Department { .. } | Self::Agent { .. } | Self::PolicySet { .. } => return Ok(()),
        };
        let parts: Vec<_> = name.split(between).collect();
        let whole = parts.len() == 2 && parts.iter().all(|part| !part.is_empty());
        if whole { Ok(()) } else { Err(Error::Name(name.clone(), between)) }
    }

    /// Whose it is.
    pub fn department(&self) -> Option<&str> {
        match self {
            Self::Function { function, .. } => function.split_once('.').map(|(owner, _)| owner),
            Self::Workflow { workflow: name, .. } | Self::Instance { of: name, .. } => {
                name.split_once('/').map(|(owner, _)| owner)
            }
            Self::Department { department } => Some(department),
            Self::Agent { .. } | Self::PolicySet { .. } => None,
        }
    }

    /// `None` for those that the set speaks of.
    pub(crate) fn entity(&self) -> Option<Entity> {
        let department = self.department().map(|department| uid("Department", department));
        match self {
            Self::Function { effect, .. } => {
                Some(entity(self.uid(), [("effect", text(effect))], department))
            }
            Self::Workflow { risk, .. } => {
                Some(entity(self.uid(), [("risk", text(risk))], department))
            }
            Self::Instance { of, .. } => {
                let parents = department.into_iter().chain([uid("Workflow", of)]);
                Some(entity(self.uid(), [], parents))
            }
            Self::Department { .. } | Self::PolicySet { .. } => Some(entity(self.uid(), [], [])),
            Self::Agent { .. } => None,
        }
    }
}

impl Question {
    /// What is not known is no error: that shows when a policy reads it.
    ///
    /// # Errors
    /// [`Error`] says what of it the schema does not have.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.resource.expect_name()?;
        for (name, value) in self.known() {
            let wanted = Kind::of(name)?;
            if !wanted.fits(value) {
                return Err(Error::Fact { name: name.clone(), wanted: wanted.name() });
            }
        }
        Ok(())
    }

    /// Facts that are known.
    pub(crate) fn known(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.facts.iter().filter(|(_, value)| !value.is_null())
    }

    /// # Errors
    /// As [`Self::check`], and when Cedar does not take it.
    pub(crate) fn request(&self, schema: &Schema) -> Result<Request, Error> {
        self.check()?;
        let facts = self.known().map(|(name, value)| {
            let wanted = Kind::of(name)?;
            let value = wanted.take(value);
            let fits = |value| (name.clone(), value);
            value.map(fits).ok_or_else(|| Error::Fact { name: name.clone(), wanted: wanted.name() })
        });
        let facts = facts.collect::<Result<Vec<_>, Error>>()?;
        let context = Context::from_pairs(facts).map_err(|error| Error::Facts(Box::new(error)))?;
        let (principal, resource) = (self.principal.uid(), self.resource.uid());
        let action = self.action.uid();
        validate_scope_variables(&principal, &action, &resource, schema)
            .map_err(|error| Error::Request(error.to_string()))?;
        Request::new(principal, action, resource, context, None)
            .map_err(|error| Error::Request(error.to_string()))
    }
}

/// What a fact is. Cedar itself compares values of two types without an error: they differ, and a policy that forbids would
/// not apply.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Number,
    Text,
    Texts,
    Person,
    Group,
}

/// As the schema has them; `tests/findings.rs` compares.
const FACTS: [(&str, Kind); 23] = [
    ("amount", Kind::Number),
    ("customer", Kind::Text),
    ("evidence", Kind::Texts),
    ("marks", Kind::Texts),
    ("destination", Kind::Text),
    ("classes", Kind::Texts),
    ("taint", Kind::Texts),
    ("confidence", Kind::Number),
    ("record", Kind::Number),
    ("risk", Kind::Number),
    ("cost", Kind::Number),
    ("attempts", Kind::Number),
    ("turns", Kind::Number),
    ("repeats", Kind::Number),
    ("sample", Kind::Number),
    ("done", Kind::Texts),
    ("approvals", Kind::Texts),
    ("reviews", Kind::Texts),
    ("masked", Kind::Texts),
    ("escalated", Kind::Texts),
    ("open", Kind::Texts),
    ("author", Kind::Person),
    ("group", Kind::Group),
];

impl Kind {
    fn of(fact: &str) -> Result<Self, Error> {
        let found = FACTS.iter().find(|(name, _)| *name == fact);
        found.map(|(_, kind)| *kind).ok_or_else(|| Error::UnknownFact(fact.to_owned()))
    }

    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Number => value.is_i64(),
            Self::Text | Self::Group => value.is_string(),
            Self::Texts => value.as_array().is_some_and(|texts| texts.iter().all(Value::is_string)),
            Self::Person => {
                let members = value.as_object().filter(|members| members.len() == 1);
                let person = members.and_then(|members| members.get("person"));
                person.is_some_and(Value::is_string)
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Number => "a whole number",
            Self::Text => "a text",
            Self::Texts => "an array of texts",
            Self::Person => "{person: ID}",
            Self::Group => "the name of a group",
        }
    }

    fn take(self, value: &Value) -> Option<RestrictedExpression> {
        match self {
            Self::Number => value.as_i64().map(RestrictedExpression::new_long),
            Self::Text => value.as_str().map(text),
            Self::Group => {
                let group = value.as_str()?;
                Some(RestrictedExpression::new_entity_uid(uid("Group", group)))
            }
            Self::Texts => {
                let texts = value.as_array()?.iter().map(|value| value.as_str().map(text));
                Some(RestrictedExpression::new_set(texts.collect::<Option<Vec<_>>>()?))
            }
            Self::Person => {
                let person = value.get("person")?.as_str()?;
                Some(RestrictedExpression::new_entity_uid(uid("Person", person)))
            }
        }
    }
}
