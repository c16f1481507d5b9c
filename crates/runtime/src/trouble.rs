//! What went wrong between a client and an API server, in words an operator can act on.

use std::error::Error as StdError;
use std::fmt;
use std::io;

/// The kind of failure behind a [`kube::Error`].
///
/// Controllers branch on it (a 409 is retried at once, a 403 is waited out), and people read its
/// [`Display`](fmt::Display): what happened and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The host name of the server does not resolve.
    NameNotFound(String),
    /// Nothing listens at the server's address.
    Refused(String),
    /// No answer within the time limit.
    TimedOut(String),
    /// The server's certificate is not signed by the authority the client trusts, or names
    /// another host.
    Untrusted(String),
    /// 401: the server does not know this token or certificate.
    Unauthorized(String),
    /// 403: the server knows the caller, who lacks the right.
    Forbidden(String),
    /// 404 for an object or a resource of an API server.
    NotFound(String),
    /// 409 with reason `Conflict`: the object changed since it was read.
    Conflict(String),
    /// 409 with reason `AlreadyExists`.
    AlreadyExists(String),
    /// 410: the resource version is too old to watch from.
    Gone(String),
    /// 429 or 5xx: the server asks to come back later.
    Busy(String),
    /// 400 or 422: the server refuses the object itself; trying again unchanged is useless.
    Invalid(String),
    /// The answer is not one a Kubernetes API server gives: wrong path, or another service.
    NotAnApiServer(String),
    /// Anything else.
    Other(String),
}

