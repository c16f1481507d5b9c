//! What can go wrong with a host; every message says what was tried, what happened, what to do.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

/// Why a host could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// Another host serves from the data folder.
    #[error(
        "data folder already in use by a running host (pid {pid}): {0}; stop it with `hyades down --data-dir {0}` or choose another with --data-dir",
        folder.display()
    )]
    FolderInUse {
        /// The data folder.
        folder: PathBuf,
        /// The process id of the other host, or `unknown`.
        pid: String,
    },
    /// A file of the data folder could not be used.
    #[error("cannot {action} {}: {source}; {advice}", path.display())]
    File {
        /// What was tried, such as `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// A file of the data folder holds something else than it should.
    #[error("{} cannot be used: {reason}; restore it from a copy, or move it away to have it made anew", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The port is taken.
    #[error("port {} on {} is taken by another program; choose another with --port", address.port(), address.ip())]
    PortTaken {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; choose an address of this machine with --listen"
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The advertised URL is not usable.
    #[error(
        "cannot advertise {url:?}: {reason}; give a URL such as https://hub.example.org:9443 with --advertise"
    )]
    Advertise {
        /// The URL given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The name is not one a space can have.
    #[error("{name:?} cannot be a space's name: {reason}")]
    SpaceName {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A space of that name exists.
    #[error(
        "space {0:?} exists already; choose another name, or delete it first with `hyades space delete {0}`"
    )]
    SpaceExists(String),
    /// No space of that name exists.
    #[error("there is no space {0:?}; `hyades space list` shows those there are")]
    NoSpace(String),
    /// The host serves as many spaces as it may.
    #[error("the host serves {0} spaces, the most it may; delete one first")]
    TooManySpaces(usize),
    /// A space could not be started.
    #[error("space {name:?} cannot be started: {reason}")]
    Space {
        /// The space.
        name: String,
        /// What went wrong.
        reason: String,
    },
    /// Keys or certificates could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] hyades_pki::Error),
    /// TLS could not be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The host is stopping.
    #[error("the host is stopping; start it again with `hyades up` or `hyades serve`")]
    Stopping,
    /// No host answers on the data folder's socket.
    #[error("no host runs on data folder {}; start one with `hyades up` or `hyades serve`, or name another folder with --data-dir", folder.display())]
    NoHost {
        /// The data folder.
        folder: PathBuf,
    },
    /// The host was asked something and did not answer well.
    #[error("the running host did not {action}: {reason}")]
    Admin {
        /// What was asked of it.
        action: &'static str,
        /// Its answer, or why there was none.
        reason: String,
    },
}

impl HostError {
    /// An I/O error on a file of the data folder, with advice by its kind.
    pub(crate) fn file(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> HostError + use<> {
        let path = path.to_owned();
        move |source| HostError::File {
            action,
            path,
            advice: advice(source.kind()),
            source,
        }
    }
}

fn advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "give this user write access to the data folder, or choose another with --data-dir"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space there, or choose another data folder with --data-dir"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "something else has this name: move it away, or choose another data folder with --data-dir"
        }
        _ => "check the data folder, or choose another with --data-dir",
    }
}
