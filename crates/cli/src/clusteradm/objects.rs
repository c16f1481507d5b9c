//! Objects of a hub or a cluster, read and written whole: nothing that others put into them is lost.
//!
//! In a dry run the server is asked to check each write and to keep none.

use super::kinds::ADDON;
use super::kinds::DEFINITION;
use super::kinds::Kind;
use super::kinds::MANIFEST_WORK;
use super::session::Session;
use crate::wait;
use crate::wait::Look;
use anyhow::Context;
use anyhow::anyhow;
use anyhow::bail;
use hyades_runtime::Trouble;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::DynamicObject;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use serde_json::Value;
use serde_json::json;
use std::time::Duration;

/// Objects asked for in one page of a list: what kubectl asks for.
const PAGE_OBJECTS: u32 = 500;
/// Attempts to change an object that others change at the same time.
const ATTEMPTS_MAX: u32 = 5;
/// Pause between two such attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// The objects of one kind, in one namespace or in all.
pub struct Objects<'a> {
    session: &'a Session,
    kind: Kind,
    namespace: Option<&'a str>,
    api: Api<DynamicObject>,
}

/// The objects of a kind without namespaces, or those of all namespaces.
pub fn all(session: &Session, kind: Kind) -> Objects<'_> {
    Objects {
        session,
        kind,
        namespace: None,
        api: Api::all_with(session.target.client.clone(), &kind.resource()),
    }
}

/// The objects of a kind in a namespace.
pub fn within<'a>(session: &'a Session, kind: Kind, namespace: &'a str) -> Objects<'a> {
    Objects {
        session,
        kind,
        namespace: Some(namespace),
        api: Api::namespaced_with(session.target.client.clone(), namespace, &kind.resource()),
    }
}

/// Whether the server knows a kind.
///
/// # Errors
///
/// The server cannot be asked, or refuses.
pub async fn is_defined(session: &Session, kind: Kind) -> anyhow::Result<bool> {
    let definition = all(session, DEFINITION).get(&kind.full_plural()).await?;
    Ok(definition.is_some())
}

/// The objects of a kind without namespaces; none where the server does not know it.
///
/// # Errors
///
/// The server cannot be asked, or refuses.
pub async fn list_if_defined(session: &Session, kind: Kind) -> anyhow::Result<Vec<Value>> {
    match is_defined(session, kind).await? {
        true => all(session, kind).list(None).await,
        false => Ok(Vec::new()),
    }
}

/// Says so if there is no object of this name: an empty answer about it would hide a slip of the pen.
/// Who may not look at it is taken at their word.
///
/// # Errors
///
/// There is none, in the API server's words with `advice` on a line of its own.
pub async fn refuse_if_missing(
    session: &Session,
    kind: Kind,
    name: &str,
    advice: &str,
) -> anyhow::Result<()> {
    match all(session, kind).get(name).await {
        Ok(None) => bail!("{}\n{advice}", kind.not_found(name)),
        Ok(Some(_)) | Err(_) => Ok(()),
    }
}

/// What came of writing an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is new.
    Created,
    /// It was there, and has what was wanted now.
    Changed,
    /// It was there, and was left as it is.
    Kept,
}

