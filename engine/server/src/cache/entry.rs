//! Keys and values as they stand in a partition's tree, each value under a checksum that covers its key.
//!
//! | key | value |
//! |---|---|
//! | `m` | the mark: up to where the log is in here, and the sum over all other entries |
//! | `r` id | the record: summary and state |
//! | `w` workflow id | nothing: the instance is of that workflow |
//! | `s` workflow status id | nothing: and has that status |
//! | `l` label id | nothing: and has that label |
//! | `k` idempotency key | the instance that the key started |
//! | `p` id first-sequence | a chunk of the log's sequences that hold the instance's events |

use sha2::{Digest, Sha256};

use super::Error;
use super::partition::{Applied, KeyEntry, Record};
use super::summary::{self, Summary};

/// Grows whenever an entry's meaning changes; a cache of another format is thrown away.
const FORMAT: u32 = 1;

const CHECKSUM_BYTES: usize = 8;

pub(super) const MARK_KEY: &[u8] = b"m";
pub(super) const RECORD_TAG: u8 = b'r';

/// What the mark says. `sum` adds up the checksums of all other entries, so an entry that is lost, stale or new from
/// nowhere shows when the folder is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) applied: Applied,
    pub(super) sum: u64,
    pub(super) entries: u64,
}

pub(super) fn record_key(id: [u8; 16]) -> Vec<u8> {
    [&[RECORD_TAG], &id[..]].concat()
}

pub(super) fn workflow_prefix(namespace: &str, name: &str) -> Vec<u8> {
    [b"w", &digest(&[namespace, name])[..8]].concat()
}

pub(super) fn status_prefix(namespace: &str, name: &str, status: u8) -> Vec<u8> {
    [b"s", &digest(&[namespace, name])[..8], &[status]].concat()
}

pub(super) fn label_prefix(label: &str, value: &str) -> Vec<u8> {
    [b"l", &digest(&[label, value])[..8]].concat()
}

pub(super) fn idempotency_key(namespace: &str, name: &str, key: &str) -> Vec<u8> {
    [b"k", &digest(&[namespace, name, key])[..16]].concat()
}

pub(super) fn positions_prefix(id: [u8; 16]) -> Vec<u8> {
    [b"p", &id[..]].concat()
}

/// The id at the end of an index entry's key.
pub(super) fn id_of(key: &[u8]) -> Result<[u8; 16], Error> {
    key.last_chunk().copied().ok_or(Error::Damaged("an index entry has no id"))
}

/// The first bytes of the SHA-256 over key and content, as a number.
pub(super) fn checksum(key: &[u8], content: &[u8]) -> u64 {
    let hash = Sha256::new_with_prefix(key).chain_update(content).finalize();
    hash.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

pub(super) fn seal(key: &[u8], content: &[u8]) -> (Vec<u8>, u64) {
    let checksum = checksum(key, content);
    ([&checksum.to_le_bytes(), content].concat(), checksum)
}

pub(super) fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Result<(&'a [u8], u64), Error> {
    let (claimed, content) = value
        .split_first_chunk::<CHECKSUM_BYTES>()
        .ok_or(Error::Damaged("a value is too short"))?;
    let checksum = checksum(key, content);
    if checksum.to_le_bytes() != *claimed {
        return Err(Error::Damaged("a checksum does not match"));
    }
    Ok((content, checksum))
}

/// A record's value: length of the sealed summary, the sealed summary, the sealed state. Lists check and read the
/// summary alone, however large the state is.
pub(super) fn seal_record(key: &[u8], summary: &Summary, state: &[u8]) -> (Vec<u8>, u64) {
    let (summary, summary_checksum) = seal(key, &summary::encode(summary));
    let state_checksum = checksum(key, state);
    let length = u32::try_from(summary.len()).unwrap_or(u32::MAX);
    let value =
        [&length.to_le_bytes(), &summary[..], &state_checksum.to_le_bytes(), state].concat();
    (value, record_checksum(summary_checksum, state_checksum))
}

pub(super) fn unseal_summary(key: &[u8], value: &[u8]) -> Result<Summary, Error> {
    summary::decode(unseal(key, split_record(value)?.0)?.0)
}

/// What a stored record adds to the sum, and what it says; the state's own checksum is taken as it stands.
pub(super) fn unseal_summary_and_sum(key: &[u8], value: &[u8]) -> Result<(Summary, u64), Error> {
    let (summary, state) = split_record(value)?;
    let (summary, summary_checksum) = unseal(key, summary)?;
    let state_checksum = state.first_chunk().copied().map_or(0, u64::from_le_bytes);
    Ok((summary::decode(summary)?, record_checksum(summary_checksum, state_checksum)))
}

pub(super) fn unseal_state<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], Error> {
    Ok(unseal(key, split_record(value)?.1)?.0)
}

