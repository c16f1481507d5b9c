//! Certificate signing requests (PKCS #10, RFC 2986).

use const_oid::AssociatedOid;
use der::Decode;
use der::Encode;
use der::asn1::Any;
use der::asn1::BitString;
use der::asn1::Ia5String;
use der::asn1::OctetString;
use der::asn1::SetOfVec;
use x509_cert::attr::Attribute;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::request::CertReq;
use x509_cert::request::CertReqInfo;
use x509_cert::request::ExtensionReq;
use x509_cert::request::Version;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use crate::Error;
use crate::Key;
use crate::Subject;
use crate::key::PublicKey;
use crate::pem;
use crate::signed;
use crate::signed::Signed;

/// PEM label of a request; upstream's API server takes no other.
const LABEL: &str = "CERTIFICATE REQUEST";
const WHAT: &str = "a certificate request";

/// A request whose own signature has been verified.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    request: CertReq,
    subject: Subject,
    subject_alternative_names: Vec<GeneralName>,
}

impl CertificateRequest {
    /// Makes a request for `subject`, signed by `key`, without extensions, as PEM.
    ///
    /// # Errors
    /// [`Error::Der`] when the subject holds text X.509 cannot carry.
    #[expect(
        clippy::new_ret_no_self,
        reason = "the PEM text is what is sent; reading it back verifies it"
    )]
    pub fn new(key: &Key, subject: &Subject) -> Result<String, Error> {
        CertificateRequest::with_dns_names(key, subject, &[])
    }

    /// As [`CertificateRequest::new`], asking for these DNS names as subject alternative names.
    ///
    /// # Errors
    /// [`Error::Der`] when the subject or a name holds text X.509 cannot carry.
    pub fn with_dns_names(key: &Key, subject: &Subject, names: &[&str]) -> Result<String, Error> {
        let build = || -> der::Result<Vec<u8>> {
            let mut attributes = SetOfVec::default();
            if !names.is_empty() {
                attributes.insert(names_attribute(names)?)?;
            }
            let info = CertReqInfo {
                version: Version::V1,
                subject: subject.to_name()?,
                public_key: SubjectPublicKeyInfoOwned::from_der(&key.public().to_der())?,
                attributes,
            };
            let signature = key.sign(&info.to_der()?);
            let request = CertReq {
                info,
                algorithm: AlgorithmIdentifierOwned {
                    oid: const_oid::db::rfc5912::ECDSA_WITH_SHA_256,
                    parameters: None,
                },
                signature: BitString::new(0, signature)?,
            };
            request.to_der()
        };
        let der = build().map_err(Error::der(WHAT))?;
        Ok(pem::encode(LABEL, &der))
    }

    /// Reads a request and verifies that the holder of its key signed it.
    ///
    /// # Errors
    /// Says whether the PEM, its type, text after it, the DER, the key or the signature is wrong.
    pub fn parse_pem(text: &str) -> Result<CertificateRequest, Error> {
        CertificateRequest::parse(&pem::single(WHAT, LABEL, text)?)
    }

    /// Reads a request from DER and verifies that the holder of its key signed it.
    ///
    /// # Errors
    /// Says whether the DER, the key or the signature is wrong.
    pub fn parse(der: &[u8]) -> Result<CertificateRequest, Error> {
        let request = CertReq::from_der(der).map_err(Error::der(WHAT))?;
        let key = PublicKey::of(WHAT, &request.info.public_key)?;
        Signed::split(WHAT, der)?.verify(WHAT, &key)?;
        let subject = Subject::from_name(&request.info.subject).map_err(Error::der(WHAT))?;
        let subject_alternative_names = alternative_names(&request).map_err(Error::der(WHAT))?;
        Ok(CertificateRequest {
            request,
            subject,
            subject_alternative_names,
        })
    }

    /// The subject asked for.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The SHA-256 of the public key's SubjectPublicKeyInfo, in lower-case hex.
    pub fn public_key_sha256(&self) -> String {
        signed::public_key_sha256(&self.request.info.public_key)
    }

    /// The DNS names asked for as subject alternative names.
    pub fn dns_names(&self) -> Vec<&str> {
        self.subject_alternative_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DnsName(dns) => Some(dns.as_str()),
                _ => None,
            })
            .collect()
    }

    /// Whether any subject alternative name (DNS, IP, mail, URI, …) is asked for.
    pub fn has_sans(&self) -> bool {
        !self.subject_alternative_names.is_empty()
    }

    /// The subject alternative names asked for.
    pub(crate) fn alternative_names(&self) -> &[GeneralName] {
        &self.subject_alternative_names
    }

    /// The subject as encoded in the request, to be copied byte by byte into the certificate.
    pub(crate) fn name(&self) -> &Name {
        &self.request.info.subject
    }

    /// The public key as encoded in the request.
    pub(crate) fn public_key(&self) -> &SubjectPublicKeyInfoOwned {
        &self.request.info.public_key
    }
}

