//! The space's own access to itself: the same pipeline, without bytes in between.

use std::sync::Arc;

use hyades_store::Revision;
use hyades_store::Store;
use serde_json::Value;

use crate::core::Actor;
use crate::core::Core;
use crate::core::Place;
use crate::core::store_failed;
use crate::delete;
use crate::delete::DeleteOptions;
use crate::guard::Operation;
use crate::identity::Attributes;
use crate::identity::UserInfo;
use crate::list;
use crate::names;
use crate::names::Gvr;
use crate::object;
use crate::patch;
use crate::query::WriteOptions;
use crate::read;
use crate::registry::Registry;
use crate::registry::Resource;
use crate::status::Status;
use crate::write;

/// In-process access to a space as one user, judged and validated as any other request.
#[derive(Clone)]
pub struct Loopback {
    core: Arc<Core>,
    user: UserInfo,
}

/// One change of an object.
#[derive(Debug, Clone)]
pub struct ObjectEvent {
    /// What happened.
    pub operation: Operation,
    /// The object: new, changed, or as it was last.
    pub object: Value,
    /// The object before the change; `None` when it is new.
    pub previous: Option<Value>,
    /// The revision of the change.
    pub revision: Revision,
}

/// A watch with decoded objects.
pub struct ObjectWatch {
    watch: hyades_store::Watch,
}

impl ObjectWatch {
    /// The next change, in revision order.
    ///
    /// # Errors
    /// 410 when this watcher was too slow: list again and watch from there. 503 when the space
    /// stops.
    pub async fn next(&mut self) -> Result<ObjectEvent, Status> {
        let event = self.watch.next().await.map_err(store_failed)?;
        let previous = event
            .previous
            .as_ref()
            .map(|entry| object::decode(&entry.value));
        let (operation, object) = match (&event.value, &previous) {
            (Some(entry), None) => (Operation::Create, object::decode(&entry.value)),
            (Some(entry), Some(_)) => (Operation::Update, object::decode(&entry.value)),
            (None, _) => (Operation::Delete, tombstone(&event)),
        };
        Ok(ObjectEvent {
            operation,
            object,
            previous,
            revision: event.revision,
        })
    }
}

/// The object that a deletion shows.
fn tombstone(event: &hyades_store::Event) -> Value {
    match (&event.tombstone, &event.previous) {
        (Some(bytes), _) => object::decode(bytes),
        (None, Some(entry)) => object::decode(&entry.value),
        (None, None) => Value::Null,
    }
}

impl Loopback {
    pub(crate) fn new(core: Arc<Core>, user: UserInfo) -> Loopback {
        Loopback { core, user }
    }

    /// The same access as another user.
    #[must_use]
    pub fn as_user(&self, user: UserInfo) -> Loopback {
        Loopback::new(Arc::clone(&self.core), user)
    }

    /// The store, for hooks and revisions; writing goes through the pipeline only.
    pub fn store(&self) -> &Store {
        &self.core.store
    }

    /// What the space serves.
    pub fn registry(&self) -> &Registry {
        &self.core.registry
    }

    /// Reads an object.
    ///
    /// # Errors
    /// 404, 403.
    pub fn get(&self, gvr: &Gvr, namespace: Option<&str>, name: &str) -> Result<Value, Status> {
        let place = self.place(gvr, namespace, name, "", "get")?;
        read::object(&self.core, &place)
    }

