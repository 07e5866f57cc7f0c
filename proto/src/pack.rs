//! The lines of an audit file, `baton-audit/1`: JSON, each exactly as it is written here.
//!
//! Of a period: the header; for each partition in order its place, then its commits, each followed by the actions that it
//! settles and the heads that were signed at it; the seal. Of a case: the header; the events of one instance, each followed by
//! the action that it settles; the seal.

mod actions;
mod bytes;

use serde::{Deserialize, Serialize};

pub use actions::{Actions, At};
pub use bytes::{Base64, Hex};

use crate::v1;

pub const FORMAT: &str = "baton-audit/1";

/// Bytes of a line without its end: a commit fits one NATS message of 1 MiB, and base64 makes four thirds of it.
pub const LINE_BYTES_MAX: usize = 2 * 1024 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Header(Header),
    Partition(Place),
    Commit(Commit),
    Event(CaseEvent),
    Action(Box<Action>),
    Head(Head),
    Seal(Seal),
}

impl Line {
    /// As it stands in a file, without its end.
    ///
    /// # Panics
    /// Never: there is nothing in it that JSON cannot say.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("keys are texts, and numbers are whole")
    }

    /// `None`: it is not what [`Line::text`] writes, to the byte.
    pub fn parse(text: &str) -> Option<Self> {
        let line: Self = serde_json::from_str(text).ok()?;
        (line.text() == text).then_some(line)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    pub of: Scope,
    pub exported_at_ms: i64,
    /// `person anna`, `service ci`.
    pub exported_by: String,
    /// Name of the engine, for people.
    pub engine: String,
    /// The public key to the seal's signature.
    pub key: Hex<32>,
}

/// What a file is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Period {
        /// None: from the beginning.
        since_ms: Option<i64>,
        /// None: to where the logs ended when it was exported.
        until_ms: Option<i64>,
        partitions: u32,
    },
    Case {
        instance: String,
    },
}

/// The commits of a partition that follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub partition: u32,
    pub first: u64,
    /// One less than the first: there are none.
    pub last: u64,
}

/// As [`v1::Commit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    pub partition: u32,
    pub index: u64,
    pub epoch: u64,
    pub previous: Hex<32>,
    pub body_hash: Hex<32>,
    /// A [`v1::CommitBody`].
    pub body: Base64,
}

impl Commit {
    pub fn header(&self) -> v1::CommitHeader {
        v1::CommitHeader {
            partition: self.partition,
            index: self.index,
            epoch: self.epoch,
            previous: self.previous.0.to_vec(),
            body_hash: self.body_hash.0.to_vec(),
        }
    }
}

/// An event of the one instance that a case is, and the commit that it stands in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseEvent {
    pub partition: u32,
    pub index: u64,
    pub body_hash: Hex<32>,
    pub at_ms: i64,
    /// A [`v1::Event`].
    pub event: Base64,
}

/// What became of one attempt at a step. What cannot be told from the file alone is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    pub partition: u32,
    /// Of the commit that settles it.
    pub index: u64,
    pub instance: String,
    /// `namespace/name:version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Its number in the workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<u32>,
    pub step: u32,
    pub attempt: u32,
    /// `department.function`; known of what policies were asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    pub outcome: Outcome,
    /// The kind of the error that it failed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When the log had it.
    pub settled_at_ms: i64,
    /// What the worker said of its own work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at_ms: Option<i64>,
    /// In millionths of the unit of money.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<u64>,
    /// What policies said last of this attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Who had approved the step, and it was not void; left out where the step began before the file does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Completed,
    Failed,
    Cancelled,
    /// A kill switch stopped it.
    Halted,
    /// A kill switch had stopped it, and its worker answered all the same: the answer is on record, and was not applied.
    Fenced,
    /// Another step had done what has its key, and its output is that of this step, too.
    Attached,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// `allow`, `deny` or `deny-unless`.
    pub verdict: String,
    /// SHA-256 of the policy set, hexadecimal.
    pub set: String,
    /// Ids of the policies that led to it.
    pub policies: Vec<String>,
}

/// As [`v1::SignedHead`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub partition: u32,
    pub index: u64,
    pub chain: Hex<32>,
    pub at_ms: i64,
    pub key: Hex<32>,
    pub signature: Hex<64>,
}

impl Head {
    /// `None`: it is none.
    pub fn of(head: &v1::SignedHead) -> Option<Self> {
        Some(Self {
            partition: head.partition,
            index: head.index,
            chain: Hex(head.chain.as_slice().try_into().ok()?),
            at_ms: head.at_ms,
            key: Hex(head.key.as_slice().try_into().ok()?),
            signature: Hex(head.signature.as_slice().try_into().ok()?),
        })
    }
}

/// The end of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Of all bytes before this line.
    pub sha256: Hex<32>,
    /// Of [`crate::signed::seal`], by the header's key.
    pub signature: Hex<64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_it_writes_is_a_line() {
        let line = Line::Seal(Seal { sha256: Hex([10; 32]), signature: Hex([0xb; 64]) });
        let text = line.text();
        assert_eq!(Line::parse(&text), Some(line));
        let upper = text.replacen("0a", "0A", 1);
        let spaced = text.replacen(':', ": ", 1);
        let more = text.replacen("}}", r#","more":1}}"#, 1);
        let short = text.replacen("0a", "", 1);
        for other in [upper, spaced, more, short, format!("{text} ")] {
            assert_eq!(Line::parse(&other), None, "{other}");
        }
    }

    #[test]
    fn numbers_come_back() {
        let action = Action {
            partition: 1,
            index: u64::MAX,
            instance: "x".into(),
            workflow: None,
            task: Some(0),
            step: 1,
            attempt: 1,
            function: None,
            outcome: Outcome::Completed,
            error: None,
            settled_at_ms: i64::MIN,
            worker: None,
            service: None,
            started_at_ms: None,
            finished_at_ms: None,
            cost: Some(u64::MAX),
            decision: None,
            approved_by: Some(Vec::new()),
        };
        let line = Line::Action(Box::new(action));
        assert_eq!(Line::parse(&line.text()), Some(line));
    }
}
