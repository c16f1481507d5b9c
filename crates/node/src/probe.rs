//! Liveness and readiness: what a probe asks, and what its answers amount to.

use std::time::Duration;

use http_body_util::Empty;
use hyades_runtime::k8s_openapi::api::core::v1::Probe;
use hyades_runtime::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A probe with Kubernetes' defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbePlan {
    /// What is asked.
    pub ask: Ask,
    /// Wait before the first probe.
    pub initial_delay: Duration,
    /// Time between probes.
    pub period: Duration,
    /// Time a probe may take.
    pub timeout: Duration,
    /// Successes in a row that count as healthy.
    pub success_threshold: u32,
    /// Failures in a row that count as unhealthy.
    pub failure_threshold: u32,
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// GET the path over plain HTTP; 200 to 399 is success.
    Http {
        /// The declared container port.
        container_port: u16,
        /// The path.
        path: String,
    },
    /// Connect.
    Tcp {
        /// The declared container port.
        container_port: u16,
    },
    /// A probe the process node cannot do; it counts as failed and says why.
    Unsupported(String),
}

impl ProbePlan {
    /// Reads a container's probe.
    pub fn new(probe: &Probe) -> ProbePlan {
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(
                value
                    .and_then(|value| u64::try_from(value).ok())
                    .unwrap_or(default),
            )
        };
        let count = |value: Option<i32>, default: u32| {
            value
                .and_then(|value| u32::try_from(value).ok())
                .unwrap_or(default)
                .max(1)
        };
        ProbePlan {
            ask: ask(probe),
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
            timeout: seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
            success_threshold: count(probe.success_threshold, 1),
            failure_threshold: count(probe.failure_threshold, 3),
        }
    }
}

fn ask(probe: &Probe) -> Ask {
    let number = |port: &IntOrString| match port {
        IntOrString::Int(port) => u16::try_from(*port).ok(),
        IntOrString::String(_) => None,
    };
    if let Some(http) = &probe.http_get {
        let scheme = http.scheme.as_deref().unwrap_or("HTTP");
        return match number(&http.port) {
            Some(container_port) if scheme == "HTTP" => Ask::Http {
                container_port,
                path: http.path.clone().unwrap_or_else(|| "/".to_owned()),
            },
            Some(_) => Ask::Unsupported(format!("scheme {scheme} is not supported")),
            None => Ask::Unsupported("named ports are not supported".to_owned()),
        };
    }
    if let Some(tcp) = &probe.tcp_socket {
        return match number(&tcp.port) {
            Some(container_port) => Ask::Tcp { container_port },
            None => Ask::Unsupported("named ports are not supported".to_owned()),
        };
    }
    Ask::Unsupported("only httpGet and tcpSocket probes are supported".to_owned())
}

impl Ask {
    /// Asks once on the loopback port that stands for the declared one.
    ///
    /// # Errors
    /// What went wrong, in words for an event.
    pub async fn once(&self, loopback_port: u16, timeout: Duration) -> Result<(), String> {
        let asked = async {
            match self {
                Ask::Http { path, .. } => get(loopback_port, path).await,
                Ask::Tcp { .. } => TcpStream::connect(("127.0.0.1", loopback_port))
                    .await
                    .map(drop)
                    .map_err(|error| error.to_string()),
                Ask::Unsupported(why) => Err(why.clone()),
            }
        };
        tokio::time::timeout(timeout, asked)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", timeout.as_secs())))
    }
}

async fn get(port: u16, path: &str) -> Result<(), String> {
    let stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let request = hyper::Request::get(path)
        .header("host", format!("127.0.0.1:{port}"))
        .header("user-agent", "hyades-node-probe")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string());
    driver.abort();
    let status = answer?.status();
    match status.as_u16() {
        200..400 => Ok(()),
        code => Err(format!("HTTP probe failed with statuscode: {code}")),
    }
}

/// Counts answers in a row and says when the verdict changes.
#[derive(Debug)]
pub struct Verdict {
    healthy: bool,
    streak: u32,
}

impl Verdict {
    /// A verdict before any answer.
    pub fn new(healthy: bool) -> Verdict {
        Verdict { healthy, streak: 0 }
    }

    /// Takes an answer into account; returns the new verdict if it changed.
    pub fn answer(&mut self, plan: &ProbePlan, success: bool) -> Option<bool> {
        if success == self.healthy {
            self.streak = 0;
            return None;
        }
        self.streak += 1;
        let threshold = if success {
            plan.success_threshold
        } else {
            plan.failure_threshold
        };
        if self.streak < threshold {
            return None;
        }
        self.streak = 0;
        self.healthy = success;
        Some(success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;

    fn plan(probe: serde_json::Value) -> ProbePlan {
        ProbePlan::new(&serde_json::from_value(probe).expect("a probe"))
    }

    #[test]
    fn the_defaults_are_those_of_kubernetes() {
        let plan = plan(json!({"httpGet": {"port": 8000, "path": "/healthz"}}));
        assert_eq!(
            (
                plan.period.as_secs(),
                plan.timeout.as_secs(),
                plan.failure_threshold
            ),
            (10, 1, 3)
        );
        assert_eq!(
            plan.ask,
            Ask::Http {
                container_port: 8000,
                path: "/healthz".to_owned()
            }
        );
    }

    #[test]
    fn the_verdict_turns_only_after_enough_failures_in_a_row() {
        let plan = plan(json!({"tcpSocket": {"port": 1}}));
        let mut verdict = Verdict::new(true);
        let answers = [false, false, true, false, false, false, true];
        let turns: Vec<_> = answers
            .iter()
            .filter_map(|answer| verdict.answer(&plan, *answer))
            .collect();
        assert_eq!(turns, [false, true]);
    }

    #[tokio::test]
    async fn an_http_probe_tells_good_answers_from_bad_ones() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = tokio::spawn(async move {
            for status in ["200 OK", "500 Internal Server Error"] {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await.expect("a request");
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                stream
                    .write_all(answer.as_bytes())
                    .await
                    .expect("an answer");
            }
        });
        let ask = Ask::Http {
            container_port: 8000,
            path: "/healthz".to_owned(),
        };
        assert_eq!(ask.once(port, Duration::from_secs(5)).await, Ok(()));
        let failure = ask
            .once(port, Duration::from_secs(5))
            .await
            .expect_err("a failure");
        assert!(failure.contains("500"), "{failure}");
        server.await.expect("served");
        assert!(
            ask.once(port, Duration::from_secs(5)).await.is_err(),
            "nobody listens any more"
        );
    }
}
