//! The works of this WDS as the ITS has them.

use super::model::BindingName;
use super::model::Concerned;
use super::wrap::ContentDigest;
use hyades_api::conditions;
use hyades_api::control::names::annotations;
use hyades_api::control::names::labels;
use hyades_api::names::WORK_GROUP;
use hyades_api::work::ManifestWorkStatus;
use hyades_runtime::k8s_openapi::NamespaceResourceScope;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use serde::Deserialize;
use serde::Deserializer;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A work without its content: what is kept is a digest.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SeenWork {
    metadata: ObjectMeta,
    #[serde(deserialize_with = "digest")]
    spec: ContentDigest,
    #[serde(default)]
    status: ManifestWorkStatus,
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ContentDigest, D::Error> {
    Value::deserialize(deserializer).map(|spec| ContentDigest::of(&spec))
}

impl Resource for SeenWork {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "ManifestWork".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        WORK_GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "manifestworks".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl SeenWork {
    /// The Binding that the work came from.
    fn binding(&self) -> Option<BindingName> {
        let full = self.annotations().get(annotations::ORIGIN_BINDING);
        let name = full.or_else(|| self.labels().get(labels::ORIGIN_BINDING));
        name.map(|name| name.as_str().into())
    }
}

/// What the agent says of a work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Applied {
    /// Nothing yet of this content.
    #[default]
    Unknown,
    /// All its objects are applied.
    Yes,
    /// Why some are not.
    No(String),
}

impl Applied {
    fn of(work: &SeenWork) -> Self {
        let find = conditions::find(&work.status.conditions, conditions::work::APPLIED);
        let Some(applied) = find else {
            return Self::Unknown;
        };
        if applied.observed_generation < work.metadata.generation {
            return Self::Unknown;
        }
        if applied.status == "True" {
            return Self::Yes;
        }
        let manifests = &work.status.resource_status.manifests;
        let failed = manifests.iter().find_map(|manifest| {
            let applied = conditions::find(&manifest.conditions, conditions::work::APPLIED)?;
            (applied.status != "True").then_some((&manifest.resource_meta, &applied.message))
        });
        Self::No(match failed {
            Some((object, message)) => {
                format!("{} {}: {message}", object.kind, object.name)
            }
            None => applied.message.clone(),
        })
    }
}

/// What is kept of a work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    version: u64,
    digest: ContentDigest,
    /// What was written, and what the server made of it, defaults included.
    written: Option<(ContentDigest, ContentDigest)>,
    /// Whether it is being deleted.
    pub(super) is_going: bool,
    pub(super) applied: Applied,
}

impl State {
    /// Whether the work says what it is to say.
    pub(super) fn says(&self, wanted: ContentDigest) -> bool {
        self.digest == wanted || self.written == Some((wanted, self.digest))
    }
}

/// A work as a watch or the answer to a write shows it.
#[derive(Debug)]
struct Sight {
    owner: Option<BindingName>,
    state: State,
}

impl Sight {
    fn of(work: &SeenWork) -> Self {
        Self {
            owner: work.binding(),
            state: State {
                version: version(work),
                digest: work.spec,
                written: None,
                is_going: work.metadata.deletion_timestamp.is_some(),
                applied: Applied::of(work),
            },
        }
    }
}

/// Mailbox and name of a work.
type Place = (String, String);

/// The works of one Binding, by mailbox and name.
pub(super) type Mailboxes = BTreeMap<String, HashMap<String, State>>;

/// All works.
#[derive(Debug, Default)]
pub(super) struct Seen {
    of_bindings: HashMap<BindingName, Mailboxes>,
    /// Whose each work is: labels can be changed by hand.
    owners: HashMap<Place, BindingName>,
    /// Of a list that is under way: what was listed, or written since it began.
    incoming: Option<HashMap<Place, Sight>>,
    none: Mailboxes,
}

impl Seen {
    /// Those of a Binding.
    pub(super) fn of(&self, binding: &str) -> &Mailboxes {
        self.of_bindings.get(binding).unwrap_or(&self.none)
    }

    fn state(&mut self, key: &Place) -> Option<&mut State> {
        let mailboxes = self.of_bindings.get_mut(self.owners.get(key)?)?;
        mailboxes.get_mut(&key.0)?.get_mut(&key.1)
    }

    /// A list begins.
    pub(super) fn begin_list(&mut self) {
        self.incoming = Some(HashMap::new());
    }

    /// A work of the list under way.
    pub(super) fn list(&mut self, work: &SeenWork) {
        let sight = Sight::of(work);
        let incoming = self.incoming.get_or_insert_default();
        match incoming.entry(place(work)) {
            // It was written after the server had looked.
            Entry::Occupied(newer) if newer.get().state.version > sight.state.version => {}
            entry => {
                entry.insert_entry(sight);
            }
        }
    }

