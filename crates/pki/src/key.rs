//! P-256 private keys.

use p256::SecretKey;
use p256::ecdsa::Signature;
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer;
use p256::elliptic_curve::Generate;
use p256::pkcs8::EncodePrivateKey;
use p256::pkcs8::EncodePublicKey;

use crate::Error;
use crate::pem;
use crate::signed::sha256_hex;

/// PEM label of a key in SEC 1 form, the form in which OCM's agents keep theirs.
const SEC1_LABEL: &str = "EC PRIVATE KEY";
/// PEM label of a key in PKCS #8 form.
const PKCS8_LABEL: &str = "PRIVATE KEY";

/// A P-256 private key.
#[derive(Clone)]
pub struct Key {
    secret: SecretKey,
}

impl std::fmt::Debug for Key {
    /// Shows the public half only.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Key")
            .field("public_key_sha256", &self.public_key_sha256())
            .finish_non_exhaustive()
    }
}

impl Key {
    /// A new key from the operating system's random source.
    pub fn generate() -> Key {
        Key {
            secret: SecretKey::generate(),
        }
    }

    /// Reads the first private key of a PEM text, in SEC 1 (`EC PRIVATE KEY`) or PKCS #8
    /// (`PRIVATE KEY`) form; other blocks, such as certificates, may stand around it.
    ///
    /// # Errors
    /// [`Error::Pem`] when there is none, [`Error::UnsupportedKey`] when it is not on P-256.
    pub fn from_pem(text: &str) -> Result<Key, Error> {
        let what = "a private key";
        let unsupported = Error::UnsupportedKey { what };
        for block in pem::blocks(what, text)? {
            let secret = match block.label.as_str() {
                SEC1_LABEL => SecretKey::from_sec1_der(&block.bytes).ok(),
                PKCS8_LABEL => {
                    <SecretKey as p256::pkcs8::DecodePrivateKey>::from_pkcs8_der(&block.bytes).ok()
                }
                "RSA PRIVATE KEY" => None,
                _ => continue,
            };
            return secret.map(|secret| Key { secret }).ok_or(unsupported);
        }
        Err(Error::Pem {
            what,
            reason: "no private key block was found",
        })
    }

    /// The key as `EC PRIVATE KEY` PEM (SEC 1, with curve and public key), as Go writes it.
    pub fn to_ec_pem(&self) -> String {
        let der = self
            .secret
            .to_sec1_der()
            .expect("a P-256 key always has a SEC 1 form");
        pem::encode(SEC1_LABEL, &der)
    }

    /// The key as `PRIVATE KEY` PEM (PKCS #8).
    pub fn to_pkcs8_pem(&self) -> String {
        pem::encode(PKCS8_LABEL, &self.to_pkcs8_der())
    }

    /// The key as PKCS #8 DER, the form TLS libraries take.
    pub fn to_pkcs8_der(&self) -> Vec<u8> {
        self.secret
            .to_pkcs8_der()
            .expect("a P-256 key always has a PKCS #8 form")
            .as_bytes()
            .to_vec()
    }

    /// The SHA-256 of the public key's SubjectPublicKeyInfo, in lower-case hex: one name for a key
    /// whether it is met as a key, in a request or in a certificate.
    pub fn public_key_sha256(&self) -> String {
        sha256_hex(&self.public_key_der())
    }

    /// The public key as SubjectPublicKeyInfo DER.
    pub(crate) fn public_key_der(&self) -> Vec<u8> {
        self.secret
            .public_key()
            .to_public_key_der()
            .expect("a P-256 public key always has a DER form")
            .into_vec()
    }

    /// The signing half.
    pub(crate) fn signing_key(&self) -> SigningKey {
        SigningKey::from(&self.secret)
    }

    /// An ECDSA signature with SHA-256 over `message`, as fixed-width `r‖s` (RFC 7518 §3.4).
    pub(crate) fn sign_fixed(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.signing_key().sign(message);
        signature.to_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_pem_forms_read_back_to_the_same_key() {
        let key = Key::generate();
        for text in [key.to_ec_pem(), key.to_pkcs8_pem()] {
            let read = Key::from_pem(&text).expect("a key just written");
            assert_eq!(read.public_key_sha256(), key.public_key_sha256());
            assert_eq!(read.to_pkcs8_der(), key.to_pkcs8_der());
        }
        assert!(
            key.to_ec_pem()
                .starts_with("-----BEGIN EC PRIVATE KEY-----\n")
        );
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let key = Key::generate();
        let shown = format!("{key:?}");
        assert_eq!(
            shown,
            format!(
                "Key {{ public_key_sha256: {:?}, .. }}",
                key.public_key_sha256()
            )
        );
    }

    #[test]
    fn keys_of_other_kinds_are_refused_with_the_way_out() {
        let error =
            Key::from_pem("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----")
                .expect_err("RSA");
        assert_eq!(
            error.to_string(),
            "a private key must have an ECDSA P-256 key; generate one with curve P-256 (prime256v1)"
        );
    }
}
