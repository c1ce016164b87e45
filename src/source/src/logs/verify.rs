//! Signatures of logs and of lists of logs. Pure functions; the cryptography is ring's.

mod spki;
#[cfg(test)]
mod tests;

use ct_model::ctlog::head::{DigitallySigned, SignedHead};
use ring::signature::{ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

/// Why a signature is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("a key that is no SubjectPublicKeyInfo for ECDSA over P-256 or for RSA")]
    Key,
    #[error("a key that is no PEM of a public key")]
    Pem,
    #[error("an algorithm that is not that of the key with SHA-256")]
    Algorithm,
    #[error("not the key's signature over these bytes")]
    Signature,
}

/// A key of a log (RFC 6962 section 2.1.4), or of whoever signs a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// As ring takes it: an uncompressed point, or an RSAPublicKey (RFC 8017 appendix A.1.1).
    bytes: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    EcdsaP256,
    /// PKCS #1 v1.5 of 2048 to 8192 bits.
    Rsa,
}

impl PublicKey {
    /// From the DER of a SubjectPublicKeyInfo, as lists of logs have it. Whether the point is on the curve, and the RSA
    /// key of a size that is accepted, shows only when a signature is checked.
    pub fn from_spki(der: &[u8]) -> Result<Self, VerifyError> {
        let (algorithm, bytes) = spki::read(der).ok_or(VerifyError::Key)?;
        Ok(Self { algorithm, bytes: bytes.into() })
    }

    /// From the first `PUBLIC KEY` in a PEM text (RFC 7468 section 13), as Google publishes the key of its lists.
    pub fn from_pem(text: &str) -> Result<Self, VerifyError> {
        let body = text.split_once("-----BEGIN PUBLIC KEY-----").map(|(_, rest)| rest);
        let body = body.and_then(|rest| rest.split_once("-----END PUBLIC KEY-----")).map(|(body, _)| body);
        let base64: String = body.ok_or(VerifyError::Pem)?.split_ascii_whitespace().collect();
        let der = base64_simd::STANDARD.decode_to_vec(base64).map_err(|_| VerifyError::Pem)?;
        Self::from_spki(&der)
    }

    /// Checks a log's signature over `message`.
    pub fn verify(&self, message: &[u8], signed: &DigitallySigned) -> Result<(), VerifyError> {
        // RFC 5246 section 7.4.1.4.1: the numbers of SHA-256, RSA and ECDSA.
        const SHA256: u8 = 4;
        let algorithm = match signed.algorithm {
            1 => Algorithm::Rsa,
            3 => Algorithm::EcdsaP256,
            _ => return Err(VerifyError::Algorithm),
        };
        if signed.hash != SHA256 || algorithm != self.algorithm {
            return Err(VerifyError::Algorithm);
        }
        self.verify_bytes(message, &signed.signature)
    }

    /// Checks a log's signature over its tree head.
    pub fn verify_head(&self, signed: &SignedHead) -> Result<(), VerifyError> {
        self.verify(&signed.head.signed_bytes(), &signed.signature)
    }

    /// Checks the signature in the `.sig` file of a list of logs over the exact bytes of the list: RSA with SHA-256.
    pub fn verify_list(&self, list: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
        if self.algorithm != Algorithm::Rsa {
            return Err(VerifyError::Algorithm);
        }
        self.verify_bytes(list, signature)
    }

    fn verify_bytes(&self, message: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
        let checked = match self.algorithm {
            Algorithm::EcdsaP256 => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.bytes).verify(message, signature)
            }
            Algorithm::Rsa => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.bytes).verify(message, signature)
            }
        };
        checked.map_err(|_| VerifyError::Signature)
    }
}
