//! Checks the commits of an audit file: that none is missing, that each follows from the one before, and that they are those
//! whose heads were signed.

use baton_proto::{
    chain::chain_value,
    pack::{Commit, Head, Place},
    v1::CommitBody,
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::verify::{Wrong, wrong};

pub(super) struct Commits {
    /// From when on, and until when, in Unix milliseconds.
    period: (Option<i64>, Option<i64>),
    /// So many there must be.
    wanted: u32,
    /// Those so far; the last one is being read.
    pub(super) partitions: Vec<Partition>,
    position: Position,
}

/// A partition of the file.
pub(crate) struct Partition {
    pub(crate) number: u32,
    pub(crate) first: u64,
    /// One less than the first: there are no commits.
    pub(crate) last: u64,
    /// The last commit that a head was signed for, if any.
    pub(crate) signed_to: Option<u64>,
}

/// Where the reading is in its partition.
#[derive(Default)]
struct Position {
    index: u64,
    /// None: the first commit of the file, if it is not the log's first, says it of the one before.
    chain: Option<[u8; 32]>,
    epoch: u64,
    at_ms: Option<i64>,
}

impl Commits {
    pub(super) fn new(period: (Option<i64>, Option<i64>), wanted: u32) -> Self {
        Self { period, wanted, partitions: Vec::new(), position: Position::default() }
    }

    /// A partition begins.
    pub(super) fn begin(&mut self, place: &Place) -> Result<(), Wrong> {
        let whole = self.expect_whole();
        let number = self.partitions.len();
        let Place { partition, first, last } = *place;
        let odd = first == 0 || last < first - 1 || (self.period.0.is_none() && first != 1);
        self.partitions.push(Partition { number: partition, first, last, signed_to: None });
        self.position = Position {
            index: first.saturating_sub(1),
            chain: (first == 1).then_some([0; 32]),
            ..Position::default()
        };
        whole?;
        if usize::try_from(partition) != Ok(number) || partition >= self.wanted {
            return Err(wrong("out-of-place", format!("partition {number} was to come here")));
        }
        if odd {
            return Err(wrong("missing-lines", "its commits do not begin where they must"));
        }
        Ok(())
    }

    /// The next commit; answers its body.
    pub(super) fn take(&mut self, commit: &Commit) -> Result<CommitBody, Wrong> {
        let Some(place) = self.partitions.last() else {
            return Err(wrong("out-of-place", "no partition has begun"));
        };
        let next = self.position.index.saturating_add(1);
        let full = self.position.index >= place.last;
        let elsewhere = commit.partition != place.number || full;
        if elsewhere || commit.index < next || commit.index > place.last {
            let what = format!("commit {next} of partition {} was to come here", place.number);
            return Err(wrong("out-of-place", what));
        }
        let before = std::mem::take(&mut self.position);
        let header = commit.header();
        self.position = Position {
            index: commit.index,
            chain: Some(chain_value(&header)),
            epoch: commit.epoch,
            at_ms: before.at_ms,
        };
        if commit.index != next {
            return Err(wrong("missing-lines", format!("commit {next} is missing before")));
        }
        if before.chain.is_some_and(|chain| chain != commit.previous.0) {
            return Err(wrong("broken-chain", "it does not follow from the commit before it"));
        }
        if Sha256::digest(&commit.body.0) != commit.body_hash.0.into() {
            return Err(wrong("wrong-hash", "the hash of its body does not fit"));
        }
        if commit.epoch < before.epoch {
            return Err(wrong("broken-chain", "its epoch is older than the one before it"));
        }
        let body = CommitBody::decode(commit.body.0.as_slice())
            .map_err(|_| wrong("not-canonical", "its body cannot be decoded"))?;
        self.position.at_ms = Some(body.at_ms);
        let (since, until) = self.period;
        let early = since.is_some_and(|since| body.at_ms < since);
        let late = until.is_some_and(|until| body.at_ms >= until);
        if early || late || before.at_ms.is_some_and(|at| body.at_ms < at) {
            return Err(wrong("out-of-place", "it is of another time"));
        }
        Ok(body)
    }

    /// A head whose signature holds.
    pub(super) fn head(&mut self, head: &Head) -> Result<(), Wrong> {
        let Some(place) = self.partitions.last_mut() else {
            return Err(wrong("out-of-place", "no partition has begun"));
        };
        if head.partition != place.number || head.index != self.position.index {
            return Err(wrong("out-of-place", "the head is of another commit"));
        }
        match self.position.chain {
            Some(chain) if chain != head.chain.0 => {
                return Err(wrong("wrong-head", "the log was signed with another commit here"));
            }
            Some(_) => {}
            // It stands before the first commit, which must follow from it.
            None => self.position.chain = Some(head.chain.0),
        }
        if head.index >= place.first {
            place.signed_to = Some(head.index);
        }
        Ok(())
    }

    /// There are no more partitions.
    pub(super) fn end(&self) -> Result<(), Wrong> {
        self.expect_whole()?;
        if usize::try_from(self.wanted) == Ok(self.partitions.len()) {
            return Ok(());
        }
        let what = format!("{} partitions were to come", self.wanted);
        Err(wrong("missing-lines", what))
    }

    fn expect_whole(&self) -> Result<(), Wrong> {
        match self.partitions.last() {
            Some(place) if self.position.index < place.last => {
                let what = format!("the commits up to {} are missing before", place.last);
                Err(wrong("missing-lines", what))
            }
            Some(_) | None => Ok(()),
        }
    }
}
