//! Writes an audit file: what the log has, told so that it can be checked without this engine.

use std::sync::Arc;

use async_nats::jetstream::stream::Stream as LogStream;
use baton_core::{InstanceId, Timestamp};
use baton_policy::question::{Action, Principal, Resource};
use baton_proto::{
    pack::{self, Actions, At, Base64, CaseEvent, Commit, Head, Header, Hex, Line, Place, Scope},
    signed,
    v1::{self, commit_body::Content},
};
use futures::{StreamExt, stream};
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tonic::Status;

use super::{Api, audit::first_since, instance_id};
use crate::{
    broker, clock,
    error::Refusal,
    heads, limits, log,
    partition::{self, partition_of},
    view::from_timestamp,
};

type Sender = mpsc::Sender<Result<v1::ExportedLines, Status>>;

/// Who may export everything may do so on this department, which no workflow can have.
const EVERYTHING: &str = "*";

/// What is asked for, checked.
#[derive(Clone, Copy)]
enum Wanted {
    Period { since: Option<Timestamp>, until: Option<Timestamp> },
    Case(InstanceId),
}

/// The file as far as it is written.
struct File<'a> {
    sender: &'a Sender,
    /// Lines that are not sent yet.
    text: String,
    hash: Sha256,
}

impl File<'_> {
    async fn write(&mut self, line: &Line) {
        let text = line.text();
        self.hash.update(&text);
        self.hash.update("\n");
        self.text.push_str(&text);
        self.text.push('\n');
        if self.text.len() >= limits::EXPORT_BYTES {
            self.flush().await;
        }
    }

    /// When nobody listens any more, this task is about to be dropped.
    async fn flush(&mut self) {
        let text = std::mem::take(&mut self.text);
        let _ = self.sender.send(Ok(v1::ExportedLines { text })).await;
    }
}

fn wanted(request: &v1::ExportRequest) -> Result<Wanted, Refusal> {
    let time = |at: Option<&prost_types::Timestamp>| {
        let time = at.map(|at| from_timestamp(at).ok_or("the time is out of range"));
        time.transpose().map_err(|what| Refusal::Invalid(what.into()))
    };
    let (since, until) = (time(request.since.as_ref())?, time(request.until.as_ref())?);
    if request.instance.is_empty() {
        return Ok(Wanted::Period { since, until });
    }
    if since.is_some() || until.is_some() {
        return Err(Refusal::Invalid("an instance is exported whole, without a period".into()));
    }
    instance_id(&request.instance).map(Wanted::Case)
}

fn internal(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::Internal(error.to_string())
}

impl Api {
    /// Checks what is asked, and begins to write.
    pub(super) async fn export_lines(
        &self,
        caller: Principal,
        request: &v1::ExportRequest,
    ) -> Result<mpsc::Receiver<Result<v1::ExportedLines, Status>>, Refusal> {
        let wanted = wanted(request)?;
        match wanted {
            Wanted::Period { .. } => {
                let everything = Resource::Department { department: EVERYTHING.into() };
                self.allow(&caller, Action::Export, everything)?;
            }
            Wanted::Case(id) => self.allow_instance(&caller, Action::Export, id).await?,
        }
        if self.engine.audit_key.is_none() {
            return Err(Refusal::NoAuditKey);
        }
        let (sender, receiver) = mpsc::channel(4);
        let api = self.clone();
        let engine = Arc::clone(&self.engine);
        tokio::spawn(async move {
            let written = tokio::select! { biased;
                () = sender.closed() => return,
                () = engine.stop.cancelled() => {
                    Err(Refusal::PartitionUnavailable("the engine is stopping".into()))
                }
                written = api.write_file(&caller, wanted, &sender) => written,
            };
            if let Err(refusal) = written {
                let _ = sender.send(Err(api.refused(refusal))).await;
            }
        });
        Ok(receiver)
    }

    async fn write_file(
        &self,
        caller: &Principal,
        wanted: Wanted,
        sender: &Sender,
    ) -> Result<(), Refusal> {
        let key = self.engine.audit_key.as_ref().ok_or(Refusal::NoAuditKey)?;
        let partitions = self.engine.partitions_count();
        let of = match wanted {
            Wanted::Period { since, until } => {
                let (since_ms, until_ms) = (since.map(|at| at.0), until.map(|at| at.0));
                Scope::Period { since_ms, until_ms, partitions }
            }
            Wanted::Case(id) => Scope::Case { instance: id.to_string() },
        };
        let mut file = File { sender, text: String::new(), hash: Sha256::new() };
        let header = Header {
            format: pack::FORMAT.to_owned(),
            of,
            exported_at_ms: clock::now().0,
            exported_by: caller.to_string(),
            engine: self.engine.name.clone(),
            key: Hex(key.public()),
        };
        file.write(&Line::Header(header)).await;
        let mut actions = Actions::default();
        match wanted {
            Wanted::Period { since, until } => {
                for partition in 0..partitions {
                    self.write_partition(partition, (since, until), &mut actions, &mut file)
                        .await?;
                }
            }
            Wanted::Case(id) => self.write_case(id, &mut actions, &mut file).await?,
        }
        let sha256: [u8; 32] = file.hash.clone().finalize().into();
        let signature = Hex(key.sign(&signed::seal(&sha256)));
        file.write(&Line::Seal(pack::Seal { sha256: Hex(sha256), signature })).await;
        file.flush().await;
        tracing::info!(caller = %caller, instance = ?wanted.instance(), "An audit file was exported");
        Ok(())
    }

