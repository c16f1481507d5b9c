//! What can be wrong with keys, requests and certificates.

/// Why a key, a certificate request or a certificate could not be read or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text has no PEM block, or a broken one.
    #[error("{what} is not PEM: {reason}")]
    Pem {
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The PEM block has another type than the one wanted.
    #[error("PEM block type must be {wanted}, found {found}")]
    PemType {
        /// The type wanted.
        wanted: &'static str,
        /// The type found.
        found: String,
    },
    /// Text follows the one PEM block that was wanted.
    #[error("{what} must be a single PEM block; further text follows it")]
    Trailing {
        /// What was being read.
        what: &'static str,
    },
    /// The bytes are no valid DER of their kind.
    #[error("{what} is malformed: {source}")]
    Der {
        /// What was being read or written.
        what: &'static str,
        /// The decoder's reason.
        source: der::Error,
    },
    /// The key is of a kind that is not supported.
    #[error("{what} must have an ECDSA P-256 key; generate one with curve P-256 (prime256v1)")]
    UnsupportedKey {
        /// What carried the key.
        what: &'static str,
    },
    /// A private key lacks its public half, which RFC 5915 leaves optional and TLS libraries want.
    #[error(
        "{what} lacks its public half; `openssl ec -in KEY_FILE` writes it with both, as Go and \
         OpenSSL do"
    )]
    PublicHalfMissing {
        /// What was being read.
        what: &'static str,
    },
    /// The signature is of another algorithm than ECDSA with SHA-256.
    #[error("{what} must be signed by ECDSA with SHA-256, not by algorithm {algorithm}")]
    UnsupportedSignature {
        /// What carried the signature.
        what: &'static str,
        /// The object identifier of the algorithm found.
        algorithm: String,
    },
    /// The signature does not fit the signed bytes and the key.
    #[error("the signature of {what} does not match its key")]
    BadSignature {
        /// What carried the signature.
        what: &'static str,
    },
    /// A certificate and a key that should belong together do not.
    #[error("the certificate was not made for the private key beside it")]
    KeyMismatch,
    /// A certificate that should be an authority's is not.
    #[error("the certificate is not a certificate authority's")]
    NotAnAuthority,
    /// A name for a server certificate is neither a host name nor an IP address.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    BadServerName(String),
    /// A period of validity that ends before it begins, or lies beyond what X.509 can say.
    #[error("the period of validity from {not_before} to {not_after} is not usable")]
    BadValidity {
        /// The start given.
        not_before: jiff::Timestamp,
        /// The end given.
        not_after: jiff::Timestamp,
    },
}

impl Error {
    /// Wraps a decoder's or encoder's error with what was being read or written.
    pub(crate) fn der(what: &'static str) -> impl FnOnce(der::Error) -> Error {
        move |source| Error::Der { what, source }
    }
}
