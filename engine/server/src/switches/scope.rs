//! What a kill switch stops, in the one form in which it is typed, stored and shown.

use std::{fmt, str::FromStr};

use baton_core::{Instance, limits::TAINT_BEYOND, workflow::Function};
use baton_policy::question::Resource;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits;

/// `everything`, `department:finance`, `function:finance.pay`, `worker:finance-7`, `workflow:finance/purchase` (with
/// `:1.2.0`: that version), `label:customer=4711`, `class:personal`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    Everything,
    /// Its functions, whoever calls them.
    Department(String),
    Function {
        department: String,
        name: String,
    },
    /// By the name under which it announces itself. Others go on with its steps.
    Worker(String),
    /// Without a version: all of them.
    Workflow {
        namespace: String,
        name: String,
        version: Option<String>,
    },
    /// Instances with this label.
    Label {
        key: String,
        value: String,
    },
    /// Instances into which data of this class has flowed.
    Class(String),
}

impl Scope {
    /// Whether a step of this function may not go on. A worker's steps are held by nobody: they go to others.
    pub fn holds(&self, instance: &Instance, function: &Function) -> bool {
        match self {
            Self::Everything => true,
            Self::Department(department) => *department == *function.department,
            Self::Function { department, name } => {
                *department == *function.department && *name == *function.name
            }
            Self::Worker(_) => false,
            Self::Workflow { namespace, name, version } => {
                let of = &instance.started.name;
                *namespace == *of.namespace
                    && *name == *of.name
                    && version.as_ref().is_none_or(|version| *version == *of.version)
            }
            Self::Label { key, value } => {
                instance.started.labels.get(key.as_str()).is_some_and(|found| **found == **value)
            }
            // Where there are more than can be told apart, any may be among them.
            Self::Class(class) => {
                let taint = &instance.case.taint;
                taint.contains(class.as_str()) || taint.contains(TAINT_BEYOND)
            }
        }
    }

    /// Whether it holds every step of this function, whatever the instance.
    pub fn holds_all_of(&self, function: &Function) -> bool {
        match self {
            Self::Everything => true,
            Self::Department(_) | Self::Function { .. } => self.may_hold(function),
            Self::Worker(_) | Self::Workflow { .. } | Self::Label { .. } | Self::Class(_) => false,
        }
    }

    /// Whether it may hold some step of this function: the instance has the last word.
    pub fn may_hold(&self, function: &Function) -> bool {
        match self {
            Self::Department(department) => *department == *function.department,
            Self::Function { department, name } => {
                *department == *function.department && *name == *function.name
            }
            Self::Worker(_) => false,
            Self::Everything | Self::Workflow { .. } | Self::Label { .. } | Self::Class(_) => true,
        }
    }

    pub fn is_worker(&self, worker: &str) -> bool {
        matches!(self, Self::Worker(found) if found == worker)
    }

    /// Whether no instance of this workflow may be started.
    pub fn is_workflow(&self, of: (&str, &str, &str)) -> bool {
        let Self::Workflow { namespace, name, version } = self else { return false };
        namespace == of.0 && name == of.1 && version.as_ref().is_none_or(|version| version == of.2)
    }

    /// What policies are asked about whoever throws it. What crosses departments is everybody's: the department `*`.
    pub fn resource(&self) -> Resource {
        match self {
            Self::Everything | Self::Label { .. } | Self::Class(_) => {
                Resource::Department { department: "*".into() }
            }
            Self::Department(department) => Resource::Department { department: department.clone() },
            Self::Function { department, name } => Resource::Function {
                function: format!("{department}.{name}"),
                effect: crate::effects::WORST.into(),
            },
            Self::Worker(worker) => Resource::Agent { agent: worker.clone() },
            Self::Workflow { namespace, name, .. } => {
                Resource::Workflow { workflow: format!("{namespace}/{name}"), risk: String::new() }
            }
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::Department(department) => write!(f, "department:{department}"),
            Self::Function { department, name } => write!(f, "function:{department}.{name}"),
            Self::Worker(worker) => write!(f, "worker:{worker}"),
            Self::Workflow { namespace, name, version: None } => {
                write!(f, "workflow:{namespace}/{name}")
            }
            Self::Workflow { namespace, name, version: Some(version) } => {
                write!(f, "workflow:{namespace}/{name}:{version}")
            }
            Self::Label { key, value } => write!(f, "label:{key}={value}"),
            Self::Class(class) => write!(f, "class:{class}"),
        }
    }
}

/// It is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "a scope is everything, department:NAME, function:DEPARTMENT.NAME, worker:NAME, workflow:NAMESPACE/NAME[:VERSION], label:KEY=VALUE or class:NAME"
)]
pub struct NoScope;

impl FromStr for Scope {
    type Err = NoScope;

    fn from_str(text: &str) -> Result<Self, NoScope> {
        if text.len() > limits::SCOPE_BYTES_MAX {
            return Err(NoScope);
        }
        let Some((kind, of)) = text.split_once(':') else {
            return if text == "everything" { Ok(Self::Everything) } else { Err(NoScope) };
        };
        // A `*` or a `.` would be more than the subject of one name.
        let name = |name: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            let fits = !name.is_empty() && name.bytes().all(fits);
            fits.then(|| name.to_owned()).ok_or(NoScope)
        };
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned()).ok_or(NoScope);
        match kind {
            "department" => Ok(Self::Department(name(of)?)),
            "function" => {
                let (department, function) = of.split_once('.').ok_or(NoScope)?;
                Ok(Self::Function { department: name(department)?, name: name(function)? })
            }
            "worker" => Ok(Self::Worker(name(of)?)),
            "workflow" => {
                let (namespace, rest) = of.split_once('/').ok_or(NoScope)?;
                let (workflow, version) = match rest.split_once(':') {
                    Some((workflow, version)) => (workflow, Some(text(version)?)),
                    None => (rest, None),
                };
                Ok(Self::Workflow { namespace: name(namespace)?, name: name(workflow)?, version })
            }
            "label" => {
                let (key, value) = of.split_once('=').ok_or(NoScope)?;
                Ok(Self::Label { key: text(key)?, value: value.to_owned() })
            }
            "class" => Ok(Self::Class(text(of)?)),
            _ => Err(NoScope),
        }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_reads_as_it_is_written() {
        for text in [
            "everything",
            "department:finance",
            "function:finance.pay",
            "worker:finance-7",
            "workflow:finance/purchase",
            "workflow:finance/purchase:1.2.0+b:1",
            "label:customer=47=11",
            "label:customer=",
            "class:very personal",
        ] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_could_mean_more_than_it_says_is_no_scope() {
        for text in [
            "",
            "all",
            "everything:",
            "department:",
            "department:*",
            "department:a.b",
            "function:pay",
            "function:finance.pay.>",
            "function:finance.*",
            "workflow:purchase",
            "workflow:finance/",
            "workflow:finance/purchase:",
            "label:customer",
            "label:=x",
            "class:",
        ] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
        assert!(format!("class:{}", "x".repeat(limits::SCOPE_BYTES_MAX)).parse::<Scope>().is_err());
    }
}
