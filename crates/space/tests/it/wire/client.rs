//! The recorded users, and requests in their names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http::header;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use hyades_space::Body;
use hyades_space::PeerCertificate;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::support::TestSpace;

/// The bootstrap token in the fixture; its secret half is the example of Kubernetes' manual.
const BOOTSTRAP_TOKEN: &str = "Bearer ocmhub.0123456789abcdef";

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// Who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    Admin,
    BootstrapToken,
    /// The WEC's agent, with the certificate that the space signed for it.
    Agent,
}

impl User {
    /// The user of a recorded exchange.
    pub(crate) fn recorded(name: &str) -> User {
        match name {
            "admin" => User::Admin,
            "bearer bootstrap token" => User::BootstrapToken,
            "system:open-cluster-management:cluster1:mj9jx" => User::Agent,
            other => panic!("a user that the recordings did not have: {other}"),
        }
    }
}

/// A request to send.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) user: User,
    pub(crate) agent: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) accept: Option<&'a str>,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) body: Bytes,
}

/// The beginning of an answer.
pub(crate) struct Head {
    pub(crate) code: u16,
    pub(crate) content_type: String,
    pub(crate) body: Body,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) content_type: String,
    pub(crate) bytes: Bytes,
}

impl Head {
    pub(crate) async fn whole(self) -> Answer {
        let body = self.body.collect().await;
        Answer {
            code: self.code,
            content_type: self.content_type,
            bytes: body.expect("bodies of spaces do not fail").to_bytes(),
        }
    }
}

/// A space and the credentials of the recorded users.
pub(crate) struct Client {
    pub(crate) space: TestSpace,
    agent: Option<Bytes>,
}

impl Client {
    pub(crate) fn new(space: TestSpace) -> Client {
        Client { space, agent: None }
    }

    pub(crate) async fn send(&mut self, ask: Ask<'_>) -> Head {
        let mut request = Request::builder()
            .method(ask.method)
            .uri(ask.path)
            .header(header::USER_AGENT, ask.agent);
        if let Some(accept) = ask.accept {
            request = request.header(header::ACCEPT, accept);
        }
        if let Some(content_type) = ask.content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let certificate = match ask.user {
            User::Admin => Some(self.space.certificate("admin", &["system:masters"])),
            User::Agent => Some(self.agent_certificate().await),
            User::BootstrapToken => {
                request = request.header(header::AUTHORIZATION, BOOTSTRAP_TOKEN);
                None
            }
        };
        let mut request = request.body(Full::new(ask.body)).expect("a request");
        if let Some(certificate) = certificate {
            let extensions = request.extensions_mut();
            extensions.insert(PeerCertificate(certificate));
        }
        let response = self.space.space.service().oneshot(request).await;
        let response = response.expect("spaces answer everything");
        let content_type = response.headers().get(header::CONTENT_TYPE);
        Head {
            code: response.status().as_u16(),
            content_type: content_type
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .unwrap_or_default(),
            body: response.into_body(),
        }
    }

    /// What the administrator sees at a path, as JSON.
    pub(crate) async fn look(&mut self, path: &str) -> Value {
        self.space.must("GET", path, None).await
    }

    /// The certificate that was signed for the agent's request, in DER.
    async fn agent_certificate(&mut self) -> Bytes {
        if let Some(certificate) = &self.agent {
            return certificate.clone();
        }
        let signed = |list: &Value| list["items"][0]["status"]["certificate"].is_string();
        let answer = self
            .space
            .eventually("the agent's certificate", REQUESTS, |answer| {
                signed(&answer.body)
            })
            .await;
        let certificate = &answer.body["items"][0]["status"]["certificate"];
        let pem = STANDARD.decode(certificate.as_str().unwrap_or_default());
        let pem = String::from_utf8(pem.expect("certificates are base64")).expect("PEM is text");
        let lines = pem.lines().filter(|line| !line.starts_with("-----"));
        let der = STANDARD.decode(lines.collect::<String>()).expect("PEM");
        self.agent.insert(Bytes::from(der)).clone()
    }
}
