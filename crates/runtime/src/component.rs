//! The frame every component runs in: logs, signals, a client for its own cluster, health pages.

use crate::client;
use crate::health::Health;
use crate::log;
use crate::shutdown;
use kube::Client;
use std::error::Error as StdError;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Time for a component to end after the first signal. Kubernetes kills after 30 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What a component finds around it.
#[derive(Clone)]
pub struct Context {
    /// Client for the cluster the component's pod runs in.
    pub client: Client,
    /// URL of that cluster's API server.
    pub server: String,
    /// PEM of the authority that cluster's API server is trusted by, if the client has one.
    pub certificate_authority: Option<String>,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name; the component's name outside a pod.
    pub pod_name: String,
    /// Cancelled when the process shall end.
    pub shutdown: CancellationToken,
    /// The process's health pages.
    pub health: Health,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Context")
            .field("namespace", &self.namespace)
            .field("pod_name", &self.pod_name)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// A context around a given client, with its own shutdown and health: for tests and for
    /// components run inside another process.
    pub fn new(client: Client, namespace: &str, pod_name: &str) -> Self {
        Self {
            client,
            server: String::new(),
            certificate_authority: None,
            namespace: namespace.to_owned(),
            pod_name: pod_name.to_owned(),
            shutdown: CancellationToken::new(),
            health: Health::new(),
        }
    }

    async fn of_process(
        name: &str,
        shutdown: CancellationToken,
    ) -> Result<Self, Box<dyn StdError>> {
        let config = client::local_config().await?;
        let variable = |key| {
            std::env::var(key)
                .ok()
                .filter(|value: &String| !value.is_empty())
        };
        Ok(Self {
            server: config
                .cluster_url
                .to_string()
                .trim_end_matches('/')
                .to_owned(),
            certificate_authority: authority_of(&config),
            namespace: variable("POD_NAMESPACE")
                .unwrap_or_else(|| config.default_namespace.clone()),
            pod_name: variable("POD_NAME")
                .or_else(|| variable("HOSTNAME"))
                .unwrap_or_else(|| name.to_owned()),
            client: client::connect(config, &user_agent(name))?,
            shutdown,
            health: Health::new(),
        })
    }
}

/// The `User-Agent` of a component: `hyades-NAME/VERSION`.
pub fn user_agent(name: &str) -> String {
    format!("hyades-{name}/v{}", env!("CARGO_PKG_VERSION"))
}

fn authority_of(config: &kube::Config) -> Option<String> {
    use std::fmt::Write;
    if let Some(path) = &config.root_cert_file {
        return std::fs::read_to_string(path).ok();
    }
    let mut pem = String::new();
    for der in config.root_cert.as_ref()? {
        let encoded = k8s_openapi::ByteString(der.clone());
        let base64 = serde_json::to_value(&encoded).ok()?;
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in base64.as_str()?.as_bytes().chunks(64) {
            let _ = writeln!(pem, "{}", String::from_utf8_lossy(line));
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    (!pem.is_empty()).then_some(pem)
}

/// Runs a component to its end on a current-thread runtime and turns the result into an exit
/// code. `verbosity` is klog's `-v`.
///
/// The component's future is dropped when it has not ended [`STOP_TIMEOUT`] after a signal.
pub fn run<F, R, E>(name: &'static str, verbosity: u8, main: F) -> ExitCode
where
    F: FnOnce(Context) -> R,
    R: Future<Output = Result<(), E>>,
    E: Into<Box<dyn StdError>>,
{
    log::init(verbosity);
    client::install_crypto();
    if !shutdown::follow_node() {
        tracing::error!("{name}: the node that started this process is gone: ending");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("{name}: started the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(supervise(name, main)) {
        Ok(()) => {
            tracing::info!("{name} ended");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn supervise<F, R, E>(name: &'static str, main: F) -> Result<(), Box<dyn StdError>>
where
    F: FnOnce(Context) -> R,
    R: Future<Output = Result<(), E>>,
    E: Into<Box<dyn StdError>>,
{
    let shutdown = shutdown::on_signal()?;
    let context = Context::of_process(name, shutdown.clone()).await?;
    let address = Health::address();
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("listened on {address} for health probes: {error}"))?;
    tokio::spawn(context.health.clone().serve(listener, shutdown.clone()));
    tracing::info!(server = %context.server, namespace = %context.namespace, "{name} v{} starts", env!("CARGO_PKG_VERSION"));
    let stopped_late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(STOP_TIMEOUT).await;
    };
    tokio::select! {
        result = main(context) => result.map_err(Into::into),
        () = stopped_late => Err(format!("did not end within {} s of the signal", STOP_TIMEOUT.as_secs()).into()),
    }
}
