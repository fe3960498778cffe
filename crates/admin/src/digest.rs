use sha2::{Digest, Sha256};

/// Returns the SHA-256 digest of a sequence of strings. The length of each is hashed too, so that
/// sequences with the same concatenation differ.
pub(super) fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}
