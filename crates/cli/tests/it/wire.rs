//! Requests as other programs send them: any path and body, under any credentials, over TLS.
//!
//! ```text
//! Caller::{get, create, replace, merge, delete} ─▶ Answer: code, type, body as JSON
//! Caller::watch ─▶ Watch ─▶ Event, Event, …
//! ```
//!
//! As Go's typed clients do, built-in kinds travel as protobuf and custom resources as JSON.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use futures::AsyncBufRead;
use futures::AsyncReadExt as _;
use futures::StreamExt as _;
use futures::io::BufReader;
use http::Request;
use http::header;
use hyades_pki::Kubeconfig;
use hyades_pki::kubeconfig::Credentials;
use hyades_runtime::kube;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Config;
use hyades_runtime::kube::client::Body;
use hyades_runtime::kube::config::KubeConfigOptions;
use hyades_schema::kinds::builtin;
use hyades_schema::proto;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::harness::Host;
use crate::harness::PATIENCE;

/// The media type of protobuf bodies.
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// What Go's typed clients accept for built-in kinds.
const ACCEPT_BUILTIN: &str = "application/vnd.kubernetes.protobuf,application/json";
/// What they accept for custom resources.
const ACCEPT_CUSTOM: &str = "application/json, */*";
/// What they append to a watch's path, besides selectors: a streaming list.
const STREAMING_LIST: &str = "allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan\
                              &sendInitialEvents=true&timeoutSeconds=400&watch=true";
/// Pause between two looks at something that is to come about.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest wait for one answer: nothing here waits for anybody on purpose.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// How many requests of a flood are on their way at once.
const FLOOD_WIDTH: usize = 32;
/// How much of a watch is read at once, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// The way to one space.
#[derive(Clone)]
pub struct Wire {
    runtime: Arc<Runtime>,
    kubeconfig: Kubeconfig,
    server: String,
    ca_pem: String,
}

impl Wire {
    /// The way to a space of a host.
    pub fn to(host: &Host, space: &str) -> Wire {
        hyades_runtime::client::install_crypto();
        let text = std::fs::read_to_string(host.data_dir().join("kubeconfig"));
        let kubeconfig = Kubeconfig::parse(&text.expect("the host's kubeconfig"));
        let kubeconfig = kubeconfig.and_then(|all| all.only(space));
        let kubeconfig = kubeconfig.expect("a context of the space's name");
        let cluster = &kubeconfig.clusters[0].cluster;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        Wire {
            runtime: Arc::new(runtime.expect("a runtime")),
            server: cluster.server.clone().expect("a server"),
            ca_pem: cluster.certificate_authority_pem().expect("an authority"),
            kubeconfig,
        }
    }

    /// The space's URL.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// As the space's administrator.
    pub fn admin(&self) -> Caller {
        self.caller(&self.kubeconfig)
    }

    /// As whom a bearer token proves.
    pub fn with_token(&self, token: &str) -> Caller {
        self.with(&Credentials::Token(token.to_owned()))
    }

    /// As whom a client certificate proves.
    pub fn with_certificate(&self, certificate_pem: &str, key_pem: &str) -> Caller {
        self.with(&Credentials::Certificate {
            certificate_pem: certificate_pem.to_owned(),
            key_pem: key_pem.to_owned(),
        })
    }

    /// As nobody.
    pub fn anonymous(&self) -> Caller {
        let mut file = self.kubeconfig.clone();
        for user in &mut file.users {
            user.user = Default::default();
        }
        self.caller(&file)
    }

    fn with(&self, credentials: &Credentials) -> Caller {
        let file = Kubeconfig::for_server("hub", &self.server, &self.ca_pem, credentials);
        self.caller(&file)
    }

    fn caller(&self, file: &Kubeconfig) -> Caller {
        let text = file.to_yaml().expect("YAML");
        let file = kube::config::Kubeconfig::from_yaml(&text).expect("a kubeconfig");
        let client = self.runtime.block_on(async {
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(file, &options).await;
            Client::try_from(config.expect("a configuration")).expect("a client")
        });
        Caller {
            runtime: self.runtime.clone(),
            client,
        }
    }
}

/// Somebody with credentials.
#[derive(Clone)]
pub struct Caller {
    runtime: Arc<Runtime>,
    client: Client,
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was asked.
    pub asked: String,
    /// The HTTP status.
    pub code: u16,
    /// The media type.
    pub content_type: String,
    /// The body: JSON, or protobuf read as JSON, or a string.
    pub body: Value,
}

impl Answer {
    /// Insists on success; gives the body.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.code), "{}: {self:#?}", self.asked);
        self.body
    }

    /// Insists on this refusal; gives its message.
    #[track_caller]
    pub fn refused(self, code: u16) -> String {
        assert_eq!(self.code, code, "{}: {self:#?}", self.asked);
        self.body["message"].as_str().unwrap_or_default().to_owned()
    }
}