    async fn write_partition(
        &self,
        partition: u32,
        (since, until): (Option<Timestamp>, Option<Timestamp>),
        actions: &mut Actions,
        file: &mut File<'_>,
    ) -> Result<(), Refusal> {
        let log = self.log_of(partition).await?;
        let end = log.cached_info().state.last_sequence;
        let first = match since {
            Some(since) => first_since(&log, partition, since, end).await?,
            None => 1,
        };
        let last = match until {
            Some(until) => first_since(&log, partition, until, end).await?.max(first) - 1,
            None => end,
        };
        file.write(&Line::Partition(Place { partition, first, last })).await;
        if last < first {
            return Ok(());
        }
        let mut signed = Heads::open(self, partition, first).await?;
        signed.write_up_to(first - 1, file).await?;
        let reads = stream::iter(first..=last).map(|index| {
            let log = log.clone();
            async move { log::read_whole(&log, partition, index).await }
        });
        let mut commits = Box::pin(reads.buffered(limits::AUDIT_READS));
        while let Some(commit) = commits.next().await {
            let (header, stored, body) = commit.map_err(|error| internal(&error))?;
            let index = header.index;
            let commit = commit_line(header, stored)
                .ok_or_else(|| internal(&"a commit without its hashes"))?;
            file.write(&Line::Commit(commit)).await;
            for action in actions.of_commit(partition, index, &body) {
                file.write(&Line::Action(Box::new(action))).await;
            }
            signed.write_up_to(index, file).await?;
        }
        Ok(())
    }

    /// Only what is of this instance: nobody sees what else is in its commits.
    async fn write_case(
        &self,
        id: InstanceId,
        actions: &mut Actions,
        file: &mut File<'_>,
    ) -> Result<(), Refusal> {
        let partition = partition_of(id);
        let handle = self.engine.handle(partition)?;
        let positions = |reply| partition::Request::Positions { id, watcher: None, reply };
        let positions = handle.ask(positions).await?;
        let log = self.log_of(partition).await?;
        let reads = stream::iter(positions).map(|index| {
            let log = log.clone();
            async move { log::read_whole(&log, partition, index).await }
        });
        let mut commits = Box::pin(reads.buffered(limits::AUDIT_READS));
        while let Some(commit) = commits.next().await {
            let (header, _, body) = commit.map_err(|error| internal(&error))?;
            let at = At { partition, index: header.index, at_ms: body.at_ms };
            let body_hash = header.body_hash.try_into();
            let body_hash = Hex(body_hash.map_err(|_| internal(&"a commit without its hash"))?);
            let instances = match body.content {
                Some(Content::Batch(batch)) => batch.instances,
                Some(Content::Claim(_)) | None => Vec::new(),
            };
            for entry in instances.into_iter().filter(|entry| entry.instance == id.0) {
                for event in entry.events {
                    let line = CaseEvent {
                        partition,
                        index: at.index,
                        body_hash,
                        at_ms: at.at_ms,
                        event: Base64(event.encode_to_vec()),
                    };
                    file.write(&Line::Event(line)).await;
                    if let Some(action) = actions.of_event(at, id.0, &event) {
                        file.write(&Line::Action(Box::new(action))).await;
                    }
                }
            }
        }
        Ok(())
    }

    async fn log_of(&self, partition: u32) -> Result<LogStream, Refusal> {
        let log = self.engine.broker.jetstream.get_stream(broker::log_stream(partition)).await;
        log.map_err(|error| Refusal::PartitionUnavailable(error.to_string()))
    }
}

impl Wanted {
    fn instance(self) -> Option<String> {
        match self {
            Self::Period { .. } => None,
            Self::Case(id) => Some(id.to_string()),
        }
    }
}

fn commit_line(header: v1::CommitHeader, body: Vec<u8>) -> Option<Commit> {
    Some(Commit {
        partition: header.partition,
        index: header.index,
        epoch: header.epoch,
        previous: Hex(header.previous.try_into().ok()?),
        body_hash: Hex(header.body_hash.try_into().ok()?),
        body: Base64(body),
    })
}

/// The signed heads of a partition, in order, as the commits go by.
struct Heads {
    reader: heads::Reader,
    next: Option<Head>,
}

impl Heads {
    /// Those of the commit before the first one prove what that says of it.
    async fn open(api: &Api, partition: u32, first: u64) -> Result<Self, Refusal> {
        let unavailable = |error: heads::Error| Refusal::PartitionUnavailable(error.to_string());
        let reader = heads::Reader::open(&api.engine.broker, partition).await;
        let mut heads = Self { reader: reader.map_err(unavailable)?, next: None };
        heads.advance(first.saturating_sub(1).max(1)).await?;
        Ok(heads)
    }

    /// To the next head that is not of an earlier commit: they stand in growing order.
    async fn advance(&mut self, from: u64) -> Result<(), Refusal> {
        let unavailable = |error: heads::Error| Refusal::PartitionUnavailable(error.to_string());
        self.next = None;
        while let Some(head) = self.reader.next().await.map_err(unavailable)? {
            if let Some(head) = Head::of(&head).filter(|head| head.index >= from) {
                self.next = Some(head);
                break;
            }
        }
        Ok(())
    }

    async fn write_up_to(&mut self, index: u64, file: &mut File<'_>) -> Result<(), Refusal> {
        while let Some(head) = self.next.take_if(|head| head.index <= index) {
            let from = head.index;
            file.write(&Line::Head(head)).await;
            self.advance(from).await?;
        }
        Ok(())
    }
}