impl Objects<'_> {
    /// `KIND NAMESPACE/NAME`, for messages.
    fn call(&self, name: &str) -> String {
        match self.namespace {
            Some(namespace) => format!("{} {namespace}/{name}", self.kind.name()),
            None => format!("{} {name}", self.kind.name()),
        }
    }

    /// List items come without their type; everybody else's have it.
    fn complete(&self, object: DynamicObject) -> Value {
        let mut value = serde_json::to_value(object).unwrap_or_default();
        value["apiVersion"] = json!(self.kind.api_version());
        value["kind"] = json!(self.kind.name());
        value
    }

    /// The object of this name, if there is one. Of a kind that the server does not know there is
    /// none.
    ///
    /// # Errors
    ///
    /// The server cannot be asked, or refuses.
    pub async fn get(&self, name: &str) -> anyhow::Result<Option<Value>> {
        match self.api.get_opt(name).await {
            Ok(found) => Ok(found.map(|found| self.complete(found))),
            Err(error) if Trouble::of(&error).is_not_found() => Ok(None),
            Err(error) => {
                let tried = format!("read the {}", self.call(name));
                Err(self.session.target.explain(&tried, &error))
            }
        }
    }

    /// The object of this name.
    ///
    /// # Errors
    ///
    /// As for [`Objects::get`]; and when there is none, in the API server's words with `advice` on
    /// a line of its own.
    pub async fn demand(&self, name: &str, advice: &str) -> anyhow::Result<Value> {
        match self.get(name).await? {
            Some(found) => Ok(found),
            None => bail!("{}\n{advice}", self.kind.not_found(name)),
        }
    }

    /// All objects, or those that a label selector chooses, in the server's order.
    ///
    /// # Errors
    ///
    /// The server cannot be asked, or refuses.
    pub async fn list(&self, selector: Option<&str>) -> anyhow::Result<Vec<Value>> {
        let mut parameters = ListParams::default().limit(PAGE_OBJECTS);
        parameters.label_selector = selector.map(str::to_owned);
        let mut items = Vec::new();
        loop {
            let page = self.api.list(&parameters).await.map_err(|error| {
                let tried = format!("list {}", self.kind.full_plural());
                self.session.target.explain(&tried, &error)
            })?;
            let next = page.metadata.continue_.clone();
            items.extend(page.items.into_iter().map(|item| self.complete(item)));
            match next.filter(|next| !next.is_empty()) {
                Some(next) => parameters.continue_token = Some(next),
                None => return Ok(items),
            }
        }
    }

    /// Makes an object; whether it is new.
    ///
    /// # Errors
    ///
    /// The server cannot be asked, or refuses.
    pub async fn create(&self, object: &Value) -> anyhow::Result<bool> {
        let name = name_of(object);
        let tried = format!("create the {}", self.call(name));
        let typed = serde_json::from_value(object.clone())
            .with_context(|| format!("{tried}: it is not an object"))?;
        let parameters = PostParams {
            dry_run: self.session.dry_run,
            ..PostParams::default()
        };
        match self.api.create(&parameters, &typed).await {
            Ok(_) => {
                if self.session.dry_run {
                    self.session
                        .console
                        .text(&super::apply::yaml(std::slice::from_ref(object))?);
                }
                Ok(true)
            }
            Err(error) if matches!(Trouble::of(&error), Trouble::AlreadyExists(_)) => Ok(false),
            Err(error) => {
                let explained = self.session.target.explain(&tried, &error);
                Err(match (Trouble::of(&error), self.namespace) {
                    (Trouble::NotFound(_), Some(namespace)) => self.without(namespace, explained),
                    _ => explained,
                })
            }
        }
    }

    /// Adds what to do about a namespace that is missing.
    fn without(&self, namespace: &str, explained: anyhow::Error) -> anyhow::Error {
        match self.kind {
            MANIFEST_WORK | ADDON => anyhow!(
                "{explained}; no cluster {namespace} was accepted: list those there are with 'get clusters'"
            ),
            _ => anyhow!(
                "{explained}; make the namespace first with 'kubectl create namespace {namespace}'"
            ),
        }
    }

    /// Makes an object. One that is there is changed by `change` if it may be overwritten, and is
    /// kept else.
    ///
    /// # Errors
    ///
    /// As for [`Objects::create`] and [`Objects::change`].
    pub async fn write(
        &self,
        object: &Value,
        may_overwrite: bool,
        change: impl Fn(&mut Value),
    ) -> anyhow::Result<Written> {
        if self.create(object).await? {
            return Ok(Written::Created);
        }
        if !may_overwrite {
            return Ok(Written::Kept);
        }
        let advice = "it was deleted meanwhile; try again";
        self.change(name_of(object), advice, change).await?;
        Ok(Written::Changed)
    }

    /// Reads an object, lets `change` change it, and writes it back; again when somebody else
    /// changed it meanwhile. Nothing is written when `change` changes nothing. Gives the object as
    /// it was read at last, and whether it was changed.
    ///
    /// # Errors
    ///
    /// As for [`Objects::demand`], and a server that refuses.
    pub async fn change(
        &self,
        name: &str,
        advice: &str,
        change: impl Fn(&mut Value),
    ) -> anyhow::Result<(Value, bool)> {
        let tried = format!("change the {}", self.call(name));
        let parameters = PostParams {
            dry_run: self.session.dry_run,
            ..PostParams::default()
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            let before = self.demand(name, advice).await?;
            let mut after = before.clone();
            change(&mut after);
            if after == before {
                return Ok((before, false));
            }
            let typed: DynamicObject = serde_json::from_value(after)
                .with_context(|| format!("{tried}: it is not an object"))?;
            match self.api.replace(name, &parameters, &typed).await {
                Ok(_) => return Ok((before, true)),
                Err(error) if Trouble::of(&error).is_conflict() && attempts < ATTEMPTS_MAX => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(self.session.target.explain(&tried, &error)),
            }
        }
    }

    /// Sends a merge patch to an object.
    ///
    /// # Errors
    ///
    /// The server cannot be asked, or refuses.
    pub async fn patch(&self, name: &str, patch: &Value) -> anyhow::Result<()> {
        let parameters = PatchParams {
            dry_run: self.session.dry_run,
            ..PatchParams::default()
        };
        match self
            .api
            .patch(name, &parameters, &Patch::Merge(patch))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => {
                let tried = format!("change the {}", self.call(name));
                Err(self.session.target.explain(&tried, &error))
            }
        }
    }

    /// Deletes an object; whether there was one.
    ///
    /// # Errors
    ///
    /// The server cannot be asked, or refuses.
    pub async fn delete(&self, name: &str) -> anyhow::Result<bool> {
        let parameters = DeleteParams {
            dry_run: self.session.dry_run,
            ..DeleteParams::default()
        };
        match self.api.delete(name, &parameters).await {
            Ok(_) => Ok(true),
            Err(error) if Trouble::of(&error).is_not_found() => Ok(false),
            Err(error) => {
                let tried = format!("delete the {}", self.call(name));
                Err(self.session.target.explain(&tried, &error))
            }
        }
    }

    /// Waits until an object is gone, for no longer than `timeout`. A dry run deletes nothing, and
    /// waits for nothing.
    ///
    /// # Errors
    ///
    /// When the time is over, with the finalizers that hold the object.
    pub async fn gone(&self, name: &str, timeout: Duration) -> anyhow::Result<()> {
        if self.session.dry_run {
            return Ok(());
        }
        let what = format!("the {} to be gone", self.call(name));
        wait::until(&what, timeout, || async {
            Ok(match self.get(name).await? {
                None => Look::Done(()),
                Some(left) => Look::NotYet(format!(
                    "it is there, with the finalizers {}",
                    left["metadata"]["finalizers"]
                )),
            })
        })
        .await
    }
}

