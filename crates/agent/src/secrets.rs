//! The agent's two Secrets, read through the API and followed as they change. No files: a pod has
//! nothing to mount, and a change is seen at once.

use hyades_runtime::Cache;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::runtime::watcher;
use tokio::sync::watch;

/// One Secret, as last seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Seen {
    /// Nobody knows yet.
    #[default]
    Unread,
    /// It does not exist.
    Absent,
    /// It exists.
    Present(Box<Secret>),
}

impl Seen {
    /// The Secret, if it is known to exist.
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Present(secret) => Some(secret),
            Self::Unread | Self::Absent => None,
        }
    }

    fn data_equals(&self, secret: &Secret) -> bool {
        self.secret().is_some_and(|known| known.data == secret.data)
    }
}

/// One Secret, followed. Dropping it ends the watch.
#[derive(Debug)]
pub struct WatchedSecret {
    /// The Secret's name.
    pub name: String,
    seen: watch::Receiver<Seen>,
    _cache: Cache<Secret>,
}

impl WatchedSecret {
    /// Follows the Secret `name` in `namespace`. Changes of anything but its data are not told.
    pub fn start(client: Client, namespace: &str, name: &str) -> Self {
        let (sender, seen) = watch::channel(Seen::Unread);
        let api: Api<Secret> = Api::namespaced(client, namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let cache = controller::watch(api, config, move |change: Change<'_, Secret>| {
            sender.send_if_modified(|seen| match change {
                Change::Applied(secret) if seen.data_equals(secret) => false,
                Change::Applied(secret) => {
                    *seen = Seen::Present(Box::new(secret.clone()));
                    true
                }
                Change::Deleted(_) => {
                    *seen = Seen::Absent;
                    true
                }
                // The list is complete, and the Secret was not in it.
                Change::Synced if *seen == Seen::Unread => {
                    *seen = Seen::Absent;
                    true
                }
                Change::Synced => false,
            });
        });
        Self {
            name: name.to_owned(),
            seen,
            _cache: cache,
        }
    }

    /// The Secret as last seen; marks it as known for [`WatchedSecret::changed`].
    pub fn current(&mut self) -> Seen {
        self.seen.borrow_and_update().clone()
    }

    /// Waits for a change since [`WatchedSecret::current`]. Waits for ever when the watch ended.
    pub async fn changed(&mut self) {
        if self.seen.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the Secret was read, or found missing.
    pub async fn read(&mut self) -> Seen {
        loop {
            let seen = self.current();
            if seen != Seen::Unread {
                return seen;
            }
            self.changed().await;
        }
    }
}
