//! What certificates and certificate requests share: three fields, the first signed, the others
//! the algorithm and the signature.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::ECDSA_WITH_SHA_256;
use der::Decode;
use der::Encode;
use der::Reader;
use der::SliceReader;
use der::asn1::AnyRef;
use der::asn1::BitStringRef;
use sha2::Digest;
use sha2::Sha256;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use crate::Error;
use crate::key::PublicKey;

/// The parts of a signed structure, as received.
pub(crate) struct Signed<'a> {
    message: &'a [u8],
    algorithm: ObjectIdentifier,
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Splits the structure without re-encoding any of it.
    pub(crate) fn split(what: &'static str, der: &'a [u8]) -> Result<Signed<'a>, Error> {
        let wrap = Error::der(what);
        let split = || -> der::Result<Signed<'a>> {
            let outer = AnyRef::from_der(der)?;
            let mut reader = SliceReader::new(outer.value())?;
            let message = reader.tlv_bytes()?;
            let algorithm: AlgorithmIdentifierOwned = reader.decode()?;
            let signature: BitStringRef<'a> = reader.decode()?;
            reader.finish()?;
            Ok(Signed {
                message,
                algorithm: algorithm.oid,
                signature: signature.raw_bytes(),
            })
        };
        split().map_err(wrap)
    }

    /// Checks that `key` signed the first field by ECDSA with SHA-256.
    pub(crate) fn verify(&self, what: &'static str, key: &PublicKey) -> Result<(), Error> {
        if self.algorithm != ECDSA_WITH_SHA_256 {
            return Err(Error::UnsupportedSignature {
                what,
                algorithm: self.algorithm.to_string(),
            });
        }
        if key.verifies(self.message, self.signature) {
            return Ok(());
        }
        Err(Error::BadSignature { what })
    }
}

/// The SHA-256 of a SubjectPublicKeyInfo, in lower-case hex.
pub(crate) fn public_key_sha256(info: &SubjectPublicKeyInfoOwned) -> String {
    let der = info
        .to_der()
        .expect("a key that was decoded can be encoded again");
    sha256_hex(&der)
}

/// The SHA-256 of some bytes, in lower-case hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
