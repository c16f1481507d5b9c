//! Cells that several kinds share.

use serde_json::Value;

use super::view::NONE;
use super::view::View;

/// Items shown of a long list before the rest is only counted.
const MAX_SHOWN: usize = 3;

/// Items joined by commas; of a long list the first three and how many more there are.
pub(super) fn abridged(items: &[String], when_empty: &str) -> String {
    match items {
        [] => when_empty.into(),
        items if items.len() <= MAX_SHOWN => items.join(","),
        items => format!(
            "{} + {} more...",
            items[..MAX_SHOWN].join(","),
            items.len() - MAX_SHOWN
        ),
    }
}

/// Labels as `a=b,c=d`.
pub(super) fn labels(view: View<'_>, path: &str) -> String {
    let pairs = label_pairs(view, path);
    if pairs.is_empty() {
        NONE.into()
    } else {
        pairs.join(",")
    }
}

fn label_pairs(view: View<'_>, path: &str) -> Vec<String> {
    let map = view.get(path).and_then(Value::as_object);
    let mut pairs: Vec<String> = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort();
    pairs
}

/// A label selector in the form that list requests take.
pub(super) fn label_selector(view: View<'_>, path: &str) -> String {
    let mut terms = label_pairs(view, &format!("{path}/matchLabels"));
    for expression in view.items(&format!("{path}/matchExpressions")) {
        let key = expression.str("/key");
        let mut values: Vec<&str> = expression
            .items("/values")
            .map(|value| value.str(""))
            .collect();
        values.sort_unstable();
        let values = values.join(",");
        terms.push(match expression.str("/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.into(),
            "DoesNotExist" => format!("!{key}"),
            other => format!("{key} {other} ({values})"),
        });
    }
    terms.sort();
    if terms.is_empty() {
        NONE.into()
    } else {
        terms.join(",")
    }
}

/// The names and images of the containers of a pod template.
pub(super) fn containers(view: View<'_>, path: &str) -> [Value; 2] {
    let join = |field: &str| {
        let texts: Vec<&str> = view
            .items(path)
            .map(|container| container.str(field))
            .collect();
        Value::from(texts.join(","))
    };
    [join("/name"), join("/image")]
}

/// Access modes in their short forms, in upstream's order.
pub(super) fn access_modes(view: View<'_>, path: &str) -> String {
    const SHORT: [(&str, &str); 4] = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let present: Vec<&str> = view.items(path).map(|mode| mode.str("")).collect();
    let short = SHORT.iter().filter(|(mode, _)| present.contains(mode));
    short.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

/// The addresses of a load balancer, each once.
pub(super) fn load_balancer(view: View<'_>) -> String {
    let mut addresses: Vec<&str> = view
        .items("/status/loadBalancer/ingress")
        .map(|ingress| match ingress.str("/ip") {
            "" => ingress.str("/hostname"),
            ip => ip,
        })
        .filter(|address| !address.is_empty())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.join(",")
}

/// The storage class of a volume or claim: the old annotation, then the field.
pub(super) fn storage_class(view: View<'_>) -> Value {
    match view.str("/metadata/annotations/volume.beta.kubernetes.io~1storage-class") {
        "" => view.text("/spec/storageClassName"),
        class => Value::from(class),
    }
}

/// The subjects of one kind of a binding.
pub(super) fn subjects(view: View<'_>, kind: &str) -> Value {
    let names: Vec<String> = view
        .items("/subjects")
        .filter(|subject| subject.str("/kind") == kind)
        .map(|subject| match kind {
            "ServiceAccount" => format!("{}/{}", subject.str("/namespace"), subject.str("/name")),
            _ => subject.str("/name").to_owned(),
        })
        .collect();
    Value::from(names.join(", "))
}

/// An optional truth value as upstream prints it.
pub(super) fn optional_bool(view: View<'_>, path: &str) -> &'static str {
    match view.get(path).and_then(Value::as_bool) {
        None => super::view::UNSET,
        Some(true) => "True",
        Some(false) => "False",
    }
}
