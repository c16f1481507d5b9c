//! The parameters with which a binding has a policy evaluated.

use serde_json::Value;

use super::Write;
use super::definition::Binding;
use super::definition::ParamRef;
use super::definition::Policy;
use super::not_remote;
use crate::names;
use crate::object;
use crate::registry::Resource;
use crate::strategy;

/// How many objects a selector may choose as parameters. The policy is evaluated once with each, so
/// more would make one write cost thousands of evaluations.
const PARAMS_MAX: usize = 100;

/// The parameters, each for an evaluation of its own; `None` for an evaluation without.
///
/// # Errors
/// The policy or binding is not complete, in the API server's words.
pub(super) fn collect(
    write: &Write<'_>,
    policy: &Policy,
    binding: &Binding,
) -> Result<Vec<Option<Value>>, String> {
    let (Some(kind), Some(reference)) = (&policy.param_kind, &binding.param_ref) else {
        return Ok(vec![None]);
    };
    let resource = write.core.registry.of_kind(&kind.api_version, &kind.kind);
    let resource = resource.ok_or_else(|| {
        format!(
            "failed to find resource referenced by paramKind: '{}, Kind={}'",
            kind.api_version, kind.kind
        )
    })?;
    not_remote(&resource)?;
    let namespace = namespace(write, &resource, reference)?;
    let found = if reference.name.is_empty() {
        selected(write, &resource, namespace, reference)?
    } else {
        let key = resource.key(namespace, &reference.name);
        let entry = write.core.store.get(&key);
        entry.map(|entry| entry.value.clone()).into_iter().collect()
    };
    if found.is_empty() && reference.required {
        let why = "no params found for policy binding with `Deny` parameterNotFoundAction";
        return Err(why.to_owned());
    }
    let decode = |bytes: bytes::Bytes| strategy::to_version(&resource, object::decode(&bytes));
    Ok(found.into_iter().map(|bytes| Some(decode(bytes))).collect())
}

fn namespace<'a>(
    write: &'a Write<'_>,
    resource: &Resource,
    reference: &'a ParamRef,
) -> Result<&'a str, String> {
    if !resource.namespaced {
        return if reference.namespace.is_empty() {
            Ok("")
        } else {
            let why = "paramRef.namespace must not be provided for a cluster-scoped `paramKind`";
            Err(why.to_owned())
        };
    }
    let stated = [&reference.namespace, &write.place.namespace];
    let stated = stated.into_iter().find(|namespace| !namespace.is_empty());
    stated.map(String::as_str).ok_or_else(|| {
        "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
            .to_owned()
    })
}

fn selected(
    write: &Write<'_>,
    resource: &Resource,
    namespace: &str,
    reference: &ParamRef,
) -> Result<Vec<bytes::Bytes>, String> {
    let scope = names::scope_prefix(&resource.prefix, namespace);
    let page = write.core.store.list(&scope, None, 0, None);
    let page = page.map_err(|error| error.to_string())?;
    let selects = |bytes: &bytes::Bytes| {
        let seen = object::glance(bytes);
        let label = |key: &str| seen.metadata.labels.get(key).map(AsRef::as_ref);
        let selector = reference.selector.as_ref();
        selector.is_none_or(|selector| selector.matches_with(label))
    };
    let found = page.entries.iter().map(|entry| entry.value.clone());
    let found: Vec<bytes::Bytes> = found.filter(selects).take(PARAMS_MAX + 1).collect();
    if found.len() > PARAMS_MAX {
        return Err(format!(
            "paramRef.selector chooses more than the {PARAMS_MAX} params that one request is \
             evaluated with; choose fewer"
        ));
    }
    Ok(found)
}
