//! P-256 keys.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::ECDSA_WITH_SHA_256;
use const_oid::db::rfc5912::ID_EC_PUBLIC_KEY;
use const_oid::db::rfc5912::SECP_256_R_1;
use der::Decode;
use der::Encode;
use der::asn1::AnyRef;
use der::asn1::BitStringRef;
use der::asn1::OctetStringRef;
use pkcs8::PrivateKeyInfoRef;
use ring::rand::SystemRandom;
use ring::signature;
use ring::signature::EcdsaKeyPair;
use ring::signature::KeyPair;
use ring::signature::UnparsedPublicKey;
use sec1::EcParameters;
use sec1::EcPrivateKey;
use std::sync::Arc;
use x509_cert::spki;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::spki::AlgorithmIdentifierRef;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use crate::Error;
use crate::pem;
use crate::signed::sha256_hex;

/// PEM label of a key in SEC 1 form, the form in which OCM's agents keep theirs.
const SEC1_LABEL: &str = "EC PRIVATE KEY";
/// PEM label of a key in PKCS #8 form.
const PKCS8_LABEL: &str = "PRIVATE KEY";

/// Bytes of one coordinate of a point, of a private key, and of either half of a signature.
const FIELD_BYTES: usize = 32;
/// Bytes of a point that is not compressed: a tag and two coordinates.
const POINT_BYTES: usize = 1 + 2 * FIELD_BYTES;
/// The tag of a point that is not compressed.
const UNCOMPRESSED: u8 = 4;

/// A P-256 private key.
#[derive(Clone)]
pub struct Key(Arc<Halves>);

