//! Certificate authorities: one per space for clients, one per host for serving.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::ID_KP_CLIENT_AUTH;
use const_oid::db::rfc5280::ID_KP_SERVER_AUTH;
use der::DateTime;
use der::Decode;
use der::Encode;
use der::asn1::BitString;
use der::asn1::Ia5String;
use der::asn1::OctetString;
use jiff::Timestamp;
use rand::RngExt;
use sha2::Digest;
use sha2::Sha256;
use x509_cert::TbsCertificate;
use x509_cert::builder::Builder;
use x509_cert::builder::CertificateBuilder;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::ext::Extension;
use x509_cert::ext::ToExtension;
use x509_cert::ext::pkix::AuthorityKeyIdentifier;
use x509_cert::ext::pkix::BasicConstraints;
use x509_cert::ext::pkix::ExtendedKeyUsage;
use x509_cert::ext::pkix::KeyUsage;
use x509_cert::ext::pkix::KeyUsages;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::SubjectKeyIdentifier;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use crate::Certificate;
use crate::CertificateRequest;
use crate::Error;
use crate::Key;
use crate::Subject;

/// Random bytes in a serial number: enough that two never meet, within the 20 bytes of RFC 5280.
const SERIAL_BYTES: usize = 16;
/// Bytes of the key hash that name a key (RFC 7093 §2, method 1).
const KEY_IDENTIFIER_BYTES: usize = 20;

/// What a certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// To prove a client's identity to a server.
    ClientAuth,
    /// To prove a server's identity to its clients.
    ServerAuth,
}

impl Usage {
    fn oid(self) -> ObjectIdentifier {
        match self {
            Usage::ClientAuth => ID_KP_CLIENT_AUTH,
            Usage::ServerAuth => ID_KP_SERVER_AUTH,
        }
    }
}

/// A period of validity, both ends included; X.509 keeps whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Start.
    pub not_before: Timestamp,
    /// End.
    pub not_after: Timestamp,
}

impl Validity {
    /// How far before "now" certificates begin, in seconds: peers' clocks lag by up to some
    /// minutes, and upstream's signer backdates by five minutes too.
    pub const BACKDATE_SECONDS: i64 = 300;

    /// From a little before `now` until `seconds` after it.
    pub fn starting(now: Timestamp, seconds: i64) -> Validity {
        let at = |offset: i64| {
            let second = now.as_second().saturating_add(offset);
            Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
        };
        Validity {
            not_before: at(-Validity::BACKDATE_SECONDS),
            not_after: at(seconds),
        }
    }

    fn to_x509(self) -> Result<x509_cert::time::Validity, Error> {
        let bad = || Error::BadValidity {
            not_before: self.not_before,
            not_after: self.not_after,
        };
        let time = |timestamp: Timestamp| {
            let seconds = u64::try_from(timestamp.as_second()).map_err(|_| bad())?;
            DateTime::from_unix_duration(std::time::Duration::from_secs(seconds))
                .map(x509_cert::time::Time::from)
                .map_err(|_| bad())
        };
        if self.not_after <= self.not_before {
            return Err(bad());
        }
        Ok(x509_cert::time::Validity::new(
            time(self.not_before)?,
            time(self.not_after)?,
        ))
    }
}

/// How to sign a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignOptions {
    /// Start of the certificate's validity.
    pub not_before: Timestamp,
    /// End of the certificate's validity.
    pub not_after: Timestamp,
    /// What the certificate may be used for.
    pub usages: Vec<Usage>,
}

/// A certificate authority: its certificate and its private key.
#[derive(Debug, Clone)]
pub struct Authority {
    certificate: Certificate,
    key: Key,
}

impl Authority {
    /// A new self-signed authority.
    ///
    /// # Errors
    /// [`Error::BadValidity`], or [`Error::Der`] for a name X.509 cannot carry.
    pub fn new(common_name: &str, valid: Validity) -> Result<Authority, Error> {
        let key = Key::generate();
        let subject = Subject::new(common_name, [""; 0]);
        let name = subject
            .to_name()
            .map_err(Error::der("the authority's name"))?;
        let profile = Profile {
            issuer: name.clone(),
            subject: name,
            purpose: Purpose::Authority,
        };
        let certificate = issue(&key, profile, &key.public().to_der(), valid)?;
        Ok(Authority { certificate, key })
    }

