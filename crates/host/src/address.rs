//! Where a host is reached: its base URL, and the names its certificate must carry.

use std::net::IpAddr;
use std::net::SocketAddr;

use http::Uri;

use crate::HostError;

/// The host's base URL and the names in its serving certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// `https://HOST:PORT`, without a trailing slash.
    pub(crate) base_url: String,
    /// DNS names and IP addresses, the advertised or listened-on one first.
    pub(crate) names: Vec<String>,
}

impl Address {
    /// From the address listened on and the URL to advertise, if any. Loopback names are always
    /// among the names: the pods of the process node reach their space that way.
    pub(crate) fn new(listen: SocketAddr, advertise: Option<&str>) -> Result<Address, HostError> {
        let mut names = Vec::new();
        let base_url = match advertise {
            None => {
                let ip = reachable(listen.ip());
                names.push(ip.to_string());
                format!("https://{}", SocketAddr::new(ip, listen.port()))
            }
            Some(url) => {
                let (base_url, name) = parse(url)?;
                names.push(name);
                if !listen.ip().is_unspecified() {
                    names.push(listen.ip().to_string());
                }
                base_url
            }
        };
        names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
        let mut distinct = Vec::new();
        for name in names {
            if !distinct.contains(&name) {
                distinct.push(name);
            }
        }
        Ok(Address {
            base_url,
            names: distinct,
        })
    }

    /// The URL of a space.
    pub(crate) fn space_url(&self, name: &str) -> String {
        format!("{}/spaces/{name}", self.base_url)
    }
}

/// The address by which this machine reaches itself at `ip`.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) if v4.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(v6) if v6.is_unspecified() => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    }
}

/// A URL's base and its host.
fn parse(url: &str) -> Result<(String, String), HostError> {
    let refuse = |reason| HostError::Advertise {
        url: url.to_owned(),
        reason,
    };
    let uri: Uri = url.parse().map_err(|_| refuse("it is not a URL"))?;
    if uri.scheme_str() != Some("https") {
        return Err(refuse("it must begin with https://"));
    }
    let authority = uri.authority().ok_or_else(|| refuse("it names no host"))?;
    if authority.as_str().contains('@') {
        return Err(refuse("it must not carry a user"));
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err(refuse(
            "it must have no path: spaces are served below /spaces/",
        ));
    }
    let host = authority.host();
    let name = host.trim_start_matches('[').trim_end_matches(']');
    if name.is_empty() {
        return Err(refuse("it names no host"));
    }
    Ok((format!("https://{authority}"), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(listen: &str, advertise: Option<&str>) -> Result<Address, String> {
        let listen = listen.parse().expect("an address");
        Address::new(listen, advertise).map_err(|error| error.to_string())
    }

    #[test]
    fn the_url_follows_what_is_listened_on_or_advertised() {
        let of = |listen, advertise| address(listen, advertise).expect("usable");
        let plain = of("127.0.0.1:9443", None);
        assert_eq!(
            plain.space_url("its1"),
            "https://127.0.0.1:9443/spaces/its1"
        );
        assert_eq!(plain.names, ["127.0.0.1", "localhost", "::1"]);
        assert_eq!(of("0.0.0.0:1", None).base_url, "https://127.0.0.1:1");
        assert_eq!(of("[::]:1", None).base_url, "https://[::1]:1");
        let advertised = of("192.0.2.7:9443", Some("https://hub.example.org/"));
        assert_eq!(advertised.base_url, "https://hub.example.org");
        assert_eq!(
            advertised.names,
            [
                "hub.example.org",
                "192.0.2.7",
                "localhost",
                "127.0.0.1",
                "::1"
            ]
        );
        let v6 = of("[::]:1", Some("https://[2001:db8::1]:9443"));
        assert_eq!(v6.names[0], "2001:db8::1");
        assert_eq!(v6.base_url, "https://[2001:db8::1]:9443");
    }

    #[test]
    fn unusable_urls_are_refused_with_the_reason() {
        for (url, reason) in [
            ("hub.example.org:9443", "it must begin with https://"),
            ("http://hub.example.org", "it must begin with https://"),
            ("https://hub.example.org/x", "it must have no path"),
            ("https://user@hub.example.org", "it must not carry a user"),
            ("", "it is not a URL"),
        ] {
            let error = address("127.0.0.1:1", Some(url)).expect_err(url);
            assert!(error.contains(reason), "{error}");
        }
    }
}
