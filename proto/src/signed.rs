//! The bytes that an engine's audit key signs. Each begins with what it is, so that no signature can be taken for another's.

/// Of the end of a partition's log.
pub fn head(partition: u32, index: u64, chain: &[u8; 32], at_ms: i64) -> Vec<u8> {
    framed(&[
        b"baton-head/1",
        &u64::from(partition).to_le_bytes(),
        &index.to_le_bytes(),
        &at_ms.to_le_bytes(),
        chain,
    ])
}

/// Of an audit file; the SHA-256 is that of all its bytes before the seal.
pub fn seal(sha256: &[u8; 32]) -> Vec<u8> {
    framed(&[b"baton-seal/1", sha256])
}

/// Each part after its length as little-endian u64, so that no two lists of parts are the same bytes.
fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_as_documented() {
        let bytes = head(1, 2, &[7; 32], 3);
        let mut wanted = Vec::from(12_u64.to_le_bytes());
        wanted.extend(b"baton-head/1");
        for number in [1_u64, 2, 3] {
            wanted.extend(8_u64.to_le_bytes());
            wanted.extend(number.to_le_bytes());
        }
        wanted.extend(32_u64.to_le_bytes());
        wanted.extend([7; 32]);
        assert_eq!(bytes, wanted);
    }
}
