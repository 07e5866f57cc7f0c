//! Checks the lines of an audit file one after the other: their form, what they say of each other, and the signatures.

use std::collections::VecDeque;

use baton_proto::{
    pack::{self, Action, Actions, At, CaseEvent, Head, Header, LINE_BYTES_MAX, Line, Scope, Seal},
    signed, v1,
};
use ed25519_dalek::{Signature, VerifyingKey};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::commits::{Commits, Partition};

/// After so many nobody reads on.
const FINDINGS_MAX: usize = 20;

pub(crate) struct Verifier {
    /// Public keys that are believed; none: the one in the file is.
    keys: Vec<[u8; 32]>,
    lines: u64,
    /// Of all lines so far.
    hash: Sha256,
    header: Option<Header>,
    of: Of,
    actions: Actions,
    /// What the lines so far say that steps came to, and what is still to be said of it.
    owed: VecDeque<Action>,
    sealed: bool,
    counts: Counts,
    findings: Vec<Finding>,
}

/// What is not as it was exported.
#[derive(Debug)]
pub(crate) struct Finding {
    /// From 1.
    pub(crate) line: u64,
    /// Stable: docs/errors.md explains it.
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// Why a line does not hold.
pub(super) type Wrong = (&'static str, String);

/// What a file turned out to be.
pub(crate) struct Checked {
    pub(crate) header: Option<Header>,
    pub(crate) lines: u64,
    pub(crate) commits: u64,
    pub(crate) events: u64,
    pub(crate) actions: u64,
    pub(crate) heads: u64,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) findings: Vec<Finding>,
}

#[derive(Default)]
struct Counts {
    commits: u64,
    events: u64,
    actions: u64,
    heads: u64,
}

/// What lines may follow.
enum Of {
    /// Nothing has said so yet.
    Unknown,
    Period(Commits),
    Case(Case),
}

/// The events of one instance so far.
struct Case {
    instance: [u8; 16],
    partition: Option<u32>,
    index: u64,
    at_ms: i64,
}

pub(super) fn wrong(code: &'static str, message: impl Into<String>) -> Wrong {
    (code, message.into())
}

impl Verifier {
    pub(crate) fn new(keys: Vec<[u8; 32]>) -> Self {
        Self {
            keys,
            lines: 0,
            hash: Sha256::new(),
            header: None,
            of: Of::Unknown,
            actions: Actions::default(),
            owed: VecDeque::new(),
            sealed: false,
            counts: Counts::default(),
            findings: Vec::new(),
        }
    }

    /// Whether there is reason to read on.
    pub(crate) fn goes_on(&self) -> bool {
        self.findings.len() < FINDINGS_MAX
    }

    /// One line with its end, as it stands in the file.
    pub(crate) fn line(&mut self, bytes: &[u8]) {
        self.lines += 1;
        if let Err(wrong) = self.check(bytes) {
            self.find(wrong);
        }
    }

    /// There are no more lines.
    pub(crate) fn end(mut self) -> Checked {
        if !self.sealed && self.goes_on() {
            self.find(wrong("no-seal", "the file ends without a seal: something is missing"));
        }
        let Counts { commits, events, actions, heads } = self.counts;
        let partitions = match self.of {
            Of::Period(commits) => commits.partitions,
            Of::Case(_) | Of::Unknown => Vec::new(),
        };
        Checked {
            header: self.header,
            lines: self.lines,
            commits,
            events,
            actions,
            heads,
            partitions,
            findings: self.findings,
        }
    }

    fn find(&mut self, (code, message): Wrong) {
        self.findings.push(Finding { line: self.lines, code, message });
    }

    fn check(&mut self, bytes: &[u8]) -> Result<(), Wrong> {
        let line = parse(bytes);
        if let Ok(Line::Seal(seal)) = &line {
            return self.seal(seal);
        }
        self.hash.update(bytes);
        if self.sealed {
            return Err(wrong("out-of-place", "something stands behind the seal"));
        }
        match line? {
            Line::Header(header) => self.header(header),
            Line::Action(action) => self.action(&action),
            Line::Partition(place) => {
                self.expect_nothing_owed()?;
                self.commits()?.begin(&place)
            }
            Line::Commit(commit) => {
                self.expect_nothing_owed()?;
                self.counts.commits += 1;
                let body = self.commits()?.take(&commit)?;
                self.owed.extend(self.actions.of_commit(commit.partition, commit.index, &body));
                Ok(())
            }
            Line::Head(head) => {
                self.expect_nothing_owed()?;
                self.head(&head)
            }
            Line::Event(event) => {
                self.expect_nothing_owed()?;
                self.event(&event)
            }
            Line::Seal(seal) => self.seal(&seal),
        }
    }

    fn header(&mut self, header: Header) -> Result<(), Wrong> {
        if self.lines != 1 {
            return Err(wrong("out-of-place", "a header stands in the first line"));
        }
        if header.format != pack::FORMAT {
            let wanted = pack::FORMAT;
            return Err(wrong("not-canonical", format!("its format is not {wanted}")));
        }
        self.of = match &header.of {
            Scope::Period { since_ms, until_ms, partitions } => {
                Of::Period(Commits::new((*since_ms, *until_ms), *partitions))
            }
            Scope::Case { instance } => {
                let id = Uuid::try_parse(instance)
                    .map_err(|_| wrong("not-canonical", "the instance is no UUID"))?;
                let instance = id.into_bytes();
                Of::Case(Case { instance, partition: None, index: 0, at_ms: i64::MIN })
            }
        };
        let key = header.key.0;
        self.header = Some(header);
        self.expect_believed(key, "the file")
    }

