//! What lifts a denial, as the annotations of a `forbid` say it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::limits;

/// What the engine does before it asks again. In text, as in `@remedy("approval:finance-managers")`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Remedy {
    /// People of this group approve. Then `context.approvals` contains the group.
    Approval(String),
    /// This field of the input is masked. Then `context.masked` contains it.
    Mask(String),
    /// The step waits until this window is open. Then `context.open` contains it.
    Wait(String),
    /// People of this group look at it. Then `context.reviews` contains the group.
    Review(String),
    /// This level is told. Then `context.escalated` contains it.
    Escalate(String),
}

/// A remedy with what its policy says of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Wanted {
    pub remedy: Remedy,
    /// `@id` of the policy.
    pub policy: String,
    /// `@quorum`: so many different people; 1 unless it says otherwise.
    pub quorum: u32,
    /// `@due`: an ISO 8601 duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<String>,
    /// The same in milliseconds.
    #[serde(skip)]
    pub due_ms: Option<u64>,
    /// `@reason`: for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `@fallback`: what is done when nobody answers in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Remedy>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a remedy is approval:GROUP, mask:FIELD, wait:WINDOW, review:GROUP or escalate:LEVEL")]
    Form,
    #[error("what a remedy names has 1 to {} bytes", limits::NAME_BYTES_MAX)]
    Name,
}

impl Remedy {
    /// The fact that tells of it, and what that fact contains then.
    pub fn fact(&self) -> (&'static str, &str) {
        match self {
            Self::Approval(group) => ("approvals", group),
            Self::Mask(field) => ("masked", field),
            Self::Wait(window) => ("open", window),
            Self::Review(group) => ("reviews", group),
            Self::Escalate(level) => ("escalated", level),
        }
    }

    /// Whether people must answer, so that somebody must step in when they do not.
    pub fn waits_for_people(&self) -> bool {
        match self {
            Self::Approval(_) | Self::Review(_) => true,
            Self::Mask(_) | Self::Wait(_) | Self::Escalate(_) => false,
        }
    }
}

impl FromStr for Remedy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (kind, name) = text.split_once(':').ok_or(Error::Form)?;
        if name.is_empty() || name.len() > limits::NAME_BYTES_MAX {
            return Err(Error::Name);
        }
        let name = name.to_owned();
        match kind {
            "approval" => Ok(Self::Approval(name)),
            "mask" => Ok(Self::Mask(name)),
            "wait" => Ok(Self::Wait(name)),
            "review" => Ok(Self::Review(name)),
            "escalate" => Ok(Self::Escalate(name)),
            _ => Err(Error::Form),
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Approval(_) => "approval",
            Self::Mask(_) => "mask",
            Self::Wait(_) => "wait",
            Self::Review(_) => "review",
            Self::Escalate(_) => "escalate",
        };
        write!(f, "{kind}:{}", self.fact().1)
    }
}

impl TryFrom<String> for Remedy {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Remedy> for String {
    fn from(remedy: Remedy) -> Self {
        remedy.to_string()
    }
}
