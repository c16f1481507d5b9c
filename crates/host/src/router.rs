//! From a path on the host to the space that answers it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;

use bytes::Bytes;
use http::Request;
use http::Response;
use http::StatusCode;
use http::Uri;
use http::header::CONTENT_TYPE;
use http::uri::PathAndQuery;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

/// A body of any kind.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What answers the requests of one space.
pub(crate) type SpaceService = BoxCloneSyncService<Request<Incoming>, Response<Body>, Infallible>;

/// Upstream's answer for a path that does not exist, whatever the path; it does not tell which
/// spaces do.
const NOT_FOUND: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"the server could not find the requested resource","reason":"NotFound","details":{},"code":404}"#;

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    /// The host's own health.
    Health,
    /// A space, and the path within it.
    Space { name: &'a str, rest: &'a str },
    /// Nowhere.
    Nowhere,
}

fn route(path: &str) -> Route<'_> {
    if matches!(path, "/healthz" | "/livez" | "/readyz") {
        return Route::Health;
    }
    let Some(below) = path.strip_prefix("/spaces/") else {
        return Route::Nowhere;
    };
    let (name, rest) = match below.find('/') {
        Some(slash) => below.split_at(slash),
        None => (below, "/"),
    };
    match name {
        "" => Route::Nowhere,
        name => Route::Space { name, rest },
    }
}

/// The spaces being served.
#[derive(Clone, Default)]
pub(crate) struct Router {
    spaces: Arc<RwLock<BTreeMap<String, SpaceService>>>,
}

impl Router {
    /// Begins to serve a space.
    pub(crate) fn add(&self, name: &str, service: SpaceService) {
        let mut spaces = self.spaces.write().unwrap_or_else(PoisonError::into_inner);
        spaces.insert(name.to_owned(), service);
    }

    /// Stops serving a space.
    pub(crate) fn remove(&self, name: &str) {
        let mut spaces = self.spaces.write().unwrap_or_else(PoisonError::into_inner);
        spaces.remove(name);
    }

    /// Answers a request.
    pub(crate) async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        let (service, inner) = match route(request.uri().path()) {
            Route::Health => return text(StatusCode::OK, "text/plain; charset=utf-8", "ok"),
            Route::Nowhere => return not_found(),
            Route::Space { name, rest } => {
                let spaces = self.spaces.read().unwrap_or_else(PoisonError::into_inner);
                (spaces.get(name).cloned(), inner_uri(request.uri(), rest))
            }
        };
        let (Some(service), Some(inner)) = (service, inner) else {
            return not_found();
        };
        *request.uri_mut() = inner;
        match service.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// The URI as the space sees it: its own path, the same query.
fn inner_uri(outer: &Uri, rest: &str) -> Option<Uri> {
    let path_and_query = match outer.query() {
        None => rest.to_owned(),
        Some(query) => format!("{rest}?{query}"),
    };
    let path_and_query = PathAndQuery::try_from(path_and_query).ok()?;
    Some(Uri::from(path_and_query))
}

fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "application/json", NOT_FOUND)
}

fn text(status: StatusCode, content_type: &'static str, text: &'static str) -> Response<Body> {
    let body = Full::new(Bytes::from_static(text.as_bytes()));
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    let content_type = http::HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_spaces_by_whole_names() {
        let space = |name, rest| Route::Space { name, rest };
        for (path, expected) in [
            ("/spaces/its1", space("its1", "/")),
            ("/spaces/its1/", space("its1", "/")),
            ("/spaces/its1/api/v1", space("its1", "/api/v1")),
            ("/spaces/its10/api", space("its10", "/api")),
            ("/spaces/", Route::Nowhere),
            ("/spaces//api", Route::Nowhere),
            ("/spaces", Route::Nowhere),
            ("/api", Route::Nowhere),
            ("/", Route::Nowhere),
            ("/readyz", Route::Health),
            ("/readyz/x", Route::Nowhere),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
    }

    #[test]
    fn the_query_goes_along() {
        let outer: Uri = "https://h/spaces/a/api?watch=true&x=%2F"
            .parse()
            .expect("a URI");
        let inner = inner_uri(&outer, "/api").expect("a URI");
        assert_eq!(inner.to_string(), "/api?watch=true&x=%2F");
    }
}