    /// The list is complete. It replaces what was seen, whatever the versions: an ITS that was
    /// restored from a backup counts from an earlier one.
    pub(super) fn end_list(&mut self) -> Concerned {
        let incoming = self.incoming.take().unwrap_or_default();
        let known = self.owners.keys();
        let gone: Vec<Place> = known
            .filter(|key| !incoming.contains_key(*key))
            .cloned()
            .collect();
        let mut concerned: Concerned = gone.iter().filter_map(|key| self.remove(key)).collect();
        for (key, sight) in incoming {
            concerned.extend(self.accept(key, sight));
        }
        concerned
    }

    /// A work is new or was modified.
    pub(super) fn see(&mut self, work: &SeenWork) -> Concerned {
        let (key, sight) = (place(work), Sight::of(work));
        let known = self.state(&key);
        if known.is_some_and(|state| state.version > sight.state.version) {
            // The answer to a write was faster than the watch.
            return Concerned::new();
        }
        self.accept(key, sight)
    }

    fn accept(&mut self, key: Place, sight: Sight) -> Concerned {
        let mut concerned = Concerned::new();
        let mut before = self.state(&key).cloned();
        let Sight { owner, mut state } = sight;
        if self.owners.get(&key) != owner.as_ref() {
            concerned.extend(self.remove(&key));
            before = None;
        }
        let Some(owner) = owner else {
            return concerned;
        };
        if let Some(before) = &before {
            state.written = before.written;
            // A deletion is known before it is seen.
            state.is_going |= before.is_going && before.version == state.version;
        }
        let version = state.version;
        let is_same = before.is_some_and(|before| State { version, ..before } == state);
        self.owners.insert(key.clone(), owner.clone());
        let mailboxes = self.of_bindings.entry(owner.clone()).or_default();
        mailboxes.entry(key.0).or_default().insert(key.1, state);
        if !is_same {
            concerned.insert(owner);
        }
        concerned
    }

    pub(super) fn miss(&mut self, work: &SeenWork) -> Concerned {
        let version = version(work);
        if self
            .state(&place(work))
            .is_some_and(|state| state.version > version)
        {
            // Another of the same name was written since.
            return Concerned::new();
        }
        self.remove(&place(work)).into_iter().collect()
    }

    fn remove(&mut self, key: &Place) -> Option<BindingName> {
        let owner = self.owners.remove(key)?;
        if let Some(mailboxes) = self.of_bindings.get_mut(&owner) {
            if let Some(works) = mailboxes.get_mut(&key.0) {
                works.remove(&key.1);
                if works.is_empty() {
                    mailboxes.remove(&key.0);
                }
            }
            if mailboxes.is_empty() {
                self.of_bindings.remove(&owner);
            }
        }
        Some(owner)
    }

    pub(super) fn note_deleted(&mut self, mailbox: &str, name: &str) {
        if let Some(state) = self.state(&(mailbox.to_owned(), name.to_owned())) {
            state.is_going = true;
        }
    }

    pub(super) fn note_written(&mut self, work: &SeenWork, wanted: ContentDigest) {
        let echoed = work.spec;
        if self.incoming.is_some() {
            // The server may have looked before.
            self.list(work);
        }
        if let Some(state) = self.state(&place(work)) {
            state.written = Some((wanted, echoed));
        }
    }
}

fn place(work: &SeenWork) -> Place {
    (work.namespace().unwrap_or_default(), work.name_any())
}