/// A key as it is written and as it signs. Each way of writing a signature is a pair of its own.
struct Halves {
    secret: Vec<u8>,
    der_signing: EcdsaKeyPair,
    fixed_signing: EcdsaKeyPair,
    public: PublicKey,
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
        let algorithm = &signature::ECDSA_P256_SHA256_ASN1_SIGNING;
        let generated = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new())
            .expect("the operating system's random source does not fail once it has started");
        Key::from_pkcs8_der("a new key", generated.as_ref())
            .expect("a generated key has both halves, which belong together")
    }

    /// Reads the first private key of a PEM text, in SEC 1 (`EC PRIVATE KEY`) or PKCS #8
    /// (`PRIVATE KEY`) form; other blocks, such as certificates, may stand around it.
    ///
    /// # Errors
    /// [`Error::Pem`] when there is none, [`Error::UnsupportedKey`] when it is not on P-256,
    /// [`Error::PublicHalfMissing`] when the public half is left out.
    pub fn from_pem(text: &str) -> Result<Key, Error> {
        let what = "a private key";
        for block in pem::blocks(what, text)? {
            return match block.label.as_str() {
                SEC1_LABEL => Key::from_sec1_der(what, &block.bytes),
                PKCS8_LABEL => Key::from_pkcs8_der(what, &block.bytes),
                "RSA PRIVATE KEY" => Err(Error::UnsupportedKey { what }),
                _ => continue,
            };
        }
        Err(Error::Pem {
            what,
            reason: "no private key block was found",
        })
    }

    fn from_pkcs8_der(what: &'static str, der: &[u8]) -> Result<Key, Error> {
        let unsupported = Error::UnsupportedKey { what };
        match PrivateKeyInfoRef::try_from(der) {
            Ok(info) if is_p256(&info.algorithm) => {
                Key::from_sec1_der(what, info.private_key.as_bytes())
            }
            _ => Err(unsupported),
        }
    }

    fn from_sec1_der(what: &'static str, der: &[u8]) -> Result<Key, Error> {
        let unsupported = || Error::UnsupportedKey { what };
        let read = EcPrivateKey::from_der(der).map_err(|_| unsupported())?;
        let curve = read.parameters.and_then(EcParameters::named_curve);
        if curve.is_some_and(|curve| curve != SECP_256_R_1) {
            return Err(unsupported());
        }
        let Some(point) = read.public_key else {
            return Err(Error::PublicHalfMissing { what });
        };
        let signing = |algorithm| {
            let random = SystemRandom::new();
            EcdsaKeyPair::from_private_key_and_public_key(
                algorithm,
                read.private_key,
                point,
                &random,
            )
            .map_err(|_| unsupported())
        };
        let der_signing = signing(&signature::ECDSA_P256_SHA256_ASN1_SIGNING)?;
        Ok(Key(Arc::new(Halves {
            secret: read.private_key.to_vec(),
            fixed_signing: signing(&signature::ECDSA_P256_SHA256_FIXED_SIGNING)?,
            public: PublicKey::from_point(der_signing.public_key().as_ref())
                .ok_or_else(unsupported)?,
            der_signing,
        })))
    }

    /// The key as `EC PRIVATE KEY` PEM (SEC 1, with curve and public key), as Go writes it.
    pub fn to_ec_pem(&self) -> String {
        let curve = EcParameters::NamedCurve(SECP_256_R_1);
        pem::encode(SEC1_LABEL, &self.to_sec1_der(Some(curve)))
    }

    /// The key as `PRIVATE KEY` PEM (PKCS #8).
    pub fn to_pkcs8_pem(&self) -> String {
        pem::encode(PKCS8_LABEL, &self.to_pkcs8_der())
    }

    /// The key as PKCS #8 DER, the form TLS libraries take.
    pub fn to_pkcs8_der(&self) -> Vec<u8> {
        // The curve is named once, by the algorithm around the key.
        let key = self.to_sec1_der(None);
        OctetStringRef::new(&key)
            .and_then(|key| PrivateKeyInfoRef::new(p256_algorithm(), key).to_der())
            .expect("a P-256 key always has a PKCS #8 form")
    }

    fn to_sec1_der(&self, parameters: Option<EcParameters>) -> Vec<u8> {
        let key = EcPrivateKey {
            private_key: &self.0.secret,
            parameters,
            public_key: Some(&self.0.public.0),
        };
        key.to_der().expect("a P-256 key always has a SEC 1 form")
    }

    /// The SHA-256 of the public key's SubjectPublicKeyInfo, in lower-case hex: one name for a key
    /// whether it is met as a key, in a request or in a certificate.
    pub fn public_key_sha256(&self) -> String {
        sha256_hex(&self.public().to_der())
    }

    /// The public half.
    pub(crate) fn public(&self) -> &PublicKey {
        &self.0.public
    }

    /// An ECDSA signature with SHA-256 over `message`, as X.509 carries it (RFC 3279 §2.2.3).
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        signed(&self.0.der_signing, message)
    }

    /// An ECDSA signature with SHA-256 over `message`, as fixed-width `r‖s` (RFC 7518 §3.4).
    pub(crate) fn sign_fixed(&self, message: &[u8]) -> Vec<u8> {
        signed(&self.0.fixed_signing, message)
    }
}

fn signed(pair: &EcdsaKeyPair, message: &[u8]) -> Vec<u8> {
    pair.sign(&SystemRandom::new(), message)
        .expect("the operating system's random source does not fail once it has started")
        .as_ref()
        .to_vec()
}

/// What the builder of certificates asks a signer for.
impl ::signature::Keypair for Key {
    type VerifyingKey = PublicKey;

    fn verifying_key(&self) -> PublicKey {
        self.public().clone()
    }
}

impl spki::DynSignatureAlgorithmIdentifier for Key {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        Ok(AlgorithmIdentifierOwned {
            oid: ECDSA_WITH_SHA_256,
            parameters: None,
        })
    }
}

/// A P-256 public key, as a point that is not compressed.
#[derive(Clone, Debug)]
pub struct PublicKey([u8; POINT_BYTES]);

impl PublicKey {
    fn from_point(point: &[u8]) -> Option<PublicKey> {
        let point = <[u8; POINT_BYTES]>::try_from(point).ok()?;
        (point[0] == UNCOMPRESSED).then_some(PublicKey(point))
    }