impl Caller {
    /// Reads.
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None, Vec::new())
    }

    /// Creates.
    pub fn create(&self, path: &str, object: &Value) -> Answer {
        let (content_type, body) = encoded(path, object);
        self.send("POST", path, Some(content_type), body)
    }

    /// Replaces.
    pub fn replace(&self, path: &str, object: &Value) -> Answer {
        let (content_type, body) = encoded(path, object);
        self.send("PUT", path, Some(content_type), body)
    }

    /// Patches by a JSON merge patch.
    pub fn merge(&self, path: &str, patch: &Value) -> Answer {
        let body = patch.to_string().into_bytes();
        self.send("PATCH", path, Some("application/merge-patch+json"), body)
    }

    /// Deletes.
    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None, Vec::new())
    }

    /// Sends a body of any kind.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        content_type: Option<&str>,
        body: Vec<u8>,
    ) -> Answer {
        self.send_accepting(accept(path), method, path, content_type, body)
    }

    /// Sends a body of any kind, asking for an answer of a kind.
    pub fn send_accepting(
        &self,
        accept: &str,
        method: &str,
        path: &str,
        content_type: Option<&str>,
        body: Vec<u8>,
    ) -> Answer {
        let request = complete_request(accept, method, path, content_type, body);
        let asked = format!("{method} {path}");
        let answer = self
            .runtime
            .block_on(exchange(&self.client, &asked, request));
        answer.unwrap_or_else(|problem| panic!("{asked}: {problem}"))
    }

    /// Reads, and tells why there was no answer.
    pub fn try_get(&self, path: &str) -> Result<Answer, String> {
        let request = complete_request(accept(path), "GET", path, None, Vec::new());
        self.runtime.block_on(exchange(&self.client, path, request))
    }

    /// Creates the same object many times over, [`FLOOD_WIDTH`] at once.
    pub fn create_many(&self, path: &str, object: &Value, count: usize) -> Vec<Answer> {
        let (content_type, body) = encoded(path, object);
        let answers = futures::stream::iter(0..count).map(|_| {
            let request =
                complete_request(accept(path), "POST", path, Some(content_type), body.clone());
            exchange(&self.client, path, request)
        });
        let answers = answers.buffer_unordered(FLOOD_WIDTH);
        let answers: Vec<Result<Answer, String>> = self.runtime.block_on(answers.collect());
        let answers: Result<_, _> = answers.into_iter().collect();
        answers.unwrap_or_else(|problem| panic!("POST {path}: {problem}"))
    }

    /// Asks until `is_seen` is content with the answer; panics when it never is.
    #[track_caller]
    pub fn until(&self, path: &str, is_seen: impl Fn(&Answer) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path);
            if is_seen(&answer) {
                return answer.body;
            }
            assert!(
                Instant::now() < deadline,
                "not seen within {PATIENCE:?}: {answer:#?}"
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Opens a streaming list, as informers do, or is refused with this code.
    pub fn try_watch(&self, path: &str) -> Result<Watch, u16> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{separator}{STREAMING_LIST}");
        let accept = accept(&path);
        let request = request("GET", &path, accept);
        let request = request.body(Vec::new()).expect("a request");
        let stream = self.client.request_stream(request);
        let reader = match self.runtime.block_on(stream) {
            Ok(reader) => reader,
            Err(kube::Error::Api(status)) => return Err(status.code),
            Err(error) => panic!("watch {path}: {error}"),
        };
        Ok(Watch {
            runtime: self.runtime.clone(),
            path,
            is_protobuf: accept == ACCEPT_BUILTIN,
            reader: Box::pin(BufReader::new(reader)),
            buffer: Vec::new(),
        })
    }

    /// Opens a streaming list.
    #[track_caller]
    pub fn watch(&self, path: &str) -> Watch {
        let watch = self.try_watch(path);
        watch.unwrap_or_else(|code| panic!("watch {path}: {code}"))
    }

    /// Asks whether the caller may do something, as programs judge a server.
    pub fn may(&self, attributes: &Value) -> bool {
        let review = serde_json::json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        self.create(path, &review).ok()["status"]["allowed"] == true
    }
}

fn complete_request(
    accept: &str,
    method: &str,
    path: &str,
    content_type: Option<&str>,
    body: Vec<u8>,
) -> Request<Body> {
    let mut request = request(method, path, accept);
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    request.body(Body::from(body)).expect("a request")
}

/// Sends a request and reads the whole answer.
async fn exchange(client: &Client, asked: &str, request: Request<Body>) -> Result<Answer, String> {
    let exchange = async {
        let response = client.send(request).await;
        let (head, body) = response.map_err(|error| error.to_string())?.into_parts();
        let bytes = body.collect_bytes().await;
        let bytes = bytes.map_err(|error| error.to_string())?;
        let content_type = head.headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        Ok(Answer {
            code: head.status.as_u16(),
            body: decoded(&content_type, &bytes),
            asked: asked.to_owned(),
            content_type,
        })
    };
    let answer = tokio::time::timeout(ANSWER_WAIT, exchange).await;
    answer.unwrap_or_else(|_| Err(format!("no answer within {ANSWER_WAIT:?}")))
}

