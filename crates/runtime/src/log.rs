//! One line per event on standard error: time, level, module, message, fields.

use jiff::Timestamp;
use std::fmt;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// RFC 3339 in UTC with microseconds.
struct Rfc3339;

impl FormatTime for Rfc3339 {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{:.6}", Timestamp::now())
    }
}

/// The filter for a klog verbosity: 0 to 3 informs, 4 and 5 debug, more traces everything.
///
/// The client's TLS only ever says, at each handshake, that a certificate was not verified, and not
/// whose. Who asked for that knows: a look at a hub that nobody trusts yet, or a kubeconfig that
/// says so.
pub fn filter_for(verbosity: u8) -> &'static str {
    match verbosity {
        0..=3 => "info,kube_client=warn,kube_client::client::tls=error,kube_runtime=warn",
        4..=5 => {
            "debug,hyper=info,h2=info,rustls=info,kube_client=info,kube_client::client::tls=error"
        }
        _ => "trace",
    }
}

/// Starts logging. `RUST_LOG` outranks `verbosity`. A second call changes nothing.
pub fn init(verbosity: u8) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter_for(verbosity)));
    // An error only says that a subscriber is set already, as tests and hosts do.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(Rfc3339)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        // They would be reported to standard error, with a panic where that fails: a pod whose
        // node was killed has nobody who reads its log, and shall still end in good order.
        .log_internal_errors(false)
        .try_init();
}
