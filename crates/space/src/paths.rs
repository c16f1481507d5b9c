//! Paths that are no resources: health, version, discovery, OpenAPI, token keys.

use bytes::Bytes;
use http::Method;
use http::header;
use serde_json::Value;
use serde_json::json;

use crate::discovery;
use crate::documents::Documents;
use crate::negotiate;
use crate::resources;
use crate::server::Answer;
use crate::server::Call;
use crate::status::Status;

/// The Kubernetes version whose API a space serves.
pub const KUBERNETES_VERSION: &str = "v1.37.0";

/// Serves a path that the guard has let through.
pub(crate) fn serve(call: &Call) -> Result<Answer, Status> {
    if !matches!(call.head.method, Method::GET | Method::HEAD) {
        return Err(Status::method_not_allowed());
    }
    let parts: Vec<&str> = call
        .head
        .path
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    match parts.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => Ok(health(call, parts[0])),
        ["version"] => Ok(Answer::json(200, &version())),
        [] => Ok(Answer::json(
            200,
            &json!({"paths": discovery::paths(&call.core.registry)}),
        )),
        ["api"] => discover(call, true),
        ["apis"] => discover(call, false),
        ["api", version] => group_version(call, "", version),
        ["apis", group] => match discovery::group(&call.core.registry, group) {
            Some(group) => resources::answer_value(call, 200, &group),
            None => Ok(Answer::page_not_found()),
        },
        ["apis", group, version] => group_version(call, group, version),
        ["openapi", "v3"] => Ok(document(
            call,
            call.core.documents.openapi_index(&call.core),
        )),
        ["openapi", "v3", rest @ ..] => {
            let found = Documents::openapi(&call.core, &rest.join("/"));
            Ok(found.map_or_else(Answer::page_not_found, |bytes| document(call, bytes)))
        }
        [".well-known", "openid-configuration"] => {
            Ok(Answer::json(200, &call.core.guard.openid_configuration()))
        }
        ["openid", "v1", "jwks"] => Ok(Answer::bytes(
            200,
            "application/jwk-set+json",
            crate::engines::to_json(&call.core.guard.json_web_keys()),
        )),
        _ => Ok(Answer::page_not_found()),
    }
}

fn health(call: &Call, probe: &str) -> Answer {
    if call.core.stop.is_cancelled() {
        return Answer::text(500, "the space is shutting down");
    }
    if call.head.query.first("verbose").is_none() {
        return Answer::text(200, "ok");
    }
    let text = format!("[+]ping ok\n[+]store ok\n{probe} check passed\n");
    Answer::text(200, text)
}

fn version() -> Value {
    let mut parts = KUBERNETES_VERSION.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next(), parts.next());
    json!({
        "major": major, "minor": minor,
        "gitVersion": format!("{KUBERNETES_VERSION}+hyades"), "gitCommit": "",
        "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    })
}

/// The architecture as Go names it, which is what clients compare with.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `/api` and `/apis`: aggregated discovery for clients that ask for it, the old lists for others.
fn discover(call: &Call, core_group: bool) -> Result<Answer, Status> {
    if negotiate::wants_aggregated_discovery(&call.headers) {
        let (bytes, etag) = call.core.documents.aggregated(&call.core, core_group);
        let known = call.headers.get(header::IF_NONE_MATCH);
        let answer = if known.is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
            Answer::bytes(304, AGGREGATED, Bytes::new())
        } else {
            compressed(call, AGGREGATED, bytes)
        };
        return Ok(answer
            .with(header::ETAG, etag)
            .with(header::VARY, "Accept".to_owned()));
    }
    let list = if core_group {
        json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
    } else {
        discovery::groups(&call.core.registry)
    };
    resources::answer_value(call, 200, &list)
}

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

fn group_version(call: &Call, group: &str, version: &str) -> Result<Answer, Status> {
    match discovery::resources(&call.core.registry, group, version) {
        Some(list) => resources::answer_value(call, 200, &list),
        None => Ok(Answer::page_not_found()),
    }
}

fn document(call: &Call, bytes: Bytes) -> Answer {
    compressed(call, negotiate::JSON, bytes)
}

fn compressed(call: &Call, content_type: &'static str, bytes: Bytes) -> Answer {
    if bytes.len() >= negotiate::GZIP_BYTES_MIN && negotiate::accepts_gzip(&call.headers) {
        return Answer::bytes(200, content_type, negotiate::gzip(&bytes))
            .with(header::CONTENT_ENCODING, "gzip".to_owned());
    }
    Answer::bytes(200, content_type, bytes)
}