fn request(method: &str, path: &str, accept: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::USER_AGENT, "ocm-registration-operator/v0.0")
        .header(header::ACCEPT, accept)
}

/// Whether a path is that of a built-in kind.
fn is_builtin(path: &str) -> bool {
    path.starts_with("/api/v1/")
        || path.strip_prefix("/apis/").is_some_and(|rest| {
            let group = rest.split('/').next().unwrap_or_default();
            group.ends_with(".k8s.io") && group != "apiextensions.k8s.io" || !group.contains('.')
        })
}

fn accept(path: &str) -> &'static str {
    match is_builtin(path) {
        true => ACCEPT_BUILTIN,
        false => ACCEPT_CUSTOM,
    }
}

fn encoded(path: &str, object: &Value) -> (&'static str, Vec<u8>) {
    match is_builtin(path) {
        true => (PROTOBUF, proto::encode(object).expect("a built-in kind")),
        false => ("application/json", object.to_string().into_bytes()),
    }
}

fn decoded(content_type: &str, bytes: &[u8]) -> Value {
    if content_type == PROTOBUF {
        return proto::decode(builtin(), bytes).expect("protobuf of a built-in kind");
    }
    let text = String::from_utf8_lossy(bytes);
    serde_json::from_str(&text).unwrap_or_else(|_| Value::from(&*text))
}

/// One event of a watch.
#[derive(Debug, Clone)]
pub struct Event {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    pub kind: String,
    /// The object.
    pub object: Value,
}

/// An open watch.
pub struct Watch {
    runtime: Arc<Runtime>,
    path: String,
    is_protobuf: bool,
    reader: std::pin::Pin<Box<dyn AsyncBufRead + Send>>,
    buffer: Vec<u8>,
}

impl Watch {
    /// The objects that were there when it began, up to the bookmark that says so.
    #[track_caller]
    pub fn initial(&mut self) -> Vec<Value> {
        let mut objects = Vec::new();
        loop {
            let event = self.next();
            if event.kind == "BOOKMARK" {
                let annotations = &event.object["metadata"]["annotations"];
                assert_eq!(annotations["k8s.io/initial-events-end"], "true");
                return objects;
            }
            assert_eq!(event.kind, "ADDED", "{event:#?}");
            objects.push(event.object);
        }
    }

    /// Reads on until an event that is no bookmark has an object as asked for.
    #[track_caller]
    pub fn until(&mut self, is_seen: impl Fn(&Event) -> bool) -> Value {
        loop {
            let event = self.next();
            if event.kind != "BOOKMARK" && is_seen(&event) {
                return event.object;
            }
        }
    }

    /// The next event.
    #[track_caller]
    pub fn next(&mut self) -> Event {
        let event = self.try_next();
        event.unwrap_or_else(|| panic!("{} ended", self.path))
    }

    /// The next event, or none when the server ends the watch.
    #[track_caller]
    pub fn try_next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.buffered() {
                return Some(event);
            }
            let mut chunk = vec![0; READ_BYTES];
            let read = async { tokio::time::timeout(PATIENCE, self.reader.read(&mut chunk)).await };
            let read = self.runtime.block_on(read);
            let read = read.unwrap_or_else(|_| panic!("{}: no event came", self.path));
            match read {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
            }
        }
    }

    fn buffered(&mut self) -> Option<Event> {
        if self.is_protobuf {
            let (length, rest) = self.buffer.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).expect("a length");
            let (message, rest) = rest.split_at_checked(length)?;
            let event = protobuf_event(message);
            self.buffer = rest.to_vec();
            return Some(event);
        }
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.buffer.drain(..=end).collect();
        let event: Value = serde_json::from_slice(&line).expect("events are JSON, one a line");
        Some(Event {
            kind: event["type"].as_str().unwrap_or_default().to_owned(),
            object: event["object"].clone(),
        })
    }
}

fn protobuf_event(message: &[u8]) -> Event {
    let kind = field(message, 1).expect("events have a type");
    let raw = field(message, 2).expect("events have an object");
    let object = field(raw, 1).expect("raw extensions have bytes");
    Event {
        kind: String::from_utf8_lossy(kind).into_owned(),
        object: proto::decode(builtin(), object).expect("an object of a built-in kind"),
    }
}

/// The bytes of a length-delimited field; messages of watch events have no other fields.
fn field(mut message: &[u8], number: u8) -> Option<&[u8]> {
    while let Some((tag, mut rest)) = message.split_first() {
        let (mut length, mut shift) = (0, 0);
        loop {
            let (byte, after) = rest.split_first()?;
            length |= usize::from(byte & 0x7f) << shift;
            (shift, rest) = (shift + 7, after);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (content, after) = rest.split_at_checked(length)?;
        if tag >> 3 == number {
            return Some(content);
        }
        message = after;
    }
    None
}
