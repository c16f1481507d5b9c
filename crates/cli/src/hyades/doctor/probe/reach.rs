//! The way to a server, step by step: each step is bounded, and none is tried behind one that
//! failed.

use super::ASK_TIMEOUT;
use super::tls;
use crate::hyades::doctor::observed::Answer;
use crate::hyades::doctor::observed::Reach;
use crate::hyades::doctor::observed::Tried;
use crate::progress::board::Step;
use hyades_runtime::Trouble;
use hyades_runtime::kube;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::client::Body;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde_json::Value;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;
use tokio::net::TcpStream;

/// Longest name lookup, connection or handshake: two retransmissions of a lost packet.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);

/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 4;

/// Most of an answer that is read, in bytes: a version is a few hundred.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How a server is reached.
#[derive(Debug)]
pub struct Way<'a> {
    /// Its URL.
    pub url: &'a str,
    /// PEM of the authority it is trusted by.
    pub authority: Option<&'a str>,
    /// The name to expect in its certificate, if it is not the URL's host.
    pub server_name: Option<&'a str>,
    /// Whether a proxy lies on the way; it does the lookups then.
    pub has_proxy: bool,
}

/// Where a URL leads.
struct Place {
    host: String,
    port: u16,
    has_tls: bool,
}

/// Goes the way to a server, and asks it for its version with `client`.
pub async fn reach(way: &Way<'_>, client: Result<&Client, String>) -> Reach {
    let mut reach = Reach {
        url: way.url.to_owned(),
        addresses: Tried::Not("the URL leads nowhere"),
        connected: Tried::Not("the host has no address"),
        chain: Tried::Not("there is no connection"),
        answer: Tried::Not("there is no connection"),
    };
    let place = match place(way.url) {
        Ok(place) => place,
        Err(reason) => {
            reach.addresses = Tried::Failed(reason);
            return reach;
        }
    };
    if way.has_proxy {
        let why = "a proxy lies on the way";
        reach.addresses = Tried::Not(why);
        reach.connected = Tried::Not(why);
        reach.chain = Tried::Not(why);
        reach.answer = answer(client).await;
        return reach;
    }
    let Some(stream) = connect(&place, &mut reach).await else {
        return reach;
    };
    if place.has_tls {
        let name = way.server_name.unwrap_or(&place.host);
        let what = format!("a TLS handshake with {name}");
        let shown = bounded(&what, tls::chain(stream, name, way.authority)).await;
        reach.chain = match shown {
            Ok(chain) => Tried::Done(chain),
            Err(reason) => Tried::Failed(reason),
        };
    } else {
        reach.chain = Tried::Not("the URL asks for no TLS");
    }
    reach.answer = match &reach.chain {
        Tried::Failed(_) => Tried::Not("there is no TLS connection"),
        Tried::Done(chain) if matches!(chain.trust, Some(Err(_))) => {
            Tried::Not("the server is not trusted")
        }
        _ => answer(client).await,
    };
    reach
}

fn place(url: &str) -> Result<Place, String> {
    let wrong = |why: String| {
        let url = if url.is_empty() { "the empty URL" } else { url };
        format!("{url} names no server: {why}")
    };
    let uri: http::Uri = url.parse().map_err(|error| wrong(format!("{error}")))?;
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let (has_tls, port) = match uri.scheme_str() {
        Some("https") => (true, 443),
        Some("http") => (false, 80),
        _ => return Err(wrong("it should start with https://".to_owned())),
    };
    if host.is_empty() {
        return Err(wrong("there is no host in it".to_owned()));
    }
    Ok(Place {
        host: host.to_owned(),
        port: uri.port_u16().unwrap_or(port),
        has_tls,
    })
}

/// Looks the host up and connects to the first of its addresses that answers.
async fn connect(place: &Place, reach: &mut Reach) -> Option<TcpStream> {
    let what = format!("the address of {}", place.host);
    let lookup = async {
        let found = tokio::net::lookup_host((place.host.as_str(), place.port)).await;
        let found = found.map_err(|error| format!("{} does not resolve: {error}", place.host))?;
        Ok(found.take(ADDRESSES_MAX).collect::<Vec<SocketAddr>>())
    };
    let found = match bounded(&what, lookup).await {
        Ok(found) if found.is_empty() => {
            reach.addresses = Tried::Failed(format!("{} has no address", place.host));
            return None;
        }
        Ok(found) => found,
        Err(reason) => {
            reach.addresses = Tried::Failed(reason);
            return None;
        }
    };
    let addresses: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
    reach.addresses = Tried::Done(addresses);
    let mut reasons = Vec::new();
    for address in found {
        let started = Instant::now();
        let what = format!("a connection to {address}");
        let connect = async {
            let stream = TcpStream::connect(address).await;
            stream.map_err(|error| format!("{address}: {error}"))
        };
        match bounded(&what, connect).await {
            Ok(stream) => {
                reach.connected = Tried::Done(started.elapsed());
                return Some(stream);
            }
            Err(reason) => reasons.push(reason),
        }
    }
    reach.connected = Tried::Failed(format!("nothing answers at {}", reasons.join("; ")));
    None
}