    /// Reads an authority from the PEM texts of its certificate and its key.
    ///
    /// # Errors
    /// What is wrong with either, [`Error::KeyMismatch`], [`Error::NotAnAuthority`].
    pub fn from_pem(certificate: &str, key: &str) -> Result<Authority, Error> {
        let certificate = Certificate::from_pem(certificate)?;
        let key = Key::from_pem(key)?;
        if certificate.public_key_sha256() != key.public_key_sha256() {
            return Err(Error::KeyMismatch);
        }
        if !certificate.is_ca() {
            return Err(Error::NotAnAuthority);
        }
        Ok(Authority { certificate, key })
    }

    /// The authority's certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The authority's certificate as PEM.
    pub fn certificate_pem(&self) -> String {
        self.certificate.to_pem()
    }

    /// The authority's certificate as DER.
    pub fn certificate_der(&self) -> &[u8] {
        self.certificate.der()
    }

    /// The authority's key as PEM.
    pub fn key_pem(&self) -> String {
        self.key.to_ec_pem()
    }

    /// Signs a request. The subject is copied as encoded in the request; extensions the request
    /// asks for, subject alternative names included, are not: a client needs none of them.
    ///
    /// # Errors
    /// [`Error::BadValidity`].
    pub fn sign_request(
        &self,
        request: &CertificateRequest,
        options: &SignOptions,
    ) -> Result<Certificate, Error> {
        self.sign(request, options, Vec::new())
    }

    /// As [`Authority::sign_request`], with the subject alternative names the request asks for: for
    /// holders who serve under them too. The caller has judged the names.
    ///
    /// # Errors
    /// [`Error::BadValidity`].
    pub fn sign_request_with_names(
        &self,
        request: &CertificateRequest,
        options: &SignOptions,
    ) -> Result<Certificate, Error> {
        self.sign(request, options, request.alternative_names().to_vec())
    }

    fn sign(
        &self,
        request: &CertificateRequest,
        options: &SignOptions,
        names: Vec<GeneralName>,
    ) -> Result<Certificate, Error> {
        let profile = Profile {
            issuer: self.certificate.name().clone(),
            subject: request.name().clone(),
            purpose: Purpose::Leaf {
                usages: options.usages.clone(),
                names,
            },
        };
        let valid = Validity {
            not_before: options.not_before,
            not_after: options.not_after,
        };
        let key = request
            .public_key()
            .to_der()
            .map_err(Error::der("the request's key"))?;
        issue(&self.key, profile, &key, valid)
    }

    /// Issues a certificate and a new key for a server reachable under `names`: DNS names, with
    /// or without a leading wildcard label, and IP addresses. The first is the common name.
    ///
    /// # Errors
    /// [`Error::BadServerName`], [`Error::BadValidity`].
    pub fn issue_server(
        &self,
        names: &[String],
        valid: Validity,
    ) -> Result<(Certificate, Key), Error> {
        let common_name = names.first().map(String::as_str).unwrap_or_default();
        let subject = Subject::new(common_name, [""; 0]);
        let names = names
            .iter()
            .map(|name| general_name(name))
            .collect::<Result<Vec<_>, _>>()?;
        let usages = vec![Usage::ServerAuth];
        self.issue_leaf(&subject, Purpose::Leaf { usages, names }, valid)
    }

    /// Issues a certificate and a new key for a user: common name `user`, organisations `groups`.
    ///
    /// # Errors
    /// [`Error::BadValidity`], or [`Error::Der`] for names X.509 cannot carry.
    pub fn issue_client(
        &self,
        user: &str,
        groups: &[String],
        valid: Validity,
    ) -> Result<(Certificate, Key), Error> {
        let subject = Subject::new(user, groups);
        let usages = vec![Usage::ClientAuth];
        let names = Vec::new();
        self.issue_leaf(&subject, Purpose::Leaf { usages, names }, valid)
    }

    fn issue_leaf(
        &self,
        subject: &Subject,
        purpose: Purpose,
        valid: Validity,
    ) -> Result<(Certificate, Key), Error> {
        let key = Key::generate();
        let profile = Profile {
            issuer: self.certificate.name().clone(),
            subject: subject.to_name().map_err(Error::der("the subject"))?,
            purpose,
        };
        let certificate = issue(&self.key, profile, &key.public().to_der(), valid)?;
        Ok((certificate, key))
    }
}

/// What a certificate is made for.
enum Purpose {
    Authority,
    Leaf {
        usages: Vec<Usage>,
        names: Vec<GeneralName>,
    },
}

/// The parts of a certificate the builder asks for.
struct Profile {
    issuer: Name,
    subject: Name,
    purpose: Purpose,
}

