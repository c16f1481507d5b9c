//! The certificates a server shows, and what a client that knows an authority makes of them.
//!
//! The handshake accepts anything, so that a certificate nobody trusts can be looked at; nothing is
//! sent over the connection. Trust is judged afterwards, as the clients of this project judge it.

use crate::hyades::doctor::observed::Chain;
use hyades_pki::Certificate;
use jiff::Timestamp;
use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::RootCertStore;
use rustls::SignatureScheme;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring;
use rustls::crypto::verify_tls12_signature;
use rustls::crypto::verify_tls13_signature;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::ServerName;
use rustls_pki_types::UnixTime;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Shakes hands over a connection, and reports the certificates shown.
///
/// # Errors
///
/// Why there was no handshake, or why the certificates cannot be read.
pub async fn chain(
    stream: TcpStream,
    host: &str,
    authority: Option<&str>,
) -> Result<Chain, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let shown = handshake(stream, name.clone()).await?;
    let mut certificates = Vec::new();
    for der in &shown {
        certificates.push(Certificate::from_der(der).map_err(|error| error.to_string())?);
    }
    let own = certificates
        .first()
        .ok_or_else(|| "the server showed no certificate".to_owned())?;
    let not_before = certificates.iter().map(Certificate::not_before).max();
    let not_after = certificates.iter().map(Certificate::not_after).min();
    Ok(Chain {
        subject: own.subject().common_name.clone(),
        not_before: not_before.unwrap_or(Timestamp::MIN),
        not_after: not_after.unwrap_or(Timestamp::MAX),
        names: own.server_names(),
        trust: authority.map(|pem| trust(&shown, &name, pem, &own.server_names())),
    })
}

async fn handshake(
    stream: TcpStream,
    name: ServerName<'static>,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Onlooker { provider }))
        .with_no_client_auth();
    let connected = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| format!("no TLS handshake: {error}"))?;
    let certificates = connected.get_ref().1.peer_certificates();
    Ok(certificates.unwrap_or_default().to_vec())
}

/// Judges certificates as a client does that trusts `authority` and wants `name`.
fn trust(
    shown: &[CertificateDer<'static>],
    name: &ServerName<'static>,
    authority: &str,
    names: &[String],
) -> Result<(), String> {
    let roots = Certificate::parse_pem_bundle(authority)
        .map_err(|error| format!("the configured authority cannot be read: {error}"))?;
    let mut store = RootCertStore::empty();
    for root in &roots {
        let added = store.add(root.der().to_vec().into());
        added.map_err(|error| format!("the configured authority cannot be used: {error}"))?;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider)
        .build()
        .map_err(|error| format!("the configured authority cannot be used: {error}"))?;
    let (own, rest) = shown
        .split_first()
        .ok_or_else(|| "the server showed no certificate".to_owned())?;
    match verifier.verify_server_cert(own, rest, name, &[], UnixTime::now()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InvalidCertificate(
            rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature,
        )) => Err(format!(
            "certificate signed by unknown authority: the configured one is {}",
            roots
                .iter()
                .map(|root| root.subject().common_name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        )),
        Err(rustls::Error::InvalidCertificate(
            rustls::CertificateError::NotValidForName
            | rustls::CertificateError::NotValidForNameContext { .. },
        )) => Err(format!(
            "the certificate is for {}, not for {}",
            names.join(", "),
            name.to_str()
        )),
        Err(error) => Err(error.to_string()),
    }
}

/// Accepts any certificate whose key the server proves to hold.
#[derive(Debug)]
struct Onlooker {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
