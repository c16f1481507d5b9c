//! The host: what is served, and how that changes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use hyades_pki::Authority;
use hyades_pki::Kubeconfig;
use hyades_pki::ServiceAccountKey;
use hyades_pki::Validity;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::HostError;
use crate::SpaceName;
use crate::address::Address;
use crate::admin;
use crate::admin::HostStatus;
use crate::admin::SpaceStatus;
use crate::contexts;
use crate::contexts::Wanted;
use crate::folder;
use crate::folder::Folder;
use crate::launch::Launch;
use crate::launch::Launching;
use crate::launch::Running;
use crate::launch::SpaceLauncher;
use crate::router::Router;
use crate::server;
use crate::serving;
use crate::serving::Serving;
use crate::tls;

/// Most spaces on one host: each has a thread, a file and some MiB of memory of its own.
const SPACES_MAX: usize = 256;
/// A space's client authority lasts ten years, as kubeadm's does.
const CLIENT_CA_SECONDS: i64 = 3650 * 24 * 3600;
/// How long spaces and their pods may take to stop: pods get ten seconds by themselves, the rest
/// is for writing out stores.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// How long connections may take to end after that; somewhat more than the grace each has.
const CONNECTIONS_TIMEOUT: Duration = Duration::from_secs(8);
/// Open files wanted: a connection is one, and the most there may be is half of this.
const OPEN_FILES: u64 = 65_536;

/// How a host is to run.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The data folder; created when it does not exist.
    pub data_dir: PathBuf,
    /// The address to listen on; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The URL under which WECs reach this host, such as `https://hub.example.org:9443`; the
    /// address listened on when absent.
    pub advertise: Option<String>,
    /// The Hyades binary, which pods run and the links in `bin` point at.
    pub binary: PathBuf,
    /// How pods are simulated that the host cannot run, if at all.
    pub simulation: Option<hyades_node::simulation::Simulation>,
}

/// A running host; clones share it.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    folder: Folder,
    address: Address,
    serving: Arc<Serving>,
    router: Router,
    launcher: Arc<dyn Launch>,
    spaces: Mutex<Spaces>,
    started: Timestamp,
    /// Cancelled when somebody asks, through the socket, that the host stop.
    stop_wanted: CancellationToken,
    /// Cancelled when connections are to end.
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The spaces being served; the lock is held while one is made or deleted.
#[derive(Default)]
struct Spaces {
    served: BTreeMap<SpaceName, Served>,
    is_stopping: bool,
}

struct Served {
    client_ca: Authority,
    running: Running,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Host")
            .field("data_dir", &self.inner.folder.root())
            .field("url", &self.inner.address.base_url)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Takes the data folder, listens, and serves the spaces that are in the folder. Returns when
    /// all of them answer.
    ///
    /// # Errors
    /// [`HostError`] says which step failed and why; nothing keeps running then.
    pub async fn start(options: HostOptions) -> Result<Host, HostError> {
        let launcher = Arc::new(SpaceLauncher {
            binary: options.binary.clone(),
            simulation: options.simulation,
        });
        Host::start_with(options, launcher).await
    }

