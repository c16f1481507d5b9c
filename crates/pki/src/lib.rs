//! Keys, certificate requests, certificates, service-account tokens and kubeconfigs. No IO.
//!
//! ```text
//!  Key ─▶ CertificateRequest ─▶ Authority::sign_request ─▶ Certificate ─▶ verify_client ─▶ Subject
//!  ServiceAccountKey::mint ─▶ token ─▶ ServiceAccountKey::verify ─▶ Claims
//!  foreign kubeconfig ─▶ Kubeconfig::merge ─▶ the same file with our contexts added
//! ```
//!
//! Every key is P-256 and every signature ECDSA with SHA-256: the one algorithm that each peer of
//! ours (Go's TLS, OCM's agents, rustls with ring) reads and that is cheap enough for joins by the
//! thousand. Bytes that were signed are verified as received, never as re-encoded.

mod authority;
mod bootstrap_token;
mod certificate;
mod error;
mod key;
pub mod kubeconfig;
mod pem;
mod request;
mod service_account;
mod signed;
mod subject;

pub use authority::Authority;
pub use authority::SignOptions;
pub use authority::Usage;
pub use authority::Validity;
pub use bootstrap_token::BootstrapToken;
pub use bootstrap_token::BootstrapTokenError;
pub use certificate::Certificate;
pub use certificate::VerifyError;
pub use certificate::verify_client;
pub use error::Error;
pub use key::Key;
pub use kubeconfig::Kubeconfig;
pub use kubeconfig::KubeconfigError;
pub use request::CertificateRequest;
pub use service_account::Claims;
pub use service_account::KubernetesClaims;
pub use service_account::ObjectClaim;
pub use service_account::ServiceAccountKey;
pub use service_account::TokenError;
pub use subject::Subject;
