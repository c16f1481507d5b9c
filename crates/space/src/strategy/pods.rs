//! Pods: their service account and their class of service.

use serde_json::Value;

/// A pod runs as a service account; `default` when it names none.
pub(super) fn prepare_create(object: &mut Value) {
    let spec = &mut object["spec"];
    if !spec.is_object() {
        return;
    }
    let stated = spec["serviceAccountName"]
        .as_str()
        .or(spec["serviceAccount"].as_str())
        .filter(|name| !name.is_empty())
        .unwrap_or("default")
        .to_owned();
    spec["serviceAccountName"] = stated.clone().into();
    spec["serviceAccount"] = stated.into();
}

/// The class of service that requests and limits amount to.
pub(super) fn quality_of_service(pod: &Value) -> &'static str {
    let containers: Vec<&Value> = ["containers", "initContainers"]
        .iter()
        .filter_map(|list| pod["spec"][*list].as_array())
        .flatten()
        .collect();
    let amount = |container: &Value, kind: &str, name: &str| -> Option<Value> {
        let value = &container["resources"][kind][name];
        (!value.is_null()).then(|| value.clone())
    };
    let states_something = containers.iter().any(|container| {
        ["requests", "limits"].iter().any(|kind| {
            ["cpu", "memory"]
                .iter()
                .any(|name| amount(container, kind, name).is_some())
        })
    });
    if !states_something {
        return "BestEffort";
    }
    let guaranteed = containers.iter().all(|container| {
        ["cpu", "memory"].iter().all(|name| {
            let limit = amount(container, "limits", name);
            let request = amount(container, "requests", name);
            limit.is_some() && (request.is_none() || request == limit)
        })
    });
    if guaranteed {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_class_follows_requests_and_limits() {
        let pod = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
        let all = json!({"cpu": "1", "memory": "1Gi"});
        let cases = [
            (json!({}), "BestEffort"),
            (json!({"requests": {"cpu": "1"}}), "Burstable"),
            (json!({"limits": all}), "Guaranteed"),
            (
                json!({"limits": all, "requests": {"cpu": "2"}}),
                "Burstable",
            ),
        ];
        for (resources, expected) in cases {
            assert_eq!(quality_of_service(&pod(resources)), expected);
        }
    }
}
