//! The seam to the node: where logs of pods come from.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::status::Status;

/// What part of a log is wanted, as `PodLogOptions` words it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// The container; empty when the pod has one only.
    pub container: String,
    /// Keep the stream open and send what is written from now on.
    pub follow: bool,
    /// The log of the container's run before the present one.
    pub previous: bool,
    /// Only lines written within this many seconds.
    pub since_seconds: Option<i64>,
    /// Prefix each line with its time.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail_lines: Option<i64>,
    /// At most this many bytes.
    pub limit_bytes: Option<i64>,
}

/// Serves the logs of the pods that run here.
pub trait PodLogs: Send + Sync + 'static {
    /// The log of a pod's container, in pieces. The stream ends when the log does, or, following,
    /// when the container ends.
    ///
    /// # Errors
    /// 400 or 404 when there is no such container or log.
    fn read(
        &self,
        namespace: &str,
        pod: &str,
        options: &LogOptions,
    ) -> BoxFuture<'static, Result<BoxStream<'static, Bytes>, Status>>;
}
