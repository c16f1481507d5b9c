//! The service: one HTTP request in, one answer out.
//!
//! ```text
//!  authenticate ▶ route ▶ authorise ▶ find the resource ▶ verb ▶ encode
//! ```

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::HeaderMap;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::header;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyades_schema::selector::Selector;

use crate::access::authn::ANONYMOUS;
use crate::body;
use crate::core::Core;
use crate::encode;
use crate::guard::Credentials;
use crate::identity::Attributes;
use crate::identity::UserInfo;
use crate::negotiate;
use crate::negotiate::Encoding;
use crate::paths;
use crate::query::Query;
use crate::request;
use crate::request::Route;
use crate::resources;
use crate::status::Status;

/// The body of an answer; a watch's never ends by itself.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The client certificate (DER) whose key the TLS handshake proved possession of. Whoever terminates
/// TLS puts it into the request's extensions; the space checks who issued it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate(pub Bytes);

/// In the extensions of an answer: the credentials of the request were taken. Whoever serves
/// connections tells by it the space's users from strangers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authenticated;

/// A space as a service of HTTP requests; clones share the space.
#[derive(Clone)]
pub struct SpaceService {
    core: Arc<Core>,
    /// In process, whom every request acts as; over the wire its credentials say.
    user: Option<UserInfo>,
}

impl SpaceService {
    pub(crate) fn new(core: Arc<Core>, user: Option<UserInfo>) -> SpaceService {
        SpaceService { core, user }
    }
}

impl<B> tower::Service<Request<B>> for SpaceService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let call = Call {
                core: service.core,
                head: Head::new(&parts),
                headers: parts.headers,
                peer: parts.extensions.get::<PeerCertificate>().cloned(),
                user: service.user.unwrap_or_default(),
                granted: None,
                in_process: false,
            };
            let call = Call {
                in_process: !call.user.name.is_empty(),
                ..call
            };
            let serving = AssertUnwindSafe(serve(call, Box::pin(body)));
            // A defect in one request must not take others down with it.
            Ok(serving.catch_unwind().await.unwrap_or_else(|_| {
                let why = "the request made the server panic; see its log";
                Answer::status(&Status::internal(why)).into_response()
            }))
        })
    }
}

/// The parsed head of a request.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// The method.
    pub(crate) method: http::Method,
    /// The path.
    pub(crate) path: String,
    /// The query.
    pub(crate) query: Query,
}

impl Head {
    fn new(parts: &http::request::Parts) -> Head {
        Head {
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            query: Query::parse(parts.uri.query().unwrap_or_default()),
        }
    }
}

/// One request on its way.
pub(crate) struct Call {
    /// The space.
    pub(crate) core: Arc<Core>,
    /// Method, path and query.
    pub(crate) head: Head,
    /// Headers.
    pub(crate) headers: HeaderMap,
    /// The client certificate.
    peer: Option<PeerCertificate>,
    /// Whom the request acts as, once that is known.
    pub(crate) user: UserInfo,
    /// What was asked for and granted, if it is a resource.
    pub(crate) granted: Option<Granted>,
    /// Whether the user was given by the process itself.
    in_process: bool,
}

/// A right to a resource, as it was judged.
#[derive(Debug, Clone)]
pub(crate) struct Granted {
    pub(crate) attributes: Attributes,
    /// By which labels the objects of a collection are selected.
    pub(crate) labels: Selector,
}

async fn serve<B>(mut call: Call, body: B) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
{
    let answer = match try_serve(&mut call, body).await {
        Ok(answer) => answer,
        Err(status) => Answer::status_in(negotiate::of_status(&call.headers), &status),
    };
    let mut response = answer.into_response();
    // Nobody's name is empty once it is known.
    if !["", ANONYMOUS].contains(&&*call.user.name) {
        response.extensions_mut().insert(Authenticated);
    }
    response
}

