//! What chains a commit to the one before it.

use sha2::{Digest, Sha256};

use crate::v1;

/// What the next commit's `previous` must be: see the .proto file.
pub fn chain_value(header: &v1::CommitHeader) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(u64::from(header.partition).to_le_bytes());
    hash.update(header.index.to_le_bytes());
    hash.update(header.epoch.to_le_bytes());
    hash.update(&header.previous);
    hash.update(&header.body_hash);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_counts() {
        let header = v1::CommitHeader {
            partition: 1,
            index: 2,
            epoch: 3,
            previous: vec![4; 32],
            body_hash: vec![5; 32],
        };
        let others = [
            v1::CommitHeader { partition: 2, ..header.clone() },
            v1::CommitHeader { index: 3, ..header.clone() },
            v1::CommitHeader { epoch: 4, ..header.clone() },
            v1::CommitHeader { previous: vec![5; 32], ..header.clone() },
            v1::CommitHeader { body_hash: vec![6; 32], ..header.clone() },
        ];
        for other in others {
            assert_ne!(chain_value(&other), chain_value(&header), "{other:?}");
        }
    }
}
