//! The host's serving authority and certificate: made once, renewed when names or time ask for it.

use std::path::Path;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::time::Duration;

use hyades_pki::Authority;
use hyades_pki::Certificate;
use hyades_pki::Key;
use hyades_pki::Validity;
use jiff::Timestamp;
use rustls::crypto::ring;
use rustls::server::ClientHello;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::PrivatePkcs8KeyDer;

use crate::HostError;
use crate::folder;

const DAY_SECONDS: i64 = 24 * 3600;
/// The authority lasts ten years, as kubeadm's does: clients keep its certificate in files.
const AUTHORITY_SECONDS: i64 = 3650 * DAY_SECONDS;
/// A serving certificate lasts a year, as kubeadm's does.
const CERTIFICATE_SECONDS: i64 = 365 * DAY_SECONDS;
/// It is renewed when less than this is left, so that a month of failing renewals is survived.
const RENEW_BEFORE_SECONDS: i64 = 30 * DAY_SECONDS;
/// How often a running host looks whether its certificate is to be renewed.
pub(crate) const RENEW_CHECK_INTERVAL: Duration = Duration::from_secs(12 * 3600);
const AUTHORITY_NAME: &str = "hyades-serving-ca";

/// What the host shows to those who connect.
pub(crate) struct Serving {
    authority: Authority,
    names: Vec<String>,
    folder: std::path::PathBuf,
    current: Current,
}

/// The certificate in use; new connections get the newest.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Serving {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.0.read();
        Some(current.unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Serving")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Serving {
    /// Reads authority and certificate from `folder`, making what is missing or no longer fits.
    pub(crate) fn load(
        folder: &Path,
        names: Vec<String>,
        now: Timestamp,
    ) -> Result<Serving, HostError> {
        let authority = load_authority(folder, now)?;
        let certified = match kept(folder, &authority, &names, now) {
            Some(certified) => certified,
            None => issue(folder, &authority, &names, now)?,
        };
        Ok(Serving {
            authority,
            names,
            folder: folder.to_owned(),
            current: Current(RwLock::new(Arc::new(certified))),
        })
    }

    /// The authority's certificate, which clients are to trust.
    pub(crate) fn ca_pem(&self) -> String {
        self.authority.certificate_pem()
    }

    /// A name for this host that lasts as long as its data folder.
    pub(crate) fn host_id(&self) -> String {
        self.authority.certificate().public_key_sha256()[..16].to_owned()
    }

    /// Renews the certificate if it is time; says whether it did.
    pub(crate) fn renew(&self, now: Timestamp) -> Result<bool, HostError> {
        if kept(&self.folder, &self.authority, &self.names, now).is_some() {
            return Ok(false);
        }
        let certified = issue(&self.folder, &self.authority, &self.names, now)?;
        let mut current = self
            .current
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(certified);
        Ok(true)
    }
}

fn load_authority(folder: &Path, now: Timestamp) -> Result<Authority, HostError> {
    let (certificate, key) = (folder.join("ca.crt"), folder.join("ca.key"));
    if let (Some(certificate_pem), Some(key_pem)) =
        (folder::read(&certificate)?, folder::read(&key)?)
    {
        return Authority::from_pem(&certificate_pem, &key_pem).map_err(|error| {
            HostError::Content {
                path: certificate,
                reason: error.to_string(),
            }
        });
    }
    let valid = Validity::starting(now, AUTHORITY_SECONDS);
    let authority = Authority::new(AUTHORITY_NAME, valid)?;
    // The certificate comes last: with it, the pair is complete.
    folder::write(&key, &authority.key_pem())?;
    folder::write(&certificate, &authority.certificate_pem())?;
    Ok(authority)
}

/// The stored certificate, if it still fits; a broken one is as good as none.
fn kept(
    folder: &Path,
    authority: &Authority,
    names: &[String],
    now: Timestamp,
) -> Option<CertifiedKey> {
    let certificate = folder::read(&folder.join("serving.crt")).ok()??;
    let key = folder::read(&folder.join("serving.key")).ok()??;
    let certificate = Certificate::from_pem(&certificate).ok()?;
    let key = Key::from_pem(&key).ok()?;
    let fits = fits(&certificate, names, now)
        && certificate.public_key_sha256() == key.public_key_sha256()
        && certificate.verify_issuer(authority.certificate()).is_ok();
    fits.then(|| certified(&certificate, &key).ok()).flatten()
}

/// Whether a certificate carries exactly these names and is not about to expire.
fn fits(certificate: &Certificate, names: &[String], now: Timestamp) -> bool {
    let left = certificate.not_after().as_second() - now.as_second();
    certificate.server_names() == names && left > RENEW_BEFORE_SECONDS
}

fn issue(
    folder: &Path,
    authority: &Authority,
    names: &[String],
    now: Timestamp,
) -> Result<CertifiedKey, HostError> {
    let valid = Validity::starting(now, CERTIFICATE_SECONDS);
    let (certificate, key) = authority.issue_server(names, valid)?;
    folder::write(&folder.join("serving.key"), &key.to_pkcs8_pem())?;
    folder::write(&folder.join("serving.crt"), &certificate.to_pem())?;
    Ok(certified(&certificate, &key)?)
}

fn certified(certificate: &Certificate, key: &Key) -> Result<CertifiedKey, rustls::Error> {
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.to_pkcs8_der()));
    let key = ring::sign::any_supported_type(&key)?;
    Ok(CertifiedKey::new(chain, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn shown(serving: &Serving) -> Vec<u8> {
        serving.current.0.read().expect("unpoisoned").cert[0].to_vec()
    }

    #[test]
    fn the_certificate_is_kept_until_names_or_time_change() {
        let place = tempfile::tempdir().expect("a folder");
        let now = at("2026-11-24T07:00:00Z");
        let load =
            |wanted: &[&str], now| Serving::load(place.path(), names(wanted), now).expect("loaded");
        let first = load(&["localhost"], now);
        let again = load(&["localhost"], now);
        assert_eq!(shown(&first), shown(&again));
        assert_eq!(first.host_id(), again.host_id());
        let moved = load(&["hub.example.org", "localhost"], now);
        assert_ne!(shown(&first), shown(&moved));
        assert_eq!(
            first.ca_pem(),
            moved.ca_pem(),
            "clients go on trusting the authority"
        );
        assert!(!moved.renew(at("2027-10-20T07:00:00Z")).expect("checked"));
        assert!(moved.renew(at("2027-10-26T07:00:00Z")).expect("renewed"));
        std::fs::write(place.path().join("serving.crt"), "rubbish").expect("broken");
        let mended = load(&["localhost"], now);
        assert_ne!(shown(&mended), shown(&moved));
    }

    #[test]
    fn a_broken_authority_is_not_replaced_silently() {
        let place = tempfile::tempdir().expect("a folder");
        let now = at("2026-11-24T07:00:00Z");
        Serving::load(place.path(), names(&["localhost"]), now).expect("made");
        std::fs::write(place.path().join("ca.crt"), "rubbish").expect("broken");
        let error = Serving::load(place.path(), names(&["localhost"]), now).expect_err("broken");
        assert!(
            error
                .to_string()
                .contains("cannot be used: a certificate is not PEM"),
            "{error}"
        );
    }
}