impl Trouble {
    /// Finds the cause in an error of the Kubernetes client.
    pub fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(status),
            kube::Error::SerdeError(error) => Self::NotAnApiServer(error.to_string()),
            other => Self::of_chain(other),
        }
    }

    /// Finds the cause in an error of a watch.
    pub fn of_watch(error: &kube::runtime::watcher::Error) -> Self {
        use kube::runtime::watcher::Error;
        match error {
            Error::InitialListFailed(error)
            | Error::WatchStartFailed(error)
            | Error::WatchFailed(error) => Self::of(error),
            Error::WatchError(status) => Self::of_status(status),
            other => Self::of_chain(other),
        }
    }

    /// Whether the caller's identity, and not the request, is what the server refuses.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Unauthorized(_))
    }

    /// Whether the server knows the caller, and he lacks the right.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden(_))
    }

    /// Whether the object or resource does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }

    /// Whether the object changed since it was read, so that reading again and retrying at once
    /// is right.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }

    fn of_status(status: &kube::core::Status) -> Self {
        let message = status.message.clone();
        match status.code {
            401 => Self::Unauthorized(message),
            403 => Self::Forbidden(message),
            // Kubernetes always fills in a reason; a page of some other web server has none.
            404 if status.reason.is_empty() => Self::NotAnApiServer(message),
            404 => Self::NotFound(message),
            409 if status.reason == "AlreadyExists" => Self::AlreadyExists(message),
            409 => Self::Conflict(message),
            410 => Self::Gone(message),
            429 | 500..=599 => Self::Busy(message),
            400 | 422 => Self::Invalid(message),
            _ => Self::Other(message),
        }
    }

    fn of_chain(error: &(dyn StdError + 'static)) -> Self {
        let mut deepest = error.to_string();
        let mut next = Some(error);
        while let Some(error) = next {
            if error.is::<crate::client::RequestTimedOut>() {
                return Self::TimedOut(error.to_string());
            }
            if let Some(found) = Self::of_tls(error) {
                return found;
            }
            if let Some(found) = error.downcast_ref::<io::Error>().and_then(Self::of_io) {
                return found;
            }
            deepest = error.to_string();
            // The resolver's error type is private; its text is all it shows.
            if deepest.contains("dns error") || deepest.contains("lookup address information") {
                return Self::NameNotFound(innermost(error));
            }
            next = error.source();
        }
        Self::Other(deepest)
    }

    fn of_io(error: &io::Error) -> Option<Self> {
        // What an I/O error wraps is not its source; and connectors wrap one in another.
        if let Some(inner) = error.get_ref() {
            if let Some(found) = Self::of_tls(inner) {
                return Some(found);
            }
            if let Some(inner) = inner.downcast_ref::<io::Error>() {
                return Self::of_io(inner);
            }
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Some(Self::Refused(error.to_string())),
            io::ErrorKind::TimedOut => Some(Self::TimedOut(error.to_string())),
            _ => None,
        }
    }

    fn of_tls(error: &(dyn StdError + 'static)) -> Option<Self> {
        match error.downcast_ref::<rustls::Error>()? {
            rustls::Error::InvalidCertificate(error) => Some(Self::Untrusted(error.to_string())),
            rustls::Error::InvalidMessage(_) => Some(Self::NotAnApiServer(
                "the server does not speak TLS on this port".to_owned(),
            )),
            _ => None,
        }
    }
}

fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameNotFound(detail) => write!(
                formatter,
                "the server's host name cannot be resolved ({detail}); check the spelling of the URL and the DNS"
            ),
            Self::Refused(detail) => write!(
                formatter,
                "nothing answers at the server's address ({detail}); check the port, and that the server runs"
            ),
            Self::TimedOut(detail) => write!(
                formatter,
                "the server did not answer in time ({detail}); check the network path and any firewall"
            ),
            Self::Untrusted(detail) => write!(
                formatter,
                "the server's certificate is not trusted ({detail}); check the certificate authority in the kubeconfig and the host name in the URL"
            ),
            Self::Unauthorized(detail) => write!(
                formatter,
                "the server does not accept the credentials, 401 ({detail}); the token or certificate is wrong, expired or revoked"
            ),
            Self::Forbidden(detail) => {
                write!(formatter, "the server refuses the right, 403 ({detail})")
            }
            Self::NotFound(detail) => write!(formatter, "not found, 404 ({detail})"),
            Self::Conflict(detail) => write!(
                formatter,
                "changed by someone else meanwhile, 409 ({detail})"
            ),
            Self::AlreadyExists(detail) => write!(formatter, "exists already, 409 ({detail})"),
            Self::Gone(detail) => write!(formatter, "too old to continue from, 410 ({detail})"),
            Self::Busy(detail) => write!(formatter, "the server cannot serve this now ({detail})"),
            Self::Invalid(detail) => write!(formatter, "the server refuses the object ({detail})"),
            Self::NotAnApiServer(detail) => write!(
                formatter,
                "no Kubernetes API answers at this URL ({detail}); check the path and port"
            ),
            Self::Other(detail) => formatter.write_str(detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn status(code: u16, reason: &str) -> kube::Error {
        kube::Error::Api(Status::failure("why", reason).with_code(code).boxed())
    }

    #[test]
    fn statuses_are_told_apart() {
        let of = |code, reason| Trouble::of(&status(code, reason));
        assert!(of(401, "Unauthorized").is_unauthorized());
        assert_eq!(of(403, "Forbidden"), Trouble::Forbidden("why".into()));
        assert!(of(404, "NotFound").is_not_found());
        assert_eq!(of(404, ""), Trouble::NotAnApiServer("why".into()));
        assert!(of(409, "Conflict").is_conflict());
        assert_eq!(
            of(409, "AlreadyExists"),
            Trouble::AlreadyExists("why".into())
        );
        assert_eq!(of(503, "ServiceUnavailable"), Trouble::Busy("why".into()));
        assert_eq!(of(422, "Invalid"), Trouble::Invalid("why".into()));
    }

    #[test]
    fn connection_failures_are_found_through_their_wrapping() {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "refused");
        let error = kube::Error::Service(Box::new(refused));
        assert!(matches!(Trouble::of(&error), Trouble::Refused(_)));

        let untrusted = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped_twice = io::Error::other(io::Error::other(untrusted));
        let error = kube::Error::Service(Box::new(wrapped_twice));
        assert!(matches!(Trouble::of(&error), Trouble::Untrusted(_)));
        assert!(
            Trouble::of(&error)
                .to_string()
                .contains("certificate authority")
        );
    }
}
