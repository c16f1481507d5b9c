//! Certificates: reading them and judging the ones clients show.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::ID_KP_CLIENT_AUTH;
use const_oid::db::rfc5280::ID_KP_SERVER_AUTH;
use der::Decode;
use jiff::Timestamp;
use x509_cert::ext::pkix::BasicConstraints;
use x509_cert::ext::pkix::ExtendedKeyUsage;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::time::Time;

use crate::Error;
use crate::Subject;
use crate::authority::Usage;
use crate::key::PublicKey;
use crate::pem;
use crate::signed;
use crate::signed::Signed;

/// PEM label of a certificate.
const LABEL: &str = "CERTIFICATE";
const WHAT: &str = "a certificate";

/// A certificate as received: its bytes and what they say. Reading one proves nothing about who
/// issued it; [`verify_client`] does.
#[derive(Debug, Clone)]
pub struct Certificate {
    der: Vec<u8>,
    parsed: x509_cert::Certificate,
    subject: Subject,
    is_ca: bool,
    usages: Vec<ObjectIdentifier>,
}

/// Why a client's certificate is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The certificate cannot be read.
    #[error("the client certificate cannot be read: {0}")]
    Unreadable(#[source] Error),
    /// Another authority issued it.
    #[error("the certificate was issued by {found:?}, not by {wanted:?}")]
    Issuer {
        /// The authority's name.
        wanted: String,
        /// The issuer named in the certificate.
        found: String,
    },
    /// The signature is not the authority's.
    #[error("the certificate is not signed by the authority it names: {0}")]
    Signature(#[source] Error),
    /// It is not valid yet.
    #[error("the client certificate is valid from {not_before}, and it is {now}")]
    NotYetValid {
        /// Start of its validity.
        not_before: Timestamp,
        /// When it was judged.
        now: Timestamp,
    },
    /// It has expired.
    #[error("the client certificate expired at {not_after}, and it is {now}")]
    Expired {
        /// End of its validity.
        not_after: Timestamp,
        /// When it was judged.
        now: Timestamp,
    },
    /// It was not issued for clients.
    #[error("the certificate was not issued for client authentication")]
    Usage,
}

impl Certificate {
    /// Reads one certificate from DER.
    ///
    /// # Errors
    /// [`Error::Der`] saying where it is malformed.
    pub fn from_der(der: &[u8]) -> Result<Certificate, Error> {
        let read = || -> der::Result<Certificate> {
            let parsed = x509_cert::Certificate::from_der(der)?;
            let body = parsed.tbs_certificate();
            let subject = Subject::from_name(body.subject())?;
            let constraints = body.get_extension::<BasicConstraints>()?;
            let usages = body.get_extension::<ExtendedKeyUsage>()?;
            Ok(Certificate {
                der: der.to_vec(),
                subject,
                is_ca: constraints.is_some_and(|(_, constraints)| constraints.ca),
                usages: usages.map(|(_, usages)| usages.0).unwrap_or_default(),
                parsed,
            })
        };
        read().map_err(Error::der(WHAT))
    }

    /// Reads every certificate of a PEM text, in order; other blocks are skipped.
    ///
    /// # Errors
    /// [`Error::Pem`] when there is none or a block is broken, [`Error::Der`] when one is malformed.
    pub fn parse_pem_bundle(text: &str) -> Result<Vec<Certificate>, Error> {
        let certificates = pem::blocks(WHAT, text)?
            .into_iter()
            .filter(|block| block.label == LABEL)
            .map(|block| Certificate::from_der(&block.bytes))
            .collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() {
            return Err(Error::Pem {
                what: WHAT,
                reason: "no CERTIFICATE block was found",
            });
        }
        Ok(certificates)
    }

    /// Reads the first certificate of a PEM text: the leaf, in a chain.
    ///
    /// # Errors
    /// As [`Certificate::parse_pem_bundle`].
    pub fn from_pem(text: &str) -> Result<Certificate, Error> {
        Ok(Certificate::parse_pem_bundle(text)?.swap_remove(0))
    }

    /// The bytes as received.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate as PEM.
    pub fn to_pem(&self) -> String {
        pem::encode(LABEL, &self.der)
    }

    /// The subject.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Start of validity.
    pub fn not_before(&self) -> Timestamp {
        timestamp(&self.parsed.tbs_certificate().validity().not_before)
    }

    /// End of validity.
    pub fn not_after(&self) -> Timestamp {
        timestamp(&self.parsed.tbs_certificate().validity().not_after)
    }

    /// Whether it is a certificate authority's.
    pub fn is_ca(&self) -> bool {
        self.is_ca
    }

    /// The extended key usages it lists, of those known here.
    pub fn usages(&self) -> Vec<Usage> {
        self.usages
            .iter()
            .filter_map(|oid| match *oid {
                ID_KP_CLIENT_AUTH => Some(Usage::ClientAuth),
                ID_KP_SERVER_AUTH => Some(Usage::ServerAuth),
                _ => None,
            })
            .collect()
    }

    /// The serial number, in lower-case hex.
    pub fn serial(&self) -> String {
        signed::hex(self.parsed.tbs_certificate().serial_number().as_bytes())
    }

    /// The SHA-256 of the public key's SubjectPublicKeyInfo, in lower-case hex.
    pub fn public_key_sha256(&self) -> String {
        signed::public_key_sha256(self.parsed.tbs_certificate().subject_public_key_info())
    }

    /// The DNS names and IP addresses it was issued for, as text.
    pub fn server_names(&self) -> Vec<String> {
        let names = self
            .parsed
            .tbs_certificate()
            .get_extension::<SubjectAltName>();
        let Ok(Some((_, names))) = names else {
            return Vec::new();
        };
        names
            .0
            .iter()
            .filter_map(|name| match name {
                GeneralName::DnsName(dns) => Some(dns.as_str().to_owned()),
                GeneralName::IpAddress(octets) => ip_address(octets.as_bytes()),
                _ => None,
            })
            .collect()
    }

    /// Checks that `authority` issued and signed this certificate; its times and uses are not
    /// judged.
    ///
    /// # Errors
    /// [`VerifyError::Issuer`], [`VerifyError::Signature`].
    pub fn verify_issuer(&self, authority: &Certificate) -> Result<(), VerifyError> {
        let body = self.parsed.tbs_certificate();
        if body.issuer() != authority.name() {
            return Err(VerifyError::Issuer {
                wanted: authority.name().to_string(),
                found: body.issuer().to_string(),
            });
        }
        let info = authority.parsed.tbs_certificate().subject_public_key_info();
        PublicKey::of("the authority", info)
            .and_then(|key| Signed::split(WHAT, &self.der)?.verify(WHAT, &key))
            .map_err(VerifyError::Signature)
    }

    /// The subject as encoded, which is what the certificates it issues name as their issuer.
    pub(crate) fn name(&self) -> &Name {
        self.parsed.tbs_certificate().subject()
    }
}

/// Judges the certificate a client has shown and proved to hold the key of: issued and signed by
/// `authority`, valid at `now`, and meant for clients. Returns who the client is.
///
/// # Errors
/// [`VerifyError`] names the first thing that is wrong.
pub fn verify_client(
    der: &[u8],
    authority: &Certificate,
    now: Timestamp,
) -> Result<Subject, VerifyError> {
    let certificate = Certificate::from_der(der).map_err(VerifyError::Unreadable)?;
    certificate.verify_issuer(authority)?;
    let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
    if now < not_before {
        return Err(VerifyError::NotYetValid { not_before, now });
    }
    if now > not_after {
        return Err(VerifyError::Expired { not_after, now });
    }
    if !certificate.usages().contains(&Usage::ClientAuth) {
        return Err(VerifyError::Usage);
    }
    Ok(certificate.subject)
}

/// X.509 times have whole seconds and lie within jiff's range.
fn timestamp(time: &Time) -> Timestamp {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// An address from the octets of a subject alternative name.
fn ip_address(octets: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(octets).map(std::net::IpAddr::from);
    let v6 = <[u8; 16]>::try_from(octets).map(std::net::IpAddr::from);
    v4.or(v6).ok().map(|address| address.to_string())
}