    /// Starts over another way of launching spaces.
    pub(crate) async fn start_with(
        options: HostOptions,
        launcher: Arc<dyn Launch>,
    ) -> Result<Host, HostError> {
        raise_file_limit();
        let folder = Folder::open(&options.data_dir)?;
        let listener = listen(options.listen).await?;
        let local = listener.local_addr().map_err(|source| HostError::Listen {
            address: options.listen,
            source,
        })?;
        let address = Address::new(local, options.advertise.as_deref())?;
        let now = Timestamp::now();
        let names = address.names.clone();
        let serving = Arc::new(Serving::load(&folder.path("host"), names, now)?);
        let tls = tls::server_config(serving.clone())?;
        folder.link_commands(&options.binary)?;
        let admin_listener = admin::bind(&folder)?;
        let host = Host {
            inner: Arc::new(Inner {
                folder,
                address,
                serving,
                router: Router::default(),
                launcher,
                spaces: Mutex::default(),
                started: now,
                stop_wanted: CancellationToken::new(),
                stop: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        };
        if let Err(error) = host.start_spaces().await {
            host.shutdown().await;
            return Err(error);
        }
        let inner = &host.inner;
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let (router, stop) = (inner.router.clone(), inner.stop.clone());
        inner
            .tasks
            .spawn(server::serve(listener, acceptor, router, stop.clone()));
        inner
            .tasks
            .spawn(admin::serve(admin_listener, host.clone(), stop.clone()));
        inner.tasks.spawn(renew(inner.serving.clone(), stop));
        Ok(host)
    }

    /// Serves every space of the data folder.
    async fn start_spaces(&self) -> Result<(), HostError> {
        let mut spaces = self.inner.spaces.lock().await;
        let names = self.inner.folder.spaces()?;
        let outcomes = join_all(names.iter().map(|name| self.launch(name))).await;
        let mut failure = None;
        for (name, outcome) in names.into_iter().zip(outcomes) {
            match outcome {
                Ok(served) => {
                    self.inner
                        .router
                        .add(name.as_str(), served.running.service.clone());
                    spaces.served.insert(name, served);
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            // Those that did start are stopped by the caller.
            Some(error) => Err(error),
            None => self.write_contexts(&spaces),
        }
    }

    /// Starts one space from its folder.
    async fn launch(&self, name: &SpaceName) -> Result<Served, HostError> {
        let folder = self.inner.folder.space(name);
        let content = |path: PathBuf| {
            move |error: hyades_pki::Error| HostError::Content {
                path,
                reason: error.to_string(),
            }
        };
        let certificate_path = folder.join(CLIENT_CA_CERTIFICATE);
        let certificate = folder::read_required(&certificate_path)?;
        let key = folder::read_required(&folder.join(CLIENT_CA_KEY))?;
        let client_ca =
            Authority::from_pem(&certificate, &key).map_err(content(certificate_path))?;
        let key_path = folder.join(SERVICE_ACCOUNT_KEY);
        let service_account_key = folder::read_required(&key_path)?;
        let service_account_key =
            ServiceAccountKey::from_pem(&service_account_key).map_err(content(key_path))?;
        let launching = Launching {
            name: name.clone(),
            folder,
            url: self.inner.address.space_url(name.as_str()),
            ca_pem: self.inner.serving.ca_pem(),
            client_ca: client_ca.clone(),
            service_account_key,
        };
        let running = self.inner.launcher.launch(launching).await?;
        Ok(Served { client_ca, running })
    }

    fn write_contexts(&self, spaces: &Spaces) -> Result<(), HostError> {
        let inner = &self.inner;
        let wanted: Vec<Wanted<'_>> = spaces
            .served
            .iter()
            .map(|(name, served)| Wanted {
                name: name.as_str(),
                url: inner.address.space_url(name.as_str()),
                client_ca: &served.client_ca,
            })
            .collect();
        let owner = inner.serving.host_id();
        let ca_pem = inner.serving.ca_pem();
        contexts::update(&inner.folder, &owner, &ca_pem, &wanted, Timestamp::now())
    }

    /// Makes a space, serves it, and adds its context to `DATA_DIR/kubeconfig`. Returns when it
    /// answers.
    ///
    /// # Errors
    /// [`HostError::SpaceName`], [`HostError::SpaceExists`], [`HostError::TooManySpaces`],
    /// [`HostError::Stopping`], or what failed on the way; nothing of the space is left then.
    pub async fn create_space(&self, name: &str) -> Result<SpaceStatus, HostError> {
        let name: SpaceName = name.parse()?;
        let mut spaces = self.inner.spaces.lock().await;
        if spaces.is_stopping {
            return Err(HostError::Stopping);
        }
        if spaces.served.contains_key(&name) {
            return Err(HostError::SpaceExists(name.to_string()));
        }
        if spaces.served.len() >= SPACES_MAX {
            return Err(HostError::TooManySpaces(SPACES_MAX));
        }
        self.inner.folder.create_space(&name, &new_keys(&name)?)?;
        let served = match self.launch(&name).await {
            Ok(served) => served,
            Err(error) => {
                self.remove_files(&name);
                return Err(error);
            }
        };
        self.inner
            .router
            .add(name.as_str(), served.running.service.clone());
        spaces.served.insert(name.clone(), served);
        if let Err(error) = self.write_contexts(&spaces) {
            self.end(&name, &mut spaces).await;
            self.remove_files(&name);
            return Err(error);
        }
        Ok(self.status_of(&name))
    }

    /// Stops serving a space and deletes all it holds, its context included.
    ///
    /// # Errors
    /// [`HostError::NoSpace`], [`HostError::Stopping`], [`HostError::File`].
    pub async fn delete_space(&self, name: &str) -> Result<(), HostError> {
        let name: SpaceName = name.parse()?;
        let mut spaces = self.inner.spaces.lock().await;
        if spaces.is_stopping {
            return Err(HostError::Stopping);
        }
        if !spaces.served.contains_key(&name) {
            return Err(HostError::NoSpace(name.to_string()));
        }
        self.end(&name, &mut spaces).await;
        self.inner.folder.remove_space(&name)?;
        self.write_contexts(&spaces)
    }

    /// Stops serving a space.
    async fn end(&self, name: &SpaceName, spaces: &mut Spaces) {
        self.inner.router.remove(name.as_str());
        if let Some(served) = spaces.served.remove(name) {
            served.running.stop().await;
        }
    }

    /// Removes the files of a space that could not be made.
    fn remove_files(&self, name: &SpaceName) {
        if let Err(error) = self.inner.folder.remove_space(name) {
            tracing::warn!(%error, %name, "the files of a space that failed to start remain");
        }
    }

    /// The spaces being served, in order of name.
    pub async fn spaces(&self) -> Vec<SpaceStatus> {
        let spaces = self.inner.spaces.lock().await;
        spaces
            .served
            .keys()
            .map(|name| self.status_of(name))
            .collect()
    }

    fn status_of(&self, name: &SpaceName) -> SpaceStatus {
        SpaceStatus {
            name: name.to_string(),
            url: self.inner.address.space_url(name.as_str()),
        }
    }

    /// A kubeconfig with the one context of a space, as its administrator.
    ///
    /// # Errors
    /// [`HostError::NoSpace`], [`HostError::Content`].
    pub async fn kubeconfig(&self, name: &str) -> Result<Kubeconfig, HostError> {
        let name: SpaceName = name.parse()?;
        let spaces = self.inner.spaces.lock().await;
        if !spaces.served.contains_key(&name) {
            return Err(HostError::NoSpace(name.to_string()));
        }
        contexts::one(&self.inner.folder, name.as_str())
    }

    /// The host's base URL, `https://HOST:PORT`.
    pub fn url(&self) -> &str {
        &self.inner.address.base_url
    }

    /// The certificate by which the host is trusted, as PEM.
    pub fn ca_pem(&self) -> String {
        self.inner.serving.ca_pem()
    }

    /// A name for this host that lasts as long as its data folder; the mark it leaves on
    /// kubeconfig entries.
    pub fn id(&self) -> String {
        self.inner.serving.host_id()
    }

    /// What the host says about itself.
    pub async fn status(&self) -> HostStatus {
        HostStatus {
            pid: std::process::id(),
            url: self.inner.address.base_url.clone(),
            started: self.inner.started,
            spaces: self.spaces().await,
        }
    }

    /// Asks that the host stop; whoever runs it awaits [`Host::stop_wanted`].
    pub(crate) fn want_stop(&self) {
        self.inner.stop_wanted.cancel();
    }

    /// Resolves when somebody has asked, through the admin socket, that the host stop.
    pub async fn stop_wanted(&self) {
        self.inner.stop_wanted.cancelled().await;
    }

    /// Stops pods, spaces and connections, writes everything out, and frees the port. The data
    /// folder is free when the last clone of the host is dropped.
    pub async fn shutdown(&self) {
        let served = {
            let mut spaces = self.inner.spaces.lock().await;
            spaces.is_stopping = true;
            std::mem::take(&mut spaces.served)
        };
        let stops = join_all(served.into_values().map(|served| served.running.stop()));
        if tokio::time::timeout(STOP_TIMEOUT, stops).await.is_err() {
            tracing::warn!("spaces did not stop within {STOP_TIMEOUT:?}; going on without them");
        }
        self.inner.stop.cancel();
        self.inner.tasks.close();
        let ended = tokio::time::timeout(CONNECTIONS_TIMEOUT, self.inner.tasks.wait());
        if ended.await.is_err() {
            tracing::warn!("connections did not end within {CONNECTIONS_TIMEOUT:?}");
        }
        let socket = self.inner.folder.socket();
        if let Err(error) = folder::remove_if_there(&socket) {
            tracing::warn!(%error, "the admin socket remains");
        }
    }
}

const CLIENT_CA_CERTIFICATE: &str = "client-ca.crt";
const CLIENT_CA_KEY: &str = "client-ca.key";
const SERVICE_ACCOUNT_KEY: &str = "service-account.key";

/// The keys of a new space.
fn new_keys(name: &SpaceName) -> Result<[(&'static str, String); 3], HostError> {
    let valid = Validity::starting(Timestamp::now(), CLIENT_CA_SECONDS);
    let authority = Authority::new(&format!("{name}-client-ca"), valid)?;
    Ok([
        (CLIENT_CA_CERTIFICATE, authority.certificate_pem()),
        (CLIENT_CA_KEY, authority.key_pem()),
        (SERVICE_ACCOUNT_KEY, ServiceAccountKey::generate().to_pem()),
    ])
}

async fn listen(address: SocketAddr) -> Result<TcpListener, HostError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            std::io::ErrorKind::AddrInUse => HostError::PortTaken { address },
            _ => HostError::Listen { address, source },
        })
}

/// Renews the serving certificate when it is time.
async fn renew(serving: Arc<Serving>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(serving::RENEW_CHECK_INTERVAL) => {}
        }
        match serving.renew(Timestamp::now()) {
            Ok(true) => tracing::info!("renewed the serving certificate"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "cannot renew the serving certificate"),
        }
    }
}

/// Lets the process open as many files as connections need, as far as it may.
fn raise_file_limit() {
    use rustix::process::Resource;
    use rustix::process::getrlimit;
    use rustix::process::setrlimit;
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit
        .maximum
        .map_or(OPEN_FILES, |most| most.min(OPEN_FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "cannot raise the limit of open files");
        }
    }
}

#[cfg(test)]
mod tests;