impl BuilderProfile for Profile {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        key: SubjectPublicKeyInfoRef<'_>,
        issuer_key: SubjectPublicKeyInfoRef<'_>,
        _body: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let mut extensions = Vec::new();
        let mut add = |extension: der::Result<Extension>| -> der::Result<()> {
            extensions.push(extension?);
            Ok(())
        };
        let subject = &self.subject;
        match &self.purpose {
            Purpose::Authority => {
                let flags =
                    KeyUsages::DigitalSignature | KeyUsages::KeyCertSign | KeyUsages::CRLSign;
                add(KeyUsage(flags).to_extension_of(subject))?;
                let ca = BasicConstraints {
                    ca: true,
                    path_len_constraint: None,
                };
                add(ca.to_extension_of(subject))?;
                let identifier = SubjectKeyIdentifier(key_identifier(&key)?);
                add(identifier.to_extension_of(subject))?;
            }
            Purpose::Leaf { usages, names } => {
                let flags = KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment;
                add(KeyUsage(flags).to_extension_of(subject))?;
                let oids = usages.iter().map(|usage| usage.oid()).collect();
                add(ExtendedKeyUsage(oids).to_extension_of(subject))?;
                let leaf = BasicConstraints {
                    ca: false,
                    path_len_constraint: None,
                };
                add((true, &leaf).to_extension(subject, &[]))?;
                let issuer = AuthorityKeyIdentifier {
                    key_identifier: Some(key_identifier(&issuer_key)?),
                    ..AuthorityKeyIdentifier::default()
                };
                add(issuer.to_extension_of(subject))?;
                if !names.is_empty() {
                    add(SubjectAltName(names.clone()).to_extension_of(subject))?;
                }
            }
        }
        Ok(extensions)
    }
}

/// Extensions whose criticality is the one RFC 5280 asks for.
trait DefaultExtension {
    fn to_extension_of(&self, subject: &Name) -> der::Result<Extension>;
}

impl<T> DefaultExtension for T
where
    for<'a> &'a T: ToExtension<Error = der::Error>,
{
    fn to_extension_of(&self, subject: &Name) -> der::Result<Extension> {
        self.to_extension(subject, &[])
    }
}

/// The short name of a key: the leading bytes of the SHA-256 of its bits.
fn key_identifier(key: &SubjectPublicKeyInfoRef<'_>) -> der::Result<OctetString> {
    let hash = Sha256::digest(key.subject_public_key.raw_bytes());
    OctetString::new(&hash[..KEY_IDENTIFIER_BYTES])
}

/// Assembles and signs a certificate for the key `subject_key` (DER).
fn issue(
    issuer_key: &Key,
    profile: Profile,
    subject_key: &[u8],
    valid: Validity,
) -> Result<Certificate, Error> {
    let what = "a new certificate";
    let validity = valid.to_x509()?;
    let build = || -> x509_cert::builder::Result<Vec<u8>> {
        let mut serial: [u8; SERIAL_BYTES] = rand::rng().random();
        // A serial is positive and not zero.
        serial[0] = (serial[0] & 0x7f) | 0x40;
        let serial = SerialNumber::new(&serial)?;
        let subject_key = SubjectPublicKeyInfoOwned::from_der(subject_key)?;
        let mut builder = CertificateBuilder::new(profile, serial, validity, subject_key)?;
        let signature = BitString::new(0, issuer_key.sign(&builder.finalize(issuer_key)?))?;
        Ok(builder.assemble(signature, issuer_key)?.to_der()?)
    };
    let der = build().map_err(|error| match error {
        x509_cert::builder::Error::Asn1(source) => Error::Der { what, source },
        // Keys come from `Key` or a verified request, and P-256 signs every message.
        _ => Error::UnsupportedKey { what },
    })?;
    Certificate::from_der(&der)
}

/// A subject alternative name from a DNS name or an IP address.
fn general_name(name: &str) -> Result<GeneralName, Error> {
    if let Ok(address) = name.parse::<std::net::IpAddr>() {
        return Ok(GeneralName::from(address));
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let host = name.strip_prefix("*.").unwrap_or(name);
    let bad = || Error::BadServerName(name.to_owned());
    if name.len() > 253 || !host.split('.').all(label) {
        return Err(bad());
    }
    Ia5String::new(name)
        .map(GeneralName::DnsName)
        .map_err(|_| bad())
}

#[cfg(test)]
mod tests;
