//! Applies rendered objects to a cluster, in order, or shows them.

use super::session::Session;
use super::three_way;
use crate::target::Target;
use crate::wait;
use crate::wait::Look;
use anyhow::Context;
use hyades_runtime::Trouble;
use hyades_runtime::apply::Address;
use hyades_runtime::kube::api::DynamicObject;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// The field manager of client-side applies.
const FIELD_MANAGER: &str = "kubectl-client-side-apply";
/// Attempts at one object when others change it at the same time.
const ATTEMPTS_MAX: u32 = 5;

/// Writes the objects to `output_file` if one is named; then applies them, and waits until each
/// CRD among them is served. In a dry run they are shown instead.
///
/// # Errors
///
/// A file that cannot be written; the first object that cannot be applied, by name.
pub async fn objects(
    session: &Session,
    objects: &[Value],
    output_file: Option<&Path>,
) -> anyhow::Result<()> {
    if output_file.is_some() || session.dry_run {
        let text = yaml(objects)?;
        if let Some(path) = output_file {
            // Upstream leaves the file to everybody; there are tokens among the objects.
            write_file(path, &text, 0o600)?;
        }
        if session.dry_run {
            session.console.text(&text);
            return Ok(());
        }
    }
    let is_namespace = |object: &&Value| object["kind"] == "Namespace";
    let (namespaces, others): (Vec<&Value>, Vec<&Value>) = objects.iter().partition(is_namespace);
    for object in namespaces.into_iter().chain(others) {
        one(&session.target, object).await?;
        if object["kind"] == "CustomResourceDefinition" {
            established(session, object).await?;
        }
    }
    Ok(())
}

/// Applies one object.
async fn one(target: &Target, object: &Value) -> anyhow::Result<()> {
    let address = Address::of(object)?;
    let api = address.api(&target.client);
    let tried = || {
        let place = address.namespace.as_deref().unwrap_or_default();
        let separator = if place.is_empty() { "" } else { "/" };
        format!(
            "apply {} {place}{separator}{}",
            address.resource.kind, address.name
        )
    };
    let mut attempts = 0;
    loop {
        attempts += 1;
        let live = api.get_opt(&address.name).await;
        let written = match live.map_err(|error| target.explain(&tried(), &error))? {
            None => {
                let object: DynamicObject = serde_json::from_value(three_way::annotated(object))
                    .with_context(|| format!("{}: it is not an object", tried()))?;
                let parameters = PostParams {
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PostParams::default()
                };
                api.create(&parameters, &object).await.map(drop)
            }
            Some(live) => {
                let live = serde_json::to_value(&live).unwrap_or_default();
                let Some(patch) = three_way::patch(&live, object) else {
                    return Ok(());
                };
                let parameters = PatchParams {
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PatchParams::default()
                };
                api.patch(&address.name, &parameters, &Patch::Merge(patch))
                    .await
                    .map(drop)
            }
        };
        let Err(error) = written else { return Ok(()) };
        let raced = matches!(
            Trouble::of(&error),
            Trouble::Conflict(_) | Trouble::AlreadyExists(_) | Trouble::NotFound(_)
        );
        if !raced || attempts == ATTEMPTS_MAX {
            return Err(target.explain(&tried(), &error));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn established(session: &Session, definition: &Value) -> anyhow::Result<()> {
    let address = Address::of(definition)?;
    let api = address.api(&session.target.client);
    let what = format!("the definition {} to be served", address.name);
    wait::until(&what, session.timeout, || async {
        let live = api.get(&address.name).await.map_err(|error| {
            let tried = format!("read the definition {}", address.name);
            session.target.explain(&tried, &error)
        })?;
        let conditions = &live.data["status"]["conditions"];
        let established = conditions.as_array().is_some_and(|conditions| {
            conditions.iter().any(|condition| {
                condition["type"] == "Established" && condition["status"] == "True"
            })
        });
        Ok(match established {
            true => Look::Done(()),
            false => Look::NotYet(format!("conditions {conditions}")),
        })
    })
    .await
}

/// The objects as YAML documents.
///
/// # Errors
///
/// Those of writing YAML.
pub fn yaml(objects: &[Value]) -> anyhow::Result<String> {
    let mut text = String::new();
    for object in objects {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(object).context("write the objects as YAML")?);
    }
    Ok(text)
}

/// Writes a file the user named. A regular file has this mode before the first byte of the text, as
/// there may be tokens in it; a pipe or device keeps its own.
///
/// # Errors
///
/// A file that cannot be written, by name.
pub fn write_file(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    options
        .open(path)
        .and_then(|mut file| {
            if file.metadata()?.is_file() {
                file.set_permissions(Permissions::from_mode(mode))?;
            }
            file.write_all(text.as_bytes())
        })
        .with_context(|| {
            format!(
                "write {}; choose a file that can be written",
                path.display()
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_everybody_could_read_is_closed_before_a_token_is_written_into_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("command");
        std::fs::write(&path, "old").expect("written");
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("opened");
        write_file(&path, "new", 0o600).expect("written");
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).expect("text"), "new");
    }
}
