//! The commands' side of the admin socket.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::Request;
use http::StatusCode;
use http::header::HOST;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::Limited;
use hyades_pki::Kubeconfig;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::fs::FlockOperation;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::BODY_BYTES_MAX;
use super::Failure;
use super::HostStatus;
use super::NewSpace;
use super::SpaceStatus;
use crate::HostError;
use crate::folder;

/// How long a host may take to accept a command; it accepts at once unless it hangs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may take: deleting a space waits for its pods, which get ten seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a host may take to end: pods, spaces and connections each in turn have their time.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);
/// How often the data folder's lock is tried meanwhile.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Talks to the host that runs on a data folder.
#[derive(Debug, Clone)]
pub struct AdminClient {
    folder: PathBuf,
}

impl AdminClient {
    /// Finds the host that runs on a data folder.
    ///
    /// # Errors
    /// [`HostError::NoHost`] when none does, [`HostError::Admin`] when it does not answer in time.
    pub async fn connect(data_dir: &Path) -> Result<AdminClient, HostError> {
        let client = AdminClient {
            folder: data_dir.to_owned(),
        };
        client.status().await?;
        Ok(client)
    }

    /// What the host says about itself.
    ///
    /// # Errors
    /// [`HostError::NoHost`], [`HostError::Admin`].
    pub async fn status(&self) -> Result<HostStatus, HostError> {
        self.ask("tell its status", Method::GET, "/v1/status", Bytes::new())
            .await
    }

    /// Makes a space; see [`crate::Host::create_space`].
    ///
    /// # Errors
    /// [`HostError::NoHost`], [`HostError::Admin`] with the host's reason.
    pub async fn create_space(&self, name: &str) -> Result<SpaceStatus, HostError> {
        let name = name.to_owned();
        let body = serde_json::to_vec(&NewSpace { name }).expect("a string is always JSON");
        self.ask("create the space", Method::POST, "/v1/spaces", body.into())
            .await
    }

    /// Deletes a space; see [`crate::Host::delete_space`].
    ///
    /// # Errors
    /// [`HostError::SpaceName`], [`HostError::NoHost`], [`HostError::Admin`] with the host's
    /// reason.
    pub async fn delete_space(&self, name: &str) -> Result<(), HostError> {
        let name: crate::SpaceName = name.parse()?;
        let path = format!("/v1/spaces/{name}");
        let answer: serde_json::Value = self
            .ask("delete the space", Method::DELETE, &path, Bytes::new())
            .await?;
        drop(answer);
        Ok(())
    }

    /// A kubeconfig for a space; see [`crate::Host::kubeconfig`].
    ///
    /// # Errors
    /// [`HostError::SpaceName`], [`HostError::NoHost`], [`HostError::Admin`] with the host's
    /// reason.
    pub async fn kubeconfig(&self, name: &str) -> Result<Kubeconfig, HostError> {
        let name: crate::SpaceName = name.parse()?;
        let path = format!("/v1/spaces/{name}/kubeconfig");
        self.ask("give the kubeconfig", Method::GET, &path, Bytes::new())
            .await
    }

    /// Stops the host and waits until it has ended.
    ///
    /// # Errors
    /// [`HostError::NoHost`], [`HostError::Admin`] when it does not end in time.
    pub async fn stop(&self) -> Result<(), HostError> {
        let answer: serde_json::Value = self
            .ask("stop", Method::POST, "/v1/stop", Bytes::new())
            .await?;
        drop(answer);
        let path = self.folder.join("lock");
        let lock = File::open(&path).map_err(HostError::file("open", &path))?;
        let released = async {
            while rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared).is_err() {
                tokio::time::sleep(STOP_CHECK_INTERVAL).await;
            }
        };
        let released = tokio::time::timeout(STOP_TIMEOUT, released).await;
        released.map_err(|_| HostError::Admin {
            action: "stop",
            reason: format!("it still holds its data folder after {STOP_TIMEOUT:?}; see its log"),
        })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        action: &'static str,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, HostError> {
        let failed = |reason: String| HostError::Admin { action, reason };
        let stream = self.open(action).await?;
        let exchange = exchange(stream, method, path, body);
        let (status, body) = tokio::time::timeout(REQUEST_TIMEOUT, exchange)
            .await
            .map_err(|_| failed(format!("no answer within {REQUEST_TIMEOUT:?}; see its log")))?
            .map_err(|error| failed(format!("the connection broke: {error}")))?;
        if !status.is_success() {
            let failure = serde_json::from_slice::<Failure>(&body);
            let reason = failure.map_or_else(|_| status.to_string(), |failure| failure.error);
            return Err(failed(reason));
        }
        serde_json::from_slice(&body)
            .map_err(|error| failed(format!("its answer cannot be read: {error}")))
    }

    async fn open(&self, action: &'static str) -> Result<UnixStream, HostError> {
        let path = folder::socket(&self.folder);
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, UnixStream::connect(&path)).await;
        match connected {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => {
                    Err(HostError::NoHost {
                        folder: self.folder.clone(),
                    })
                }
                _ => Err(HostError::file("connect to", &path)(error)),
            },
            Err(_) => Err(HostError::Admin {
                action,
                reason: format!("it does not accept within {CONNECT_TIMEOUT:?}; see its log"),
            }),
        }
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One request and its answer.
async fn exchange(
    stream: UnixStream,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(StatusCode, Bytes), BoxError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "host")
        .body(Full::new(body))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX);
    let body = body.collect().await?.to_bytes();
    connection.abort();
    Ok((status, body))
}
