//! What all parts of the pipeline share: the store, the registry, the guard.

use std::sync::Arc;
use std::sync::Mutex;

use bytes::Bytes;
use hyades_store::Entry;
use hyades_store::Store;
use tokio_util::sync::CancellationToken;

use crate::cache::EventCache;
use crate::guard::Guard;
use crate::identity::Attributes;
use crate::identity::UserInfo;
use crate::logs::PodLogs;
use crate::names;
use crate::names::Gvr;
use crate::object;
use crate::policies::Policies;
use crate::query::WriteOptions;
use crate::quotas::Quotas;
use crate::registry::Registry;
use crate::registry::Resource;
use crate::status::Status;

/// A space's inside, shared by every request.
pub(crate) struct Core {
    /// The space's name.
    pub(crate) name: String,
    /// What is true.
    pub(crate) store: Store,
    /// What is served.
    pub(crate) registry: Arc<Registry>,
    /// Who may.
    pub(crate) guard: Arc<dyn Guard>,
    /// Admission policies in force.
    pub(crate) policies: Arc<Policies>,
    /// How much writers with few rights may pile up.
    pub(crate) quotas: Quotas,
    /// Where logs of pods come from, when a node runs them.
    pub(crate) pod_logs: Option<Arc<dyn PodLogs>>,
    /// Encoded watch events, shared by their watchers.
    pub(crate) events: EventCache,
    /// Discovery and OpenAPI documents of the present registry generation.
    pub(crate) documents: crate::documents::Documents,
    /// Cancelled when the space stops.
    pub(crate) stop: CancellationToken,
}

impl Core {
    /// Asks the guard.
    pub(crate) fn authorize(&self, user: &UserInfo, attributes: &Attributes) -> Result<(), Status> {
        self.guard.authorize(user, attributes)
    }

    /// The resource of a [`Gvr`], or 404.
    pub(crate) fn resource(&self, gvr: &Gvr) -> Result<Arc<Resource>, Status> {
        self.registry.find(gvr).ok_or_else(Status::no_such_resource)
    }

    /// The stored entry of an object, or 404.
    pub(crate) fn entry(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Entry>, Status> {
        self.store
            .get(&resource.key(namespace, name))
            .ok_or_else(|| Status::not_found(resource.qualified(), name))
    }

    /// The entry of a namespace.
    pub(crate) fn namespace(&self, name: &str) -> Option<Arc<Entry>> {
        let prefix = names::resource_prefix("", "namespaces");
        self.store.get(&names::object_key(&prefix, "", name))
    }
}

/// Who makes a write, and how.
#[derive(Debug)]
pub(crate) struct Actor {
    /// The user.
    pub(crate) user: UserInfo,
    /// The field manager that managedFields names.
    pub(crate) manager: String,
    /// The write's options.
    pub(crate) options: WriteOptions,
    /// Whether the write is a server-side apply, which keeps account of its fields by itself.
    pub(crate) applying: bool,
    /// Warnings collected on the way, for the answer's headers.
    warnings: Mutex<Vec<String>>,
}

/// How many warnings an answer carries at most: as many unknown fields as decoding reports, so that
/// headers stay far below what clients accept.
const WARNINGS_MAX: usize = 100;

impl Actor {
    /// An actor without warnings yet.
    pub(crate) fn new(user: UserInfo, manager: String, options: WriteOptions) -> Actor {
        Actor {
            user,
            manager,
            options,
            applying: false,
            warnings: Mutex::default(),
        }
    }

    /// The actor as one that applies, or not.
    pub(crate) fn applying(self, applying: bool) -> Actor {
        Actor { applying, ..self }
    }

    /// Adds a warning.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        let mut warnings = self
            .warnings
            .lock()
            .unwrap_or_else(|error| error.into_inner());
        let text = text.into();
        if warnings.len() < WARNINGS_MAX && !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// Takes the warnings collected so far.
    pub(crate) fn take_warnings(&self) -> Vec<String> {
        let mut warnings = self
            .warnings
            .lock()
            .unwrap_or_else(|error| error.into_inner());
        std::mem::take(&mut warnings)
    }
}

/// The object's place and the resource it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The resource.
    pub(crate) resource: Arc<Resource>,
    /// The namespace; empty for cluster-scoped objects and for all namespaces.
    pub(crate) namespace: String,
    /// The object's name; empty for the collection.
    pub(crate) name: String,
    /// The subresource; empty when none.
    pub(crate) subresource: String,
}

impl Place {
    /// The store key of the object.
    pub(crate) fn key(&self) -> String {
        self.resource.key(&self.namespace, &self.name)
    }

    /// The same object, without its subresource.
    pub(crate) fn whole(&self) -> Place {
        Place {
            subresource: String::new(),
            ..self.clone()
        }
    }
}

/// What a write left behind.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    /// The object as it is now, in the stored version.
    pub(crate) bytes: Bytes,
    /// Whether it came into being.
    pub(crate) created: bool,
}

impl Written {
    /// The object, decoded.
    pub(crate) fn value(&self) -> serde_json::Value {
        object::decode(&self.bytes)
    }
}

/// Translates a store failure; a conflict is the caller's to handle.
pub(crate) fn store_failed(error: hyades_store::Error) -> Status {
    match error {
        hyades_store::Error::Compacted { wanted, oldest } => {
            Status::expired(format!("too old resource version: {wanted} ({oldest})"))
        }
        hyades_store::Error::Closed => Status::unavailable("the space is shutting down"),
        other => Status::internal(&other.to_string()),
    }
}
