//! Laying a configuration over an object on nobody's behalf, as mutating admission policies do.

use serde_json::Value;

use super::combine::merged;
use super::config::check;
use super::view::Form;
use super::view::View;
use crate::types::TypeRef;

/// The object with the configuration merged in as a server-side apply merges, whoever owns what.
///
/// # Errors
/// The configuration does not fit the type, or sets an atomic list or map: a policy that means to
/// add to one would remove all the rest of it.
pub fn configure(ty: &TypeRef, object: &Value, configuration: &Value) -> Result<Value, String> {
    let view = View::of_object(ty);
    check(view, configuration).map_err(|mistakes| {
        format!("failed to convert patch object to typed object: {mistakes}")
    })?;
    let mut atomic = Vec::new();
    find_atomic(view, configuration, "", &mut atomic);
    if !atomic.is_empty() {
        return Err(format!(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}",
            atomic.join(", ")
        ));
    }
    Ok(merged(view, object, configuration))
}

fn find_atomic(view: View<'_>, value: &Value, path: &str, found: &mut Vec<String>) {
    match (view.form(Some(value)), value) {
        (Form::Granular, Value::Object(fields)) => {
            for (name, value) in fields {
                find_atomic(view.child(name), value, &format!("{path}.{name}"), found);
            }
        }
        (Form::Items(_), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                find_atomic(view.items(), item, &format!("{path}[{index}]"), found);
            }
        }
        (Form::Leaf, Value::Object(_) | Value::Array(_)) => found.push(path.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::builtin;

    #[test]
    fn lists_with_keys_merge_and_atomic_ones_are_refused() {
        let pod = builtin()
            .type_named("io.k8s.api.core.v1.Pod")
            .expect("pods");
        let object = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let configuration = json!({
            "metadata": {"labels": {"x": "y"}},
            "spec": {"initContainers": [{"name": "side", "restartPolicy": "Always"}], "containers": [{"name": "c", "tty": true}]},
        });
        let expected = json!({
            "metadata": {"name": "a", "labels": {"x": "y"}},
            "spec": {
                "containers": [{"name": "c", "image": "i", "tty": true}],
                "initContainers": [{"name": "side", "restartPolicy": "Always"}],
            },
        });
        assert_eq!(configure(&pod, &object, &configuration), Ok(expected));
        let atomic = json!({"spec": {"containers": [{"name": "c", "command": ["sh"]}]}});
        let refused = configure(&pod, &object, &atomic).expect_err("atomic");
        assert!(
            refused.ends_with(".spec.containers[0].command"),
            "{refused}"
        );
        let mistyped = json!({"spec": {"containers": "c"}});
        configure(&pod, &object, &mistyped).expect_err("mistyped");
    }
}