/// An object's name.
pub fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// An object's namespace.
pub fn namespace_of(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

/// The value of an object's label, empty if it has none.
pub fn label_of<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"]["labels"][key]
        .as_str()
        .unwrap_or_default()
}

/// One of the conditions below `status`.
pub fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == type_)
}

/// The status of a condition: `True`, `False` or `Unknown`; empty if there is none.
pub fn condition_status<'a>(object: &'a Value, type_: &str) -> &'a str {
    condition(object, type_)
        .and_then(|condition| condition["status"].as_str())
        .unwrap_or_default()
}

/// Sets a label; objects without labels get some.
pub fn set_label(object: &mut Value, key: &str, value: &str) {
    set(&mut object["metadata"]["labels"], key, value);
}

/// Sets an annotation; objects without annotations get some.
pub fn set_annotation(object: &mut Value, key: &str, value: &str) {
    set(&mut object["metadata"]["annotations"], key, value);
}

fn set(entries: &mut Value, key: &str, value: &str) {
    if !entries.is_object() {
        *entries = json!({});
    }
    entries[key] = json!(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_reads_as_empty() {
        let object = json!({"metadata": {"name": "a"}, "status": {"conditions": [
            {"type": "Bound", "status": "True"},
        ]}});
        assert_eq!(condition_status(&object, "Bound"), "True");
        assert_eq!(condition_status(&object, "Other"), "");
        assert_eq!(label_of(&object, "a"), "");
        assert_eq!((name_of(&object), namespace_of(&object)), ("a", ""));
        let mut object = object;
        set_label(&mut object, "a", "b");
        assert_eq!(label_of(&object, "a"), "b");
    }
}