    fn commits(&mut self) -> Result<&mut Commits, Wrong> {
        match &mut self.of {
            Of::Period(commits) => Ok(commits),
            Of::Case(_) | Of::Unknown => {
                Err(wrong("out-of-place", "only the file of a period has this line"))
            }
        }
    }

    /// What a line of a commit or an event came to is said right behind it.
    fn expect_nothing_owed(&mut self) -> Result<(), Wrong> {
        match self.owed.pop_front() {
            None => Ok(()),
            Some(action) => {
                self.owed.clear();
                let step = format!("{}/{}", action.instance, action.step);
                Err(wrong("wrong-action", format!("what became of step {step} is missing before")))
            }
        }
    }

    fn action(&mut self, action: &Action) -> Result<(), Wrong> {
        self.counts.actions += 1;
        match self.owed.pop_front() {
            Some(owed) if owed == *action => Ok(()),
            Some(_) => {
                Err(wrong("wrong-action", "it is not what the events before it say of the step"))
            }
            None => Err(wrong("wrong-action", "the events before it settle no step")),
        }
    }

    fn head(&mut self, head: &Head) -> Result<(), Wrong> {
        self.counts.heads += 1;
        self.expect_believed(head.key.0, "a head")?;
        let bytes = signed::head(head.partition, head.index, &head.chain.0, head.at_ms);
        if !is_signed(&head.key.0, &bytes, &head.signature.0) {
            return Err(wrong(
                "wrong-signature",
                "the head is not signed by the key that it names",
            ));
        }
        self.commits()?.head(head)
    }

    fn event(&mut self, event: &CaseEvent) -> Result<(), Wrong> {
        let Of::Case(case) = &mut self.of else {
            return Err(wrong("out-of-place", "only the file of a case has this line"));
        };
        self.counts.events += 1;
        let first = case.partition.is_none();
        let place = *case.partition.get_or_insert(event.partition);
        if place != event.partition || event.index < case.index || event.at_ms < case.at_ms {
            return Err(wrong("out-of-place", "it stands before the event before it"));
        }
        (case.index, case.at_ms) = (event.index, event.at_ms);
        let decoded = v1::Event::decode(event.event.0.as_slice())
            .map_err(|_| wrong("not-canonical", "the event cannot be decoded"))?;
        let starts = matches!(decoded.kind, Some(v1::event::Kind::InstanceStarted(_)));
        if first && !starts {
            return Err(wrong("missing-lines", "the instance's beginning is missing"));
        }
        let at = At { partition: event.partition, index: event.index, at_ms: event.at_ms };
        self.owed.extend(self.actions.of_event(at, case.instance, &decoded));
        Ok(())
    }

    fn seal(&mut self, seal: &Seal) -> Result<(), Wrong> {
        if std::mem::replace(&mut self.sealed, true) {
            return Err(wrong("out-of-place", "there is a seal before"));
        }
        let Some(header) = &self.header else {
            return Err(wrong("out-of-place", "there is no header before"));
        };
        let key = header.key.0;
        let sha256: [u8; 32] = self.hash.clone().finalize().into();
        if sha256 != seal.sha256.0 {
            return Err(wrong("wrong-seal", "the lines before are not those that were sealed"));
        }
        if !is_signed(&key, &signed::seal(&sha256), &seal.signature.0) {
            let message = "the seal is not signed by the key that the file names";
            return Err(wrong("wrong-signature", message));
        }
        self.expect_nothing_owed()?;
        match &mut self.of {
            Of::Period(commits) => commits.end(),
            Of::Case(case) if case.partition.is_none() => {
                Err(wrong("missing-lines", "there is no event"))
            }
            Of::Case(_) | Of::Unknown => Ok(()),
        }
    }

    fn expect_believed(&self, key: [u8; 32], whose: &str) -> Result<(), Wrong> {
        let own = self.header.as_ref().map(|header| header.key.0);
        let believed =
            if self.keys.is_empty() { own == Some(key) } else { self.keys.contains(&key) };
        if believed {
            return Ok(());
        }
        let key = pack::Hex(key);
        Err(wrong("unknown-key", format!("{whose} is signed with {key}, which is not believed")))
    }
}

fn parse(bytes: &[u8]) -> Result<Line, Wrong> {
    let Some(line) = bytes.strip_suffix(b"\n") else {
        let too_long = bytes.len() > LINE_BYTES_MAX;
        let message = if too_long { "the line is too long" } else { "the line has no end" };
        return Err(wrong("not-canonical", message));
    };
    if line.len() > LINE_BYTES_MAX {
        return Err(wrong("not-canonical", "the line is too long"));
    }
    let text = std::str::from_utf8(line).ok();
    text.and_then(Line::parse)
        .ok_or_else(|| wrong("not-canonical", "it is not a line as an engine writes it"))
}

fn is_signed(key: &[u8; 32], bytes: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key)
        .is_ok_and(|key| key.verify_strict(bytes, &Signature::from_bytes(signature)).is_ok())
}