/// Kubernetes lets clients compare versions of one resource as numbers.
fn version(work: &SeenWork) -> u64 {
    let version = work.resource_version();
    version
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn work(version: &str, binding: &str, spec: Value, status: Value) -> SeenWork {
        serde_json::from_value(json!({
            "metadata": {"namespace": "cluster1", "name": "w", "resourceVersion": version,
                "generation": 2,
                "labels": {"transport.kubestellar.io/originOwnerReferenceBindingKey": binding}},
            "spec": spec, "status": status,
        }))
        .expect("a work")
    }

    fn names(concerned: Concerned) -> Vec<String> {
        concerned.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_answer_that_was_faster_than_the_watch_counts() {
        let mut seen = Seen::default();
        assert_eq!(
            names(seen.see(&work("5", "b", json!({"a": 1}), json!({})))),
            ["b"]
        );
        assert_eq!(
            names(seen.see(&work("4", "b", json!({"a": 0}), json!({})))),
            [""; 0]
        );
        assert_eq!(
            names(seen.see(&work("6", "b", json!({"a": 1}), json!({})))),
            [""; 0]
        );
        assert_eq!(
            names(seen.miss(&work("5", "b", json!({"a": 1}), json!({})))),
            [""; 0]
        );
        assert!(seen.of("b")["cluster1"]["w"].says(ContentDigest::of(&json!({"a": 1}))));
        assert_eq!(
            names(seen.miss(&work("7", "b", json!({"a": 1}), json!({})))),
            ["b"]
        );
        assert!(seen.of("b").is_empty());
    }

    fn says(seen: &Seen, spec: &Value) -> bool {
        let work = seen.of("b").get("cluster1").and_then(|all| all.get("w"));
        work.is_some_and(|work| work.says(ContentDigest::of(spec)))
    }

    #[test]
    fn a_list_replaces_what_was_seen_even_if_versions_go_back() {
        let (new, old) = (json!({"a": 1}), json!({"a": 0}));
        let mut seen = Seen::default();
        seen.see(&work("100", "b", new.clone(), json!({})));
        seen.begin_list();
        seen.list(&work("50", "b", old.clone(), json!({})));
        assert!(says(&seen, &new), "the list is not complete");
        assert_eq!(names(seen.end_list()), ["b"]);
        assert!(says(&seen, &old));
        assert_eq!(
            names(seen.see(&work("51", "b", new.clone(), json!({})))),
            ["b"]
        );
        assert!(says(&seen, &new));

        seen.begin_list();
        seen.list(&work("51", "b", new.clone(), json!({})));
        assert_eq!(names(seen.end_list()), [""; 0]);
        seen.begin_list();
        assert_eq!(names(seen.end_list()), ["b"]);
        assert!(seen.of("b").is_empty());
    }

    #[test]
    fn what_is_written_after_a_list_began_outlasts_it() {
        let (new, old) = (json!({"a": 1}), json!({"a": 0}));
        let write = |seen: &mut Seen, version: &str| {
            let answer = work(version, "b", new.clone(), json!({}));
            seen.see(&answer);
            seen.note_written(&answer, ContentDigest::of(&new));
        };
        // It replaces what the server listed, in whatever order the two arrive.
        for is_listed_first in [true, false] {
            let mut seen = Seen::default();
            // From before a restore.
            seen.see(&work("100", "b", old.clone(), json!({})));
            seen.begin_list();
            let listed = work("50", "b", old.clone(), json!({}));
            if is_listed_first {
                seen.list(&listed);
            }
            write(&mut seen, "60");
            if !is_listed_first {
                seen.list(&listed);
            }
            seen.end_list();
            assert!(says(&seen, &new));
        }
        let mut seen = Seen::default();
        seen.begin_list();
        write(&mut seen, "60");
        seen.end_list();
        assert!(says(&seen, &new), "the server looked before it was there");
    }

    #[test]
    fn what_a_server_adds_to_a_written_spec_is_no_difference() {
        let mut seen = Seen::default();
        let wanted = ContentDigest::of(&json!({"a": 1}));
        let echoed = work("5", "b", json!({"a": 1, "added": true}), json!({}));
        seen.see(&echoed);
        assert!(!seen.of("b")["cluster1"]["w"].says(wanted));
        seen.note_written(&echoed, wanted);
        assert!(seen.of("b")["cluster1"]["w"].says(wanted));
        seen.see(&work(
            "6",
            "b",
            json!({"a": 1, "added": true}),
            json!({"conditions": []}),
        ));
        assert!(seen.of("b")["cluster1"]["w"].says(wanted));
        seen.see(&work("7", "b", json!({"a": 2}), json!({})));
        assert!(!seen.of("b")["cluster1"]["w"].says(wanted));
    }

    #[test]
    fn a_label_that_is_changed_by_hand_concerns_both_bindings() {
        let mut seen = Seen::default();
        seen.see(&work("5", "b", json!({}), json!({})));
        assert_eq!(
            names(seen.see(&work("6", "c", json!({}), json!({})))),
            ["b", "c"]
        );
        assert!(seen.of("b").is_empty());
    }

    #[test]
    fn the_agents_word_counts_for_the_content_it_speaks_of() {
        let applied = |status: &str, generation: i64| {
            let work = work(
                "5",
                "b",
                json!({}),
                json!({
                    "conditions": [{"type": "Applied", "status": status, "reason": "r",
                        "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z",
                        "observedGeneration": generation}],
                    "resourceStatus": {"manifests": [{"resourceMeta": {"kind": "Secret", "name": "s"},
                        "conditions": [{"type": "Applied", "status": "False", "reason": "r",
                            "message": "forbidden",
                            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}]},
                }),
            );
            Applied::of(&work)
        };
        assert_eq!(applied("True", 1), Applied::Unknown);
        assert_eq!(applied("True", 2), Applied::Yes);
        assert_eq!(
            applied("False", 2),
            Applied::No("Secret s: forbidden".to_owned())
        );
    }
}
