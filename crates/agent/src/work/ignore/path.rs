//! Places in JSON: finding them, and taking them away.

use serde_json::Map;
use serde_json::Value;

/// One step down into JSON.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Into a list, counted from 0.
    Index(usize),
    /// Into a map.
    Key(String),
}

/// A place in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<Step>);

impl Path {
    /// The place that a JSON pointer (RFC 6901) names; nothing if there is no such place.
    ///
    /// # Errors
    ///
    /// In words, when the text is no pointer.
    pub fn of_pointer(value: &Value, pointer: &str) -> Result<Option<Self>, String> {
        let Some(rest) = pointer.strip_prefix('/') else {
            return Err(format!(
                "the JSON pointer {pointer:?} does not begin with /"
            ));
        };
        let (mut path, mut here) = (Self::default(), value);
        for token in rest.split('/') {
            let token = token.replace("~1", "/").replace("~0", "~");
            let step = match here {
                Value::Array(_) => match token.parse() {
                    Ok(index) => Step::Index(index),
                    Err(_) => return Ok(None),
                },
                _ => Step::Key(token),
            };
            let Some(below) = get(here, &step) else {
                return Ok(None);
            };
            here = below;
            path.0.push(step);
        }
        Ok(Some(path))
    }

    /// The place of `part`, which is a part of `whole` itself and not an equal one elsewhere.
    pub fn to(whole: &Value, part: &Value) -> Option<Self> {
        let mut steps = Vec::new();
        search(whole, part, &mut steps).then_some(Self(steps))
    }

    /// The steps from the top.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The place one step further down.
    pub fn join(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// What stands there.
    pub fn get_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        self.0.iter().try_fold(value, |here, step| match step {
            Step::Key(key) => here.get_mut(key),
            Step::Index(index) => here.get_mut(index),
        })
    }
}

/// What stands one step down.
pub fn get<'a>(value: &'a Value, step: &Step) -> Option<&'a Value> {
    match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    }
}

fn search(here: &Value, part: &Value, steps: &mut Vec<Step>) -> bool {
    if std::ptr::eq(here, part) {
        return true;
    }
    let mut below = |step: Step, child: &Value| {
        steps.push(step);
        let found = search(child, part, steps);
        if !found {
            steps.pop();
        }
        found
    };
    match here {
        Value::Object(fields) => fields
            .iter()
            .any(|(key, child)| below(Step::Key(key.clone()), child)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .any(|(index, child)| below(Step::Index(index), child)),
        _ => false,
    }
}

/// Takes these places away. They are sorted: of one list the last go first, so that the others are
/// still where they were.
pub fn remove_all(value: &mut Value, sorted: &[Path]) {
    for path in sorted.iter().rev() {
        let Some((last, above)) = path.0.split_last() else {
            continue;
        };
        match (Path(above.to_vec()).get_mut(value), last) {
            (Some(Value::Object(fields)), Step::Key(key)) => drop(fields.remove(key)),
            (Some(Value::Array(items)), Step::Index(index)) if *index < items.len() => {
                drop(items.remove(*index));
            }
            _ => {}
        }
    }
}

/// What stands in the live object at the place of a manifest, if the entry `fields` of
/// `metadata.managedFields` holds it. Items of lists are found by their keys, since they may have
/// moved.
pub fn held<'a>(
    fields: &Value,
    manifest: &Value,
    live: &'a Value,
    steps: &[Step],
) -> Option<&'a Value> {
    let Some((step, rest)) = steps.split_first() else {
        return Some(live);
    };
    let held_below = fields.as_object()?;
    if held_below.is_empty() {
        // Held as a whole.
        return steps.iter().try_fold(live, get);
    }
    let item = get(manifest, step)?;
    match step {
        Step::Key(key) => {
            let below = held_below.get(&format!("f:{key}"))?;
            held(below, item, live.get(key)?, rest)
        }
        Step::Index(_) => {
            let (key, below) = held_below.iter().find_map(|(name, below)| {
                let key: Map<String, Value> =
                    serde_json::from_str(name.strip_prefix("k:")?).ok()?;
                has_key(item, &key).then_some((key, below))
            })?;
            let items = live.as_array()?;
            held(
                below,
                item,
                items.iter().find(|item| has_key(item, &key))?,
                rest,
            )
        }
    }
}

fn has_key(item: &Value, key: &Map<String, Value>) -> bool {
    key.iter()
        .all(|(name, value)| item.get(name) == Some(value))
}