pub(super) fn unseal_record(key: &[u8], value: &[u8]) -> Result<Record, Error> {
    Ok(Record { summary: unseal_summary(key, value)?, state: unseal_state(key, value)?.to_vec() })
}

pub(super) fn seal_mark(mark: &Mark) -> Vec<u8> {
    let Mark { applied: Applied { stream_created_ms, sequence, chain }, sum, entries } = mark;
    let content = [
        &FORMAT.to_le_bytes()[..],
        &stream_created_ms.to_le_bytes(),
        &sequence.to_le_bytes(),
        chain,
        &sum.to_le_bytes(),
        &entries.to_le_bytes(),
    ]
    .concat();
    seal(MARK_KEY, &content).0
}

pub(super) fn unseal_mark(value: &[u8]) -> Result<Mark, Error> {
    let (content, _) = unseal(MARK_KEY, value)?;
    let mut fields = Fields(content);
    if u32::from_le_bytes(fields.take()?) != FORMAT {
        return Err(Error::Damaged("it is of another format"));
    }
    let applied = Applied {
        stream_created_ms: i64::from_le_bytes(fields.take()?),
        sequence: u64::from_le_bytes(fields.take()?),
        chain: fields.take()?,
    };
    let (sum, entries) = (u64::from_le_bytes(fields.take()?), u64::from_le_bytes(fields.take()?));
    Ok(Mark { applied, sum, entries })
}

pub(super) fn seal_key_entry(key: &[u8], entry: &KeyEntry) -> (Vec<u8>, u64) {
    seal(key, &[&entry.id[..], &entry.request_sha256].concat())
}

pub(super) fn unseal_key_entry(key: &[u8], value: &[u8]) -> Result<KeyEntry, Error> {
    let mut fields = Fields(unseal(key, value)?.0);
    Ok(KeyEntry { id: fields.take()?, request_sha256: fields.take()? })
}

/// The first position stands in the key; the value holds how far each next one is from the one before.
pub(super) fn seal_positions(id: [u8; 16], first: u64, rest: &[u64]) -> (Vec<u8>, Vec<u8>, u64) {
    let key = [&positions_prefix(id)[..], &first.to_be_bytes()].concat();
    let mut content = Vec::new();
    let mut before = first;
    for position in rest {
        prost::encoding::encode_varint(position.wrapping_sub(before), &mut content);
        before = *position;
    }
    let (value, checksum) = seal(&key, &content);
    (key, value, checksum)
}

pub(super) fn unseal_positions(
    key: &[u8],
    value: &[u8],
    positions: &mut Vec<u64>,
) -> Result<(), Error> {
    let (mut content, _) = unseal(key, value)?;
    let mut position = u64::from_be_bytes(
        key.last_chunk().copied().ok_or(Error::Damaged("a chunk of positions has no first"))?,
    );
    positions.push(position);
    while !content.is_empty() {
        let step = prost::encoding::decode_varint(&mut content)
            .map_err(|_| Error::Damaged("a chunk of positions cannot be read"))?;
        position = position.wrapping_add(step);
        positions.push(position);
    }
    Ok(())
}

fn split_record(value: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let too_short = Error::Damaged("a record is too short");
    let Some((length, rest)) = value.split_first_chunk::<4>() else { return Err(too_short) };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    rest.split_at_checked(length).ok_or(too_short)
}

/// Two halves that changed places must not cancel out.
fn record_checksum(summary: u64, state: u64) -> u64 {
    summary.rotate_left(1).wrapping_add(state)
}

/// Parts are told apart by their lengths.
fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (field, rest) =
            self.0.split_first_chunk().ok_or(Error::Damaged("a value is too short"))?;
        self.0 = rest;
        Ok(*field)
    }
}
