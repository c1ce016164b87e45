//! The secret that the processes of one cluster share.
//!
//! It proves membership on the links and nothing else. It travels in a pipe or lies in a file that the operator
//! guards; it is never in an argument, an environment, a log line or anything written to the lake.

use std::fmt;
use std::hint::black_box;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

/// Fewer bytes could be guessed from one recorded handshake.
pub(crate) const SECRET_BYTES_MIN: usize = 16;

const RANDOM_BYTES: usize = 32;

#[derive(Debug, Error)]
#[error("the cluster secret has {bytes} bytes; it needs at least {SECRET_BYTES_MIN} random ones")]
pub(crate) struct SecretTooShort {
    bytes: usize,
}

/// The bytes are overwritten when the value is dropped, and `Debug` does not show them.
#[derive(Clone)]
pub(crate) struct Secret(Vec<u8>);

impl Secret {
    pub(crate) fn new(mut bytes: Vec<u8>) -> Result<Self, SecretTooShort> {
        if bytes.len() < SECRET_BYTES_MIN {
            let error = SecretTooShort { bytes: bytes.len() };
            wipe(&mut bytes);
            return Err(error);
        }
        Ok(Self(bytes))
    }

    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = vec![0; RANDOM_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// HMAC-SHA256 (RFC 2104) under this secret over `parts` one after the other. Every part but the last has a fixed
    /// length, so two different lists never look the same.
    pub(super) fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        parts.iter().for_each(|part| mac.update(part));
        mac
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Overwrites bytes that held a secret. `black_box` keeps the write although nobody reads it.
pub(super) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    black_box(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let secret = Secret::new(b"correct horse battery".to_vec()).expect("long enough");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn short_is_refused() {
        assert!(Secret::new(vec![7; SECRET_BYTES_MIN - 1]).is_err());
        assert!(Secret::new(vec![7; SECRET_BYTES_MIN]).is_ok());
    }

    #[test]
    fn random_ones_differ() {
        let (a, b) = (Secret::random().expect("random"), Secret::random().expect("random"));
        assert_eq!(a.bytes().len(), RANDOM_BYTES);
        assert_ne!(a.bytes(), b.bytes());
    }

    /// RFC 4231, test case 6: a key longer than the block.
    #[test]
    fn mac_agrees_with_the_rfc() {
        let secret = Secret::new(vec![0xaa; 131]).expect("long enough");
        let mac = secret.mac(&[b"Test Using Larger Than ", b"Block-Size Key - Hash Key First"]);
        assert_eq!(
            ct_model::id::to_hex(&mac.finalize().into_bytes()),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }
}