async fn try_serve<B>(call: &mut Call, body: B) -> Result<Answer, Status>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
{
    if call.head.path.len() > request::PATH_BYTES_MAX {
        let message = format!(
            "the request path has {} bytes, more than the {} that any resource needs",
            call.head.path.len(),
            request::PATH_BYTES_MAX
        );
        return Err(Status::bad_request(message));
    }
    let route = request::route(&call.head.path);
    if call.in_process {
        let user = std::mem::take(&mut call.user);
        call.user = call.core.guard.acting_as(user, &call.headers)?;
    } else {
        let renews_a_certificate = match &route {
            Route::Resource(target) => {
                target.renews_a_certificate(&call.head.method, &call.head.query)
            }
            Route::Path => false,
        };
        call.user = call.core.guard.authenticate(&Credentials {
            peer_certificate: call.peer.as_ref().map(|peer| &*peer.0),
            headers: &call.headers,
            renews_a_certificate,
        })?;
    }
    match route {
        Route::Path => {
            call.core.authorize(
                &call.user,
                &Attributes::Path {
                    verb: call.head.method.as_str().to_lowercase(),
                    path: call.head.path.clone(),
                },
            )?;
            paths::serve(call)
        }
        Route::Resource(target) => {
            let Some(verb) = target.verb(&call.head.method, &call.head.query) else {
                return Err(Status::method_not_allowed());
            };
            let attributes = target.attributes(verb, &call.head.query);
            // What cannot be read selects everything here, and is refused later.
            let labels = call.head.query.first("labelSelector").unwrap_or_default();
            let labels = Selector::parse(labels).unwrap_or_default();
            let guard = &call.core.guard;
            guard.authorize_selected(&call.user, &attributes, &labels)?;
            call.granted = Some(Granted { attributes, labels });
            // Nobody's bytes are read before he is known to be allowed.
            let bytes = body::read(body).await?;
            resources::serve(call, &target, verb, bytes).await
        }
    }
}

/// An answer about to be sent.
pub(crate) struct Answer {
    code: u16,
    content_type: &'static str,
    body: Body,
    headers: Vec<(header::HeaderName, String)>,
}

impl Answer {
    /// An answer of known bytes.
    pub(crate) fn bytes(code: u16, content_type: &'static str, bytes: Bytes) -> Answer {
        Answer::new(code, content_type, Full::new(bytes).boxed_unsync())
    }

    fn new(code: u16, content_type: &'static str, body: Body) -> Answer {
        Answer {
            code,
            content_type,
            body,
            headers: Vec::new(),
        }
    }

    /// An answer that streams.
    pub(crate) fn stream(
        content_type: &'static str,
        stream: impl futures::Stream<Item = Result<http_body::Frame<Bytes>, Infallible>>
        + Send
        + 'static,
    ) -> Answer {
        Answer::new(200, content_type, StreamBody::new(stream).boxed_unsync())
    }

    /// Plain text.
    pub(crate) fn text(code: u16, text: impl Into<Bytes>) -> Answer {
        Answer::bytes(code, "text/plain; charset=utf-8", text.into())
    }

    /// JSON.
    pub(crate) fn json(code: u16, value: &serde_json::Value) -> Answer {
        Answer::bytes(code, negotiate::JSON, crate::engines::to_json(value))
    }

    /// The answer to a path that leads nowhere.
    pub(crate) fn page_not_found() -> Answer {
        Answer::text(404, "404 page not found\n")
    }

    /// A failure, in JSON.
    pub(crate) fn status(status: &Status) -> Answer {
        Answer::status_in(Encoding::Json, status)
    }

    /// A failure, in an encoding that the client reads.
    fn status_in(encoding: Encoding, status: &Status) -> Answer {
        let value = status.to_value();
        let answer = match encode::value(encoding, &value) {
            Ok(bytes) => Answer::bytes(status.code, encoding.media_type(), bytes),
            Err(_) => Answer::json(status.code, &value),
        };
        match status
            .details
            .as_ref()
            .map_or(0, |it| it.retry_after_seconds)
        {
            0 => answer,
            seconds => answer.with(header::RETRY_AFTER, seconds.to_string()),
        }
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: header::HeaderName, value: String) -> Answer {
        self.headers.push((name, value));
        self
    }

    /// Adds warnings.
    pub(crate) fn with_warnings(mut self, warnings: Vec<String>) -> Answer {
        for text in warnings {
            let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
            self.headers
                .push((header::WARNING, format!("299 - \"{quoted}\"")));
        }
        self
    }

    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() =
            http::StatusCode::from_u16(self.code).unwrap_or(http::StatusCode::OK);
        let headers = response.headers_mut();
        let content_type = HeaderValue::from_static(self.content_type);
        headers.insert(header::CONTENT_TYPE, content_type);
        let uncached = HeaderValue::from_static("no-cache, private");
        headers.insert(header::CACHE_CONTROL, uncached);
        for (name, value) in self.headers {
            // A value that cannot stand in a header, such as a warning about a field whose name has
            // control characters, is left out rather than failing the request.
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.append(name, value);
            }
        }
        response
    }
}
