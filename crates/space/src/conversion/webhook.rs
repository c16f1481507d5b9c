//! The server that converts objects of one definition, and the connection to it.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Request;
use http::Response;
use http::Uri;
use http::header;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::ServerName;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long one review may take, upstream's time-out: clients of the API wait for it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Largest answer. A review of as many objects as are sent at a time, each of the largest size an
/// object may have when converted, would be far larger; objects that convert are small.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A connection to a webhook.
type Sender = http1::SendRequest<Full<Bytes>>;

/// Where a webhook is and how it is known.
struct Endpoint {
    uri: Uri,
    host: String,
    port: u16,
    tls: TlsConnector,
}

/// The converting server of a definition.
pub(crate) struct Webhook {
    /// Or why it cannot be asked, told to whoever needs it.
    endpoint: Result<Endpoint, String>,
    /// A connection that is at rest.
    idle: Mutex<Option<Sender>>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint.as_ref().map(|endpoint| &endpoint.uri);
        formatter
            .debug_struct("Webhook")
            .field("endpoint", &endpoint)
            .finish_non_exhaustive()
    }
}

impl Webhook {
    /// The webhook of a definition; nothing if its versions differ in name only.
    pub(crate) fn of(definition: &Value) -> Option<Arc<Webhook>> {
        let conversion = definition.pointer("/spec/conversion")?;
        if conversion["strategy"] != "Webhook" {
            return None;
        }
        let config = conversion
            .pointer("/webhook/clientConfig")
            .unwrap_or(&Value::Null);
        Some(Arc::new(Webhook {
            endpoint: endpoint(config),
            idle: Mutex::default(),
        }))
    }

    /// Asks for the objects in the wanted version; they come back in the same order.
    ///
    /// # Errors
    /// Says what was tried and what happened.
    pub(crate) async fn convert(
        &self,
        objects: &[&Value],
        wanted: &str,
    ) -> Result<Vec<Value>, String> {
        let endpoint = self.endpoint.as_ref().map_err(Clone::clone)?;
        let uid = uuid::Uuid::new_v4().to_string();
        let review = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
            "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": objects},
        });
        let exchange = self.exchange(endpoint, Bytes::from(review.to_string()));
        let answer = tokio::time::timeout(TIMEOUT, exchange)
            .await
            .map_err(|_| format!("no answer within {} s", TIMEOUT.as_secs()))
            .flatten()
            .map_err(|why| format!("Post \"{}\": {why}", endpoint.uri))?;
        objects_of(&answer, &uid)
    }

    async fn exchange(&self, endpoint: &Endpoint, body: Bytes) -> Result<Bytes, String> {
        // The other side may close a connection at rest in the moment when it is used again.
        let kept = self.idle().take();
        let again = match kept {
            Some(sender) => endpoint.ask(sender, body.clone()).await.ok(),
            None => None,
        };
        let (response, sender) = match again {
            Some(answered) => answered,
            None => endpoint.ask(endpoint.connect().await?, body).await?,
        };
        let code = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| format!("the answer cannot be read: {error}"))?
            .to_bytes();
        *self.idle() = Some(sender);
        if code.is_success() {
            Ok(body)
        } else {
            Err(format!("it answered {code}"))
        }
    }

    fn idle(&self) -> MutexGuard<'_, Option<Sender>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Endpoint {
    /// Sends a review; the connection comes back with the head of the answer.
    async fn ask(
        &self,
        mut sender: Sender,
        body: Bytes,
    ) -> Result<(Response<Incoming>, Sender), String> {
        let authority = self.uri.authority().map_or("", |whole| whole.as_str());
        let path = self.uri.path_and_query();
        let request = Request::post(path.map_or("/", |path| path.as_str()))
            .header(header::HOST, authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        sender.ready().await.map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| error.to_string())?;
        Ok((response, sender))
    }

    async fn connect(&self) -> Result<Sender, String> {
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| error.to_string())?;
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let stream = self
            .tls
            .connect(name, stream)
            .await
            .map_err(|error| error.to_string())?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        // The task ends with the connection, and that with the sender.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to a conversion webhook ended");
            }
        });
        Ok(sender)
    }
}

fn endpoint(config: &Value) -> Result<Endpoint, String> {
    let Some(url) = config["url"].as_str() else {
        return Err(
            "services have no network in a served space; give clientConfig.url instead of \
             clientConfig.service"
                .to_owned(),
        );
    };
    let uri: Uri = url
        .parse()
        .map_err(|error| format!("clientConfig.url {url:?}: {error}"))?;
    if uri.scheme_str() != Some("https") {
        return Err(format!("clientConfig.url {url:?} must begin with https://"));
    }
    let host = uri.host().unwrap_or_default();
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let port = uri.port_u16().unwrap_or(443);
    let tls = connector(config["caBundle"].as_str().unwrap_or_default())?;
    Ok(Endpoint {
        uri,
        host,
        port,
        tls,
    })
}

fn connector(ca_bundle: &str) -> Result<TlsConnector, String> {
    let wrong = |why: String| format!("clientConfig.caBundle: {why}");
    let pem = BASE64_STANDARD
        .decode(ca_bundle)
        .map_err(|error| wrong(error.to_string()))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong(
            "it holds no certificate; give the webhook's authority there".to_owned(),
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The converted objects of an answered review.
fn objects_of(answer: &[u8], uid: &str) -> Result<Vec<Value>, String> {
    let mut review: Value = serde_json::from_slice(answer)
        .map_err(|error| format!("the answer is no ConversionReview: {error}"))?;
    let response = review
        .get_mut("response")
        .map(Value::take)
        .unwrap_or_default();
    if response["uid"] != uid {
        return Err("the answer belongs to another review".to_owned());
    }
    if response["result"]["status"] != "Success" {
        let message = response["result"]["message"].as_str();
        return Err(message.unwrap_or("it gave no reason").to_owned());
    }
    match response {
        Value::Object(mut response) => match response.remove("convertedObjects") {
            Some(Value::Array(objects)) => Ok(objects),
            _ => Err("the answer has no convertedObjects".to_owned()),
        },
        _ => Err("the answer has no response".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_asked_says_why() {
        let why = |config: Value| endpoint(&config).err().unwrap_or_default();
        let service = why(json!({"service": {"name": "s", "namespace": "n"}}));
        assert!(service.contains("clientConfig.url"), "{service}");
        let plain = why(json!({"url": "http://127.0.0.1/convert"}));
        assert!(plain.contains("https://"), "{plain}");
        let bare = why(json!({"url": "https://127.0.0.1/convert"}));
        assert!(bare.contains("caBundle"), "{bare}");
    }

    #[test]
    fn answers_are_those_of_their_review() {
        let answer =
            |response: Value| objects_of(json!({"response": response}).to_string().as_bytes(), "u");
        let good = json!({
            "uid": "u", "convertedObjects": [{"a": 1}], "result": {"status": "Success"},
        });
        assert_eq!(answer(good), Ok(vec![json!({"a": 1})]));
        let failure = json!({"uid": "u", "result": {"status": "Failure", "message": "no"}});
        assert_eq!(answer(failure), Err("no".to_owned()));
        let other = json!({"uid": "v", "result": {"status": "Success"}});
        assert!(answer(other).is_err());
        assert!(answer(json!(3)).is_err());
        assert!(objects_of(b"junk", "u").is_err());
    }
}