/// The attribute that asks for DNS names.
fn names_attribute(names: &[&str]) -> der::Result<Attribute> {
    let names = names
        .iter()
        .map(|name| Ia5String::new(*name).map(GeneralName::DnsName))
        .collect::<der::Result<Vec<_>>>()?;
    let extension = Extension {
        extn_id: SubjectAltName::OID,
        critical: false,
        extn_value: OctetString::new(SubjectAltName(names).to_der()?)?,
    };
    let mut values = SetOfVec::new();
    values.insert(Any::encode_from(&ExtensionReq(vec![extension]))?)?;
    Ok(Attribute {
        oid: ExtensionReq::OID,
        values,
    })
}

/// The subject alternative names among the requested extensions.
fn alternative_names(request: &CertReq) -> der::Result<Vec<GeneralName>> {
    let mut names = Vec::new();
    for attribute in request.info.attributes.iter() {
        if attribute.oid != ExtensionReq::OID {
            continue;
        }
        for value in attribute.values.iter() {
            let requested = ExtensionReq::from_der(&value.to_der()?)?;
            for extension in requested.0 {
                if extension.extn_id == SubjectAltName::OID {
                    let found = SubjectAltName::from_der(extension.extn_value.as_bytes())?;
                    names.extend(found.0);
                }
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of an upstream agent, cut from the recorded body of its POST.
    const RECORDED: &str = include_str!("../testdata/ocm-agent.csr.pem");

    #[test]
    fn the_request_of_an_upstream_agent_is_read_and_verified() {
        let request = CertificateRequest::parse_pem(RECORDED).expect("upstream's request");
        assert_eq!(
            *request.subject(),
            Subject::new(
                "system:open-cluster-management:cluster1:mj9jx",
                [
                    "system:open-cluster-management:cluster1",
                    "system:open-cluster-management:managed-clusters",
                ]
            )
        );
        assert!(!request.has_sans());
        assert_eq!(
            request.name().len(),
            2,
            "one relative name of two, then one of one"
        );
    }

    #[test]
    fn our_request_has_the_same_shape_as_upstreams() {
        let recorded = CertificateRequest::parse_pem(RECORDED).expect("upstream's request");
        let pem = CertificateRequest::new(&Key::generate(), recorded.subject()).expect("a request");
        let ours = CertificateRequest::parse_pem(&pem).expect("our request");
        assert_eq!(ours.name(), recorded.name());
        assert_eq!(
            ours.request.info.attributes,
            recorded.request.info.attributes
        );
        assert_ne!(ours.public_key_sha256(), recorded.public_key_sha256());
    }

    #[test]
    fn dns_names_asked_for_are_read_back() {
        let subject = Subject::new("a", ["b"]);
        let names = ["hello.addon.open-cluster-management.io"];
        let pem = CertificateRequest::with_dns_names(&Key::generate(), &subject, &names);
        let request = CertificateRequest::parse_pem(&pem.expect("a request")).expect("ours");
        assert_eq!(request.dns_names(), names);
        assert_eq!(*request.subject(), subject);
    }

    #[test]
    fn a_request_is_named_by_the_same_hash_as_its_key() {
        let key = Key::generate();
        let pem = CertificateRequest::new(&key, &Subject::new("a", ["b"])).expect("a request");
        let request = CertificateRequest::parse_pem(&pem).expect("our request");
        assert_eq!(request.public_key_sha256(), key.public_key_sha256());
    }

    #[test]
    fn a_changed_subject_breaks_the_signature() {
        let mut der = pem::single(WHAT, LABEL, RECORDED).expect("PEM");
        let position = der
            .windows(5)
            .position(|window| window == b"mj9jx")
            .expect("the agent's name");
        der[position] = b'x';
        let error = CertificateRequest::parse(&der).expect_err("a forged subject");
        assert_eq!(
            error.to_string(),
            "the signature of a certificate request does not match its key"
        );
    }

    #[test]
    fn rubbish_of_every_kind_is_refused() {
        let other = RECORDED.replace("CERTIFICATE REQUEST", "CERTIFICATE");
        assert_eq!(
            CertificateRequest::parse_pem(&other)
                .expect_err("a type")
                .to_string(),
            "PEM block type must be CERTIFICATE REQUEST, found CERTIFICATE"
        );
        let trailing = format!("{RECORDED}rubbish");
        assert!(matches!(
            CertificateRequest::parse_pem(&trailing),
            Err(Error::Trailing { .. })
        ));
        let mut longer = pem::single(WHAT, LABEL, RECORDED).expect("PEM");
        longer.push(0);
        assert!(matches!(
            CertificateRequest::parse(&longer),
            Err(Error::Der { .. })
        ));
    }
}
