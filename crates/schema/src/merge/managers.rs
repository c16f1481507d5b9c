//! `metadata.managedFields`: who owns which fields.

use std::fmt;
use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::Map;
use serde_json::Value;

use super::field_set::FieldSet;

/// Managers that own fields through updates, at most. Upstream's limit: without one an object
/// touched by ever new client names would grow without bound.
pub const MAX_UPDATE_MANAGERS: usize = 10;

/// The name under which the oldest update managers are merged.
const ANCIENT_CHANGES: &str = "ancient-changes";

/// The name of a manager whose client gave none.
const UNKNOWN: &str = "unknown";

/// How a manager came to own its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Create, update and the other patches.
    Update,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// The identity of a manager. An applier is the same manager whatever version it applies.
#[derive(Debug, Clone)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl Manager {
    pub(super) fn new(
        name: &str,
        operation: Operation,
        api_version: &str,
        subresource: &str,
    ) -> Self {
        Self {
            name: if name.is_empty() { UNKNOWN } else { name }.to_owned(),
            operation,
            api_version: api_version.to_owned(),
            subresource: subresource.to_owned(),
        }
    }

    fn is(&self, other: &Self) -> bool {
        self.name == other.name
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }
}

impl fmt::Display for Manager {
    /// Writes the manager as conflict messages name it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.name)?;
        if !self.subresource.is_empty() {
            write!(out, " with subresource {:?}", self.subresource)?;
        }
        match self.operation {
            Operation::Apply => Ok(()),
            Operation::Update => write!(out, " using {}", self.api_version),
        }
    }
}

/// What one manager owns.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) manager: Manager,
    /// RFC 3339 in UTC with seconds, as the API writes it.
    pub(super) time: Option<String>,
    pub(super) fields: FieldSet,
}

/// All managers of an object.
#[derive(Debug, Clone, Default)]
pub(super) struct Managers {
    pub(super) entries: Vec<Entry>,
}

impl Managers {
    /// Reads the managers of an object. An entry that cannot be read owns nothing.
    pub(super) fn of(object: &Value) -> Self {
        let entries = managed_fields(object)
            .iter()
            .filter_map(parse_entry)
            .collect();
        Self { entries }
    }

    /// Whether a client asks to forget all ownership: one entry with nothing in it.
    pub(super) fn is_reset(object: &Value) -> bool {
        let [only] = managed_fields(object) else {
            return false;
        };
        only.as_object().is_some_and(Map::is_empty)
    }

    pub(super) fn position(&self, manager: &Manager) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| entry.manager.is(manager))
    }

    /// Removes the entry of a manager.
    pub(super) fn take(&mut self, manager: &Manager) -> Option<Entry> {
        self.position(manager)
            .map(|place| self.entries.remove(place))
    }

    /// Takes fields away from all managers; managers left with none go.
    pub(super) fn disown(&mut self, fields: &FieldSet) {
        if fields.is_empty() {
            return;
        }
        for entry in &mut self.entries {
            entry.fields = entry.fields.difference(fields);
        }
        self.entries.retain(|entry| !entry.fields.is_empty());
    }

    /// Merges the oldest update managers of a version until no more than the limit are left.
    pub(super) fn cap_update_managers(&mut self) {
        let is_update = |entry: &&Entry| entry.manager.operation == Operation::Update;
        let mut excess = self
            .entries
            .iter()
            .filter(is_update)
            .count()
            .saturating_sub(MAX_UPDATE_MANAGERS);
        if excess == 0 {
            return;
        }
        self.sort();
        let versions: Vec<String> = self
            .entries
            .iter()
            .filter(is_update)
            .map(|entry| entry.manager.api_version.clone())
            .collect();
        for version in versions {
            if excess == 0 {
                return;
            }
            excess -= self.merge_oldest(&version, excess);
        }
    }

    /// Merges up to `excess` of a version's oldest entries into its oldest one and returns how many
    /// entries went.
    fn merge_oldest(&mut self, version: &str, excess: usize) -> usize {
        let bucket = Manager::new(ANCIENT_CHANGES, Operation::Update, version, "");
        let of_version: Vec<usize> = (0..self.entries.len())
            .filter(|place| {
                let manager = &self.entries[*place].manager;
                manager.operation == Operation::Update && manager.api_version == version
            })
            .take(excess + 1)
            .collect();
        let [first, others @ ..] = of_version.as_slice() else {
            return 0;
        };
        if others.is_empty() {
            return 0;
        }
        for place in others {
            self.entries[*first].fields = self.entries[*first]
                .fields
                .union(&self.entries[*place].fields);
            // The younger entry says how recent the merged changes may be.
            self.entries[*first].time = self.entries[*place].time.clone();
        }
        self.entries[*first].manager = bucket;
        for place in others.iter().rev() {
            self.entries.remove(*place);
        }
        others.len()
    }

    /// Orders the entries as the API lists them.
    fn sort(&mut self) {
        self.entries
            .sort_by(|left, right| order_of(left).cmp(&order_of(right)));
    }

    /// Writes `metadata.managedFields`.
    pub(super) fn into_value(mut self) -> Value {
        self.sort();
        Value::Array(self.entries.iter().map(write_entry).collect())
    }
}

fn order_of(entry: &Entry) -> (Operation, Option<&str>, &str, &str, &str) {
    let manager = &entry.manager;
    (
        manager.operation,
        entry.time.as_deref(),
        &manager.name,
        &manager.api_version,
        &manager.subresource,
    )
}

/// The raw entries of an object.
pub(super) fn managed_fields(object: &Value) -> &[Value] {
    object["metadata"]["managedFields"]
        .as_array()
        .map_or(&[], Vec::as_slice)
}

/// The time of an entry made now.
pub(super) fn entry_time(now: Timestamp) -> String {
    format!("{now:.0}")
}

fn parse_entry(value: &Value) -> Option<Entry> {
    let text = |name: &str| value[name].as_str();
    let operation = match text("operation")? {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return None,
    };
    Some(Entry {
        manager: Manager {
            name: text("manager").unwrap_or_default().to_owned(),
            operation,
            api_version: text("apiVersion")?.to_owned(),
            subresource: text("subresource").unwrap_or_default().to_owned(),
        },
        time: text("time").map(str::to_owned),
        fields: FieldSet::parse(&value["fieldsV1"]),
    })
}

fn write_entry(entry: &Entry) -> Value {
    let manager = &entry.manager;
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| out.insert(name.to_owned(), value);
    if !manager.name.is_empty() {
        put("manager", Value::from(manager.name.as_str()));
    }
    put("operation", Value::from(manager.operation.as_str()));
    put("apiVersion", Value::from(manager.api_version.as_str()));
    if let Some(time) = &entry.time {
        put("time", Value::from(time.as_str()));
    }
    put("fieldsType", Value::from("FieldsV1"));
    put("fieldsV1", entry.fields.to_value());
    if !manager.subresource.is_empty() {
        put("subresource", Value::from(manager.subresource.as_str()));
    }
    Value::Object(out)
}

/// What nobody ever owns: what the server sets, and what names the object.
static NEVER_OWNED: LazyLock<FieldSet> = LazyLock::new(|| {
    FieldSet::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
});

/// Takes away what nobody ever owns.
pub(super) fn strip(fields: &FieldSet) -> FieldSet {
    fields.difference(&NEVER_OWNED)
}
