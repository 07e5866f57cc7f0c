//! What lists show of an instance.

use std::collections::BTreeMap;

use prost::Message;

use super::Error;

/// Statuses are numbered as in the API's `Status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub namespace: String,
    pub name: String,
    pub version: String,
    pub status: u8,
    pub started_at_ms: i64,
    pub updated_at_ms: i64,
    /// 0 while it is open.
    pub ended_at_ms: i64,
    pub labels: BTreeMap<String, String>,
    pub key: String,
    pub reason: String,
    pub trace_id: String,
    pub workflow_hash: [u8; 32],
}

/// Cancelled, faulted or completed.
pub(super) fn has_ended(status: u8) -> bool {
    matches!(status, 5..=7)
}

pub(super) fn encode(summary: &Summary) -> Vec<u8> {
    let Summary {
        namespace,
        name,
        version,
        status,
        started_at_ms,
        updated_at_ms,
        ended_at_ms,
        labels,
        key,
        reason,
        trace_id,
        workflow_hash,
    } = summary;
    Stored {
        namespace: namespace.clone(),
        name: name.clone(),
        version: version.clone(),
        status: u32::from(*status),
        started_at_ms: *started_at_ms,
        updated_at_ms: *updated_at_ms,
        ended_at_ms: *ended_at_ms,
        labels: labels.clone(),
        key: key.clone(),
        reason: reason.clone(),
        trace_id: trace_id.clone(),
        workflow_hash: workflow_hash.to_vec(),
    }
    .encode_to_vec()
}

pub(super) fn decode(bytes: &[u8]) -> Result<Summary, Error> {
    let stored = Stored::decode(bytes).map_err(|_| Error::Damaged("a summary cannot be read"))?;
    Ok(Summary {
        namespace: stored.namespace,
        name: stored.name,
        version: stored.version,
        status: u8::try_from(stored.status).map_err(|_| Error::Damaged("a status is unknown"))?,
        started_at_ms: stored.started_at_ms,
        updated_at_ms: stored.updated_at_ms,
        ended_at_ms: stored.ended_at_ms,
        labels: stored.labels,
        key: stored.key,
        reason: stored.reason,
        trace_id: stored.trace_id,
        workflow_hash: stored
            .workflow_hash
            .try_into()
            .map_err(|_| Error::Damaged("a workflow's hash has another length"))?,
    })
}

/// How it is kept. A change of meaning needs a new `entry::FORMAT`, which empties old caches.
#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    version: String,
    #[prost(uint32, tag = "4")]
    status: u32,
    #[prost(int64, tag = "5")]
    started_at_ms: i64,
    #[prost(int64, tag = "6")]
    updated_at_ms: i64,
    #[prost(int64, tag = "7")]
    ended_at_ms: i64,
    #[prost(btree_map = "string, string", tag = "8")]
    labels: BTreeMap<String, String>,
    #[prost(string, tag = "9")]
    key: String,
    #[prost(string, tag = "10")]
    reason: String,
    #[prost(string, tag = "11")]
    trace_id: String,
    #[prost(bytes = "vec", tag = "12")]
    workflow_hash: Vec<u8>,
}
