//! Defaults as data: where a value goes, and which.

use serde_json::Map;
use serde_json::Value;

/// One default: the path of a field and, as JSON, the value it takes when absent.
///
/// Steps are separated by dots; `name[]` stands for every item of a list. Objects on the way must
/// exist, unless their step ends in `!`, which creates them.
pub(super) type Default = (&'static str, &'static str);

/// Sets every default whose field is absent or null.
pub(super) fn fill(object: &mut Value, defaults: &[Default]) {
    for (path, json) in defaults {
        let value = serde_json::from_str(json).expect("a default of ours is JSON");
        visit(object, path, &mut |parent, key| set(parent, key, &value));
    }
}

fn set(parent: &mut Map<String, Value>, key: &str, value: &Value) {
    let entry = parent.entry(key).or_insert(Value::Null);
    if entry.is_null() {
        *entry = value.clone();
    }
}

/// Calls `act` with every object that the path leads to, and the last step.
fn visit(value: &mut Value, path: &str, act: &mut dyn FnMut(&mut Map<String, Value>, &str)) {
    let Some(object) = value.as_object_mut() else {
        return;
    };
    let Some((step, rest)) = path.split_once('.') else {
        act(object, path);
        return;
    };
    if let Some(list) = step.strip_suffix("[]") {
        let items = object.get_mut(list).and_then(Value::as_array_mut);
        for item in items.into_iter().flatten() {
            visit(item, rest, act);
        }
    } else if let Some(name) = step.strip_suffix('!') {
        set(object, name, &Value::Object(Map::new()));
        if let Some(below) = object.get_mut(name) {
            visit(below, rest, act);
        }
    } else if let Some(below) = object.get_mut(step) {
        visit(below, rest, act);
    }
}

/// Calls `act` for the value at every place that the path leads to.
pub(super) fn each(value: &mut Value, path: &str, act: &mut dyn FnMut(&mut Value)) {
    let (parents, list) = match path.strip_suffix("[]") {
        Some(parents) => (parents, true),
        None => (path, false),
    };
    visit(
        value,
        parents,
        &mut |parent, key| match parent.get_mut(key) {
            Some(Value::Array(items)) if list => items.iter_mut().for_each(&mut *act),
            Some(below) if !list && !below.is_null() => act(below),
            _ => {}
        },
    );
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_go_where_their_paths_lead() {
        let mut object = json!({"a": [{"b": 1}, {"b": null}, {}], "c": {}});
        fill(
            &mut object,
            &[
                ("a[].b", "2"),
                ("c.d", "\"x\""),
                ("missing.e", "1"),
                ("made!.f", "{}"),
            ],
        );
        assert_eq!(
            object,
            json!({"a": [{"b": 1}, {"b": 2}, {"b": 2}], "c": {"d": "x"}, "made": {"f": {}}})
        );
    }
}
