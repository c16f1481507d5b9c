//! A space's life: from its store to a service, and to its end.

use std::sync::Arc;

use hyades_store::Store;
use tokio_util::sync::CancellationToken;

use crate::cache::EventCache;
use crate::core::Core;
use crate::custom;
use crate::documents::Documents;
use crate::guard::Guard;
use crate::identity::UserInfo;
use crate::logs::PodLogs;
use crate::loopback::Loopback;
use crate::names;
use crate::policies::Policies;
use crate::quotas::Quotas;
use crate::registry::Registry;
use crate::server::SpaceService;

/// A running space; clones share it.
#[derive(Clone)]
pub struct Space {
    core: Arc<Core>,
}

impl Space {
    /// A space over a store that this guard judges, without the objects and controllers that
    /// [`Space::start`] adds.
    pub fn bare(
        name: &str,
        store: Store,
        guard: Arc<dyn Guard>,
        pod_logs: Option<Arc<dyn PodLogs>>,
    ) -> Space {
        let registry = Arc::new(Registry::default());
        let followed = Arc::clone(&registry);
        let prefix = names::resource_prefix("apiextensions.k8s.io", "customresourcedefinitions");
        let follow = move |event: &hyades_store::Event| custom::follow(&followed, event);
        store.hook(&prefix, Box::new(follow));
        let policies = Policies::following(&store);
        let quotas = Quotas::following(&store);
        Space {
            core: Arc::new(Core {
                name: name.to_owned(),
                store,
                registry,
                guard,
                policies,
                quotas,
                pod_logs,
                events: EventCache::default(),
                documents: Documents::default(),
                stop: CancellationToken::new(),
            }),
        }
    }

    /// The space's name.
    pub fn name(&self) -> &str {
        &self.core.name
    }

    /// The service for requests from outside, which carry credentials: a client certificate in the
    /// extension [`crate::PeerCertificate`], or a bearer token.
    pub fn service(&self) -> SpaceService {
        SpaceService::new(Arc::clone(&self.core), None)
    }

    /// The service in process, acting as one user.
    pub fn service_as(&self, user: UserInfo) -> SpaceService {
        SpaceService::new(Arc::clone(&self.core), Some(user))
    }

    /// The space's own access to itself.
    pub fn loopback(&self) -> Loopback {
        Loopback::new(Arc::clone(&self.core), UserInfo::apiserver())
    }

    /// Cancelled when the space stops.
    pub fn stopping(&self) -> CancellationToken {
        self.core.stop.clone()
    }

    /// Ends all watches and background tasks and closes the store.
    pub async fn stop(&self) {
        self.core.stop.cancel();
        self.core.store.close().await;
    }
}