    /// The key of a SubjectPublicKeyInfo.
    pub(crate) fn of(
        what: &'static str,
        info: &SubjectPublicKeyInfoOwned,
    ) -> Result<PublicKey, Error> {
        let info = spki::der::referenced::OwnedToRef::owned_to_ref(info);
        let point = info.subject_public_key.as_bytes();
        point
            .filter(|_| is_p256(&info.algorithm))
            .and_then(PublicKey::from_point)
            .ok_or(Error::UnsupportedKey { what })
    }

    /// The key as SubjectPublicKeyInfo DER.
    pub(crate) fn to_der(&self) -> Vec<u8> {
        BitStringRef::from_bytes(&self.0)
            .and_then(|subject_public_key| {
                let info = SubjectPublicKeyInfoRef {
                    algorithm: p256_algorithm(),
                    subject_public_key,
                };
                info.to_der()
            })
            .expect("a P-256 public key always has a DER form")
    }

    /// Both coordinates of the point.
    pub(crate) fn coordinates(&self) -> (&[u8], &[u8]) {
        self.0[1..].split_at(FIELD_BYTES)
    }

    /// Whether `signature`, as X.509 carries it, is this key's over `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, &self.0)
            .verify(message, signature)
            .is_ok()
    }

    /// Whether `signature`, as fixed-width `r‖s`, is this key's over `message`.
    pub(crate) fn verifies_fixed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, &self.0)
            .verify(message, signature)
            .is_ok()
    }
}

impl spki::EncodePublicKey for PublicKey {
    fn to_public_key_der(&self) -> spki::Result<spki::Document> {
        Ok(spki::Document::try_from(self.to_der())?)
    }
}

fn p256_algorithm() -> AlgorithmIdentifierRef<'static> {
    const CURVE: &ObjectIdentifier = &SECP_256_R_1;
    AlgorithmIdentifierRef {
        oid: ID_EC_PUBLIC_KEY,
        parameters: Some(AnyRef::from(CURVE)),
    }
}

fn is_p256(algorithm: &AlgorithmIdentifierRef<'_>) -> bool {
    algorithm
        .assert_oids(ID_EC_PUBLIC_KEY, SECP_256_R_1)
        .is_ok()
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

    #[test]
    fn a_key_that_openssl_made_is_read_and_signs() {
        // Made for this test; nothing trusts it.
        let text = "-----BEGIN PRIVATE KEY-----\n\
            MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9kcG8sVhsIuxqUFo\n\
            EWf7rKOHfhKJ3iz5IKiAr6X5PQGhRANCAAQCW+ZXXLiubF4gTaj7LfXLHxijOd66\n\
            AI6lbt8kCjSzV6fTIUQUmBoi29twsX5MMbr0eyRO1T+kkODdyQFcFpcp\n\
            -----END PRIVATE KEY-----\n";
        let key = Key::from_pem(text).expect("a key");
        let signature = key.sign(b"message");
        assert!(key.public().verifies(b"message", &signature));
        assert!(!key.public().verifies(b"another", &signature));
        let fixed = key.sign_fixed(b"message");
        assert_eq!(fixed.len(), 2 * FIELD_BYTES);
        assert!(key.public().verifies_fixed(b"message", &fixed));
    }

    #[test]
    fn a_key_without_its_public_half_is_refused_with_the_way_out() {
        let key = Key::generate();
        let alone = EcPrivateKey {
            private_key: &key.0.secret,
            parameters: Some(EcParameters::NamedCurve(SECP_256_R_1)),
            public_key: None,
        };
        let alone = pem::encode(SEC1_LABEL, &alone.to_der().expect("DER"));
        let error = Key::from_pem(&alone).expect_err("one half");
        assert_eq!(
            error.to_string(),
            "a private key lacks its public half; `openssl ec -in KEY_FILE` writes it with both, \
             as Go and OpenSSL do"
        );
    }

    #[test]
    fn halves_of_two_keys_are_no_key() {
        let (one, other) = (Key::generate(), Key::generate());
        let mixed = EcPrivateKey {
            private_key: &one.0.secret,
            parameters: None,
            public_key: Some(&other.public().0),
        };
        let der = mixed.to_der().expect("DER");
        assert!(Key::from_sec1_der("a private key", &der).is_err());
    }
}
