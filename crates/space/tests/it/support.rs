//! Starts spaces and sends them requests.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use hyades_pki::Authority;
use hyades_pki::ServiceAccountKey;
use hyades_pki::Validity;
use hyades_space::PeerCertificate;
use hyades_space::Space;
use hyades_space::SpaceOptions;
use hyades_store::Options;
use hyades_store::Store;
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt as _;

/// How long a test waits for a controller: each works within milliseconds on an idle machine, and
/// the build machine may be busy with eight other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// The certificate the space's server is said to have.
pub const SERVING_CA: &str = "-----BEGIN CERTIFICATE-----\n";

/// A running space and what its owner holds.
pub struct TestSpace {
    pub space: Space,
    pub client_ca: Authority,
    pub key: ServiceAccountKey,
    folder: TempDir,
}

/// An answer: status code and body.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub body: Value,
    /// The texts of its warning headers.
    pub warnings: Vec<String>,
}

impl Answer {
    /// The message of a failure.
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

impl TestSpace {
    pub async fn start() -> TestSpace {
        let client_ca = Authority::new("test", Validity::starting(Timestamp::now(), 86_400))
            .expect("a new authority");
        let key = ServiceAccountKey::generate();
        let folder = tempfile::tempdir().expect("a temporary folder");
        TestSpace::open(client_ca, key, folder).await
    }

    async fn open(client_ca: Authority, key: ServiceAccountKey, folder: TempDir) -> TestSpace {
        let store = Store::open(&folder.path().join("store.redb"), Options::default())
            .expect("a store in an own folder");
        let space = Space::start(SpaceOptions {
            name: "test".to_owned(),
            store,
            client_ca: client_ca.clone(),
            service_account_key: key.clone(),
            serving_ca_pem: SERVING_CA.to_owned(),
            public_url: "https://localhost/spaces/test".to_owned(),
            pod_logs: None,
        })
        .await
        .expect("a space over an own store");
        TestSpace {
            space,
            client_ca,
            key,
            folder,
        }
    }

    /// Stops the space and starts it again over the same store.
    pub async fn restart(self) -> TestSpace {
        self.space.stop().await;
        TestSpace::open(self.client_ca, self.key, self.folder).await
    }

    /// A client certificate (DER) of this space.
    pub fn certificate(&self, user: &str, groups: &[&str]) -> Bytes {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        let valid = Validity::starting(Timestamp::now(), 3600);
        let (certificate, _) = self
            .client_ca
            .issue_client(user, &groups, valid)
            .expect("a client certificate");
        Bytes::copy_from_slice(certificate.der())
    }

    /// Sends a request with headers and, perhaps, a client certificate.
    pub async fn send(
        &self,
        certificate: Option<Bytes>,
        headers: &[(&str, &str)],
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        let content = if method == "PATCH" {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        if body.is_some() {
            request = request.header("content-type", content);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let bytes = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let mut request = request.body(Full::new(bytes)).expect("a request");
        if let Some(certificate) = certificate {
            request
                .extensions_mut()
                .insert(PeerCertificate(certificate));
        }
        let response = self
            .space
            .service()
            .oneshot(request)
            .await
            .expect("spaces answer everything");
        let code = response.status().as_u16();
        let warnings = response.headers().get_all("warning").iter();
        let warnings = warnings.filter_map(|value| value.to_str().ok());
        let warnings = warnings.map(str::to_owned).collect();
        let bytes = response
            .into_body()
            .collect()
            .await
            .expect("bodies of spaces do not fail")
            .to_bytes();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into());
        Answer {
            code,
            body,
            warnings,
        }
    }

    /// A request of the space's administrator.
    pub async fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let certificate = self.certificate("admin", &["system:masters"]);
        self.send(Some(certificate), &[], method, path, body).await
    }

    /// A request of the administrator that must succeed.
    pub async fn must(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.admin(method, path, body).await;
        assert!(
            answer.code < 300,
            "{method} {path}: {} {}",
            answer.code,
            answer.body
        );
        answer.body
    }

    /// Waits until the administrator's GET of a path satisfies a condition; `what` says which.
    pub async fn eventually(
        &self,
        what: &str,
        path: &str,
        condition: impl Fn(&Answer) -> bool,
    ) -> Answer {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.admin("GET", path, None).await;
            if condition(&answer) {
                return answer;
            }
            assert!(
                tokio::time::Instant::now() < end,
                "waited for: {what}; last answer of {path}: {} {}",
                answer.code,
                answer.body
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until a path is not found.
    pub async fn gone(&self, what: &str, path: &str) {
        self.eventually(what, path, |answer| answer.code == 404)
            .await;
    }
}