    /// Lists the objects of one namespace or of all, and the revision at which the list is true.
    /// `selector` is a label selector; empty selects all.
    ///
    /// # Errors
    /// 400 for a selector that does not parse, 403, 404.
    pub fn list(
        &self,
        gvr: &Gvr,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<(Vec<Value>, Revision), Status> {
        let place = self.place(gvr, namespace, "", "", "list")?;
        list::objects(&self.core, &place, selector)
    }

    /// Creates an object.
    ///
    /// # Errors
    /// As any create: 403, 404, 409, 422.
    pub async fn create(
        &self,
        gvr: &Gvr,
        namespace: Option<&str>,
        object: Value,
    ) -> Result<Value, Status> {
        let name = object::name(&object).to_owned();
        let place = self.place(gvr, namespace, "", "", "create")?;
        let place = Place { name, ..place };
        let written = write::create(&self.core, &self.actor(), &place, object).await?;
        Ok(written.value())
    }

    /// Replaces an object. With a resourceVersion in it, only if that is the present one.
    ///
    /// # Errors
    /// As any update: 403, 404, 409, 422.
    pub async fn update(
        &self,
        gvr: &Gvr,
        namespace: Option<&str>,
        object: Value,
    ) -> Result<Value, Status> {
        self.replace(gvr, namespace, "", object).await
    }

    /// Replaces an object's status.
    ///
    /// # Errors
    /// As any update: 403, 404, 409, 422.
    pub async fn update_status(
        &self,
        gvr: &Gvr,
        namespace: Option<&str>,
        object: Value,
    ) -> Result<Value, Status> {
        self.replace(gvr, namespace, "status", object).await
    }

    /// Replaces an object through a subresource (`status`, `approval`, `finalize`; none when
    /// empty).
    ///
    /// # Errors
    /// As any update: 403, 404, 409, 422.
    pub async fn replace(
        &self,
        gvr: &Gvr,
        namespace: Option<&str>,
        subresource: &str,
        object: Value,
    ) -> Result<Value, Status> {
        let name = object::name(&object).to_owned();
        let place = self.place(gvr, namespace, &name, subresource, "update")?;
        let written = write::replace(&self.core, &self.actor(), &place, object).await?;
        Ok(written.value())
    }

    /// Applies a JSON merge patch, through a subresource when one is named.
    ///
    /// # Errors
    /// As any patch: 403, 404, 409, 422.
    pub async fn merge_patch(
        &self,
        gvr: &Gvr,
        namespace: Option<&str>,
        name: &str,
        subresource: &str,
        patch: Value,
    ) -> Result<Value, Status> {
        let place = self.place(gvr, namespace, name, subresource, "patch")?;
        let patch = patch::Patch::Merge(patch);
        let written = patch::patch(&self.core, &self.actor(), &place, patch).await?;
        Ok(written.value())
    }

    /// Deletes an object. `Ok(None)` means it is gone; otherwise it stays, marked as being deleted.
    ///
    /// # Errors
    /// 403, 404, 409 when a precondition does not hold.
    pub async fn delete(
        &self,
        gvr: &Gvr,
        namespace: Option<&str>,
        name: &str,
        options: DeleteOptions,
    ) -> Result<Option<Value>, Status> {
        let place = self.place(gvr, namespace, name, "", "delete")?;
        match delete::delete(&self.core, &self.actor(), &place, &options).await? {
            delete::Deletion::Done { .. } => Ok(None),
            delete::Deletion::Waiting(bytes) => Ok(Some(object::decode(&bytes))),
        }
    }

    /// Watches the objects of one namespace or of all for changes after `from`, as a list told it.
    ///
    /// # Errors
    /// 410 when `from` is older than the history; 403, 404.
    pub fn watch(
        &self,
        gvr: &Gvr,
        namespace: Option<&str>,
        from: Revision,
    ) -> Result<ObjectWatch, Status> {
        let place = self.place(gvr, namespace, "", "", "watch")?;
        let prefix = names::scope_prefix(&place.resource.prefix, &place.namespace);
        let watch = self.core.store.watch(&prefix, from).map_err(store_failed)?;
        Ok(ObjectWatch { watch })
    }

    /// Resolves the resource and asks the guard.
    fn place(
        &self,
        gvr: &Gvr,
        namespace: Option<&str>,
        name: &str,
        subresource: &str,
        verb: &str,
    ) -> Result<Place, Status> {
        let resource: Arc<Resource> = self.core.resource(gvr)?;
        let namespace = namespace.filter(|_| resource.namespaced).unwrap_or("");
        let attributes = Attributes::Resource {
            verb: verb.to_owned(),
            group: gvr.group.to_string(),
            version: gvr.version.to_string(),
            resource: gvr.resource.to_string(),
            subresource: subresource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        self.core.authorize(&self.user, &attributes)?;
        Ok(Place {
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
        })
    }

    /// The space's own components share one field manager.
    fn actor(&self) -> Actor {
        let manager = "hyades".to_owned();
        Actor::new(self.user.clone(), manager, WriteOptions::default())
    }
}