async fn bounded<T>(
    what: &str,
    step: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let shown = Step::begin(format!("waiting for {what}"));
    match tokio::time::timeout(STEP_TIMEOUT, shown.during(step)).await {
        Ok(result) => result,
        Err(_) => Err(format!(
            "waited {} s for {what}, in vain; a firewall may drop the packets",
            STEP_TIMEOUT.as_secs()
        )),
    }
}

/// Asks for the version.
async fn answer(client: Result<&Client, String>) -> Tried<Answer> {
    let client = match client {
        Ok(client) => client,
        Err(reason) => return Tried::Failed(reason),
    };
    let step = Step::begin("waiting for the server's version");
    let asked = tokio::time::timeout(ASK_TIMEOUT, step.during(ask_version(client))).await;
    Tried::Done(asked.unwrap_or_else(|_| Answer {
        version: Err(Trouble::TimedOut(format!(
            "no answer within {} s",
            ASK_TIMEOUT.as_secs()
        ))),
        ahead_seconds: None,
    }))
}

async fn ask_version(client: &Client) -> Answer {
    let trouble = |error: &kube::Error| Err(Trouble::of(error));
    let request = http::Request::get("/version").body(Body::empty());
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            return Answer {
                version: Err(Trouble::Other(error.to_string())),
                ahead_seconds: None,
            };
        }
    };
    let answer = match client.send(request).await {
        Ok(answer) => answer,
        Err(error) => {
            return Answer {
                version: trouble(&error),
                ahead_seconds: None,
            };
        }
    };
    let date = answer.headers().get(http::header::DATE);
    let ahead_seconds = date
        .and_then(|date| date.to_str().ok())
        .and_then(http_date)
        .map(|date| date.as_second() - Timestamp::now().as_second());
    let (status, body) = (answer.status(), answer.into_body());
    Answer {
        version: version(status, body).await,
        ahead_seconds,
    }
}

async fn version(status: http::StatusCode, body: Body) -> Result<String, Trouble> {
    use http_body_util::BodyExt;
    let limited = http_body_util::Limited::new(body, ANSWER_BYTES_MAX).collect();
    let bytes = limited.await.map(|body| body.to_bytes());
    let bytes = bytes.map_err(|error| Trouble::Other(error.to_string()))?;
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let message = || match value["message"].as_str() {
        Some(message) => message.to_owned(),
        None => status.to_string(),
    };
    match (status.as_u16(), value["gitVersion"].as_str()) {
        (200, Some(version)) => Ok(version.to_owned()),
        (401, _) => Err(Trouble::Unauthorized(message())),
        (403, _) => Err(Trouble::Forbidden(message())),
        (429 | 500..=599, _) => Err(Trouble::Busy(message())),
        _ => Err(Trouble::NotAnApiServer(message())),
    }
}

/// The time in a `Date` header.
fn http_date(text: &str) -> Option<Timestamp> {
    let zoned = rfc2822::parse(text).ok()?;
    Some(zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_to_hosts_and_ports() {
        let of = |url| place(url).map(|place| (place.host, place.port, place.has_tls));
        assert_eq!(
            of("https://hub.example/spaces/its1"),
            Ok(("hub.example".to_owned(), 443, true))
        );
        assert_eq!(of("https://[::1]:9443"), Ok(("::1".to_owned(), 9443, true)));
        assert_eq!(of("http://a:8080"), Ok(("a".to_owned(), 8080, false)));
        for wrong in ["", "hub:6443", "ftp://hub"] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn dates_of_servers_are_read() {
        let date = http_date("Tue, 24 Nov 2026 10:49:46 GMT").expect("a date");
        assert_eq!(date.to_string(), "2026-11-24T10:49:46Z");
        assert_eq!(http_date("yesterday"), None);
    }
}
