//! Which objects are reported on, under which names, and what is written about them. Pure.

use hyades_api::control::SourceReference;
use hyades_api::control::StatusDetails;
use hyades_api::control::WorkStatus;
use hyades_api::control::WorkStatusSpec;
use hyades_api::control::names::labels;
use hyades_api::names::WORK_GROUP;
use hyades_api::work::AppliedManifestWork;
use hyades_api::work::ManifestResourceMeta;
use hyades_api::work::ManifestWork;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ApiResource;
use hyades_runtime::kube::api::ObjectMeta;
use jiff::Timestamp;
use serde_json::Value;
use sha2::Digest;
use sha2::Sha256;
use std::collections::BTreeMap;
use std::collections::HashSet;

/// Longest name of an object; KubeStellar cuts the names of its reports there.
const NAME_LENGTH_MAX: usize = 253;

/// Kinds whose status says nothing, and which are not reported on: group and kind.
const WITHOUT_STATUS: [(&str, &str); 7] = [
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("", "Secret"),
    ("", "ConfigMap"),
    ("", "ServiceAccount"),
];

/// A resource of the WEC, as far as it is needed to watch it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Served {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
}

impl Served {
    pub(super) fn api_resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.clone(),
            version: self.version.clone(),
            api_version: group_version(&self.group, &self.version),
            // Only the plural is part of a URL.
            kind: String::new(),
            plural: self.plural.clone(),
        }
    }
}

/// An object in the WEC.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Subject {
    pub(super) served: Served,
    /// Empty for the cluster scope.
    pub(super) namespace: String,
    pub(super) name: String,
}

/// A report that shall exist while its subject does.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Want {
    pub(super) subject: Subject,
    pub(super) kind: String,
    /// The work's name and uid.
    pub(super) work: (String, String),
    /// The work's labels.
    pub(super) labels: BTreeMap<String, String>,
}

/// What was seen of a subject that exists.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sight {
    /// Its status, word for word.
    pub(super) status: Option<Value>,
    /// The value of its label about singleton status.
    pub(super) singleton: Option<String>,
}

/// Whether a work came from KubeStellar, whose works alone are reported on.
pub(super) fn is_kubestellars(work: &ManifestWork) -> bool {
    let marks = |key: &String| labels::ORIGIN_PREFIXES.iter().any(|it| key.starts_with(it));
    work.labels().keys().any(marks)
}

/// The reports about a work, by their names: about what exists because of it, so that a work says
/// nothing of objects that its author may not have.
pub(super) fn wanted(work: &ManifestWork, applied: &AppliedManifestWork) -> BTreeMap<String, Want> {
    if !is_kubestellars(work) || work.metadata.deletion_timestamp.is_some() {
        return BTreeMap::new();
    }
    let owned: HashSet<(&str, &str, &str, &str)> = applied
        .status
        .applied_resources
        .iter()
        .map(|it| (&*it.group, &*it.resource, &*it.namespace, &*it.name))
        .collect();
    let manifests = work.status.resource_status.manifests.iter();
    let known = manifests
        .map(|manifest| &manifest.resource_meta)
        .filter(|it| owned.contains(&(&*it.group, &*it.resource, &*it.namespace, &*it.name)))
        .filter(|meta| has_status(meta));
    let applied_uid = applied.uid().unwrap_or_default();
    known
        .map(|meta| {
            let want = Want {
                subject: Subject {
                    served: Served {
                        group: meta.group.clone(),
                        version: meta.version.clone(),
                        plural: meta.resource.clone(),
                    },
                    namespace: meta.namespace.clone(),
                    name: meta.name.clone(),
                },
                kind: meta.kind.clone(),
                work: (work.name_any(), work.uid().unwrap_or_default()),
                labels: work.labels().clone(),
            };
            (report_name(&applied_uid, meta), want)
        })
        .collect()
}

fn has_status(meta: &ManifestResourceMeta) -> bool {
    !WITHOUT_STATUS.contains(&(meta.group.as_str(), meta.kind.as_str()))
}

fn group_version(group: &str, version: &str) -> String {
    match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    }
}

/// The name of a report as KubeStellar's status add-on gives it.
fn report_name(applied_uid: &str, meta: &ManifestResourceMeta) -> String {
    let group_version = format!("{}{}", meta.group, meta.version).to_lowercase();
    let kind = meta.kind.to_lowercase();
    let (namespace, name) = (&meta.namespace, &meta.name);
    let whole = format!("{applied_uid}-{group_version}-{kind}-{namespace}-{name}");
    let cut = whole.chars().take(NAME_LENGTH_MAX).collect::<String>();
    // An object's name ends with a letter or a digit.
    let end = |character: char| !character.is_ascii_alphanumeric();
    cut.trim_end_matches(end).to_owned()
}

/// What is to be done about a report.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    Nothing,
    Create,
    /// Its labels are others, and perhaps its status.
    Relabel,
    Update,
    Delete,
}

/// Decides, from what is wanted and seen, and from the report as it is, its status being a
/// [`digest`].
pub(super) fn decide(
    want: Option<&Want>,
    sight: Option<&Sight>,
    report: Option<&WorkStatus>,
) -> Action {
    match (want.zip(sight), report) {
        (None, None) => Action::Nothing,
        (None, Some(_)) => Action::Delete,
        (Some(_), None) => Action::Create,
        (Some((want, sight)), Some(report)) if report.labels() != &labels_of(want, sight) => {
            Action::Relabel
        }
        (Some((_, sight)), Some(report)) if report.status != digest(sight.status.as_ref()) => {
            Action::Update
        }
        _ => Action::Nothing,
    }
}

pub(super) fn labels_of(want: &Want, sight: &Sight) -> BTreeMap<String, String> {
    let mut all = want.labels.clone();
    if let Some(value) = &sight.singleton {
        all.insert(labels::SINGLETON_STATUS.to_owned(), value.clone());
    }
    all
}

/// What is kept of a status to tell it from others: statuses may be large, and there are as many as
/// objects.
pub(super) fn digest(status: Option<&Value>) -> Value {
    match status.filter(|status| !status.is_null()) {
        None => Value::Null,
        Some(status) => {
            let hash = Sha256::digest(status.to_string());
            hash.iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
                .into()
        }
    }
}

/// A report as it is created and updated.
pub(super) fn report(name: &str, namespace: &str, want: &Want, sight: &Sight) -> WorkStatus {
    let (work, uid) = want.work.clone();
    let served = &want.subject.served;
    WorkStatus {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels_of(want, sight)),
            owner_references: Some(vec![OwnerReference {
                api_version: format!("{WORK_GROUP}/v1"),
                kind: "ManifestWork".to_owned(),
                name: work,
                uid,
                controller: Some(true),
                block_owner_deletion: None,
            }]),
            ..ObjectMeta::default()
        },
        spec: WorkStatusSpec {
            source_ref: SourceReference {
                group: served.group.clone(),
                version: served.version.clone(),
                resource: served.plural.clone(),
                kind: want.kind.clone(),
                name: want.subject.name.clone(),
                namespace: want.subject.namespace.clone(),
            },
        },
        status: sight.status.clone().unwrap_or_default(),
        status_details: Some(StatusDetails {
            last_generation: 0,
            last_generation_is_applied: false,
            last_currency_update_time: Time(Timestamp::UNIX_EPOCH),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn work(labels: Value) -> ManifestWork {
        let meta = |group: &str, kind: &str, resource: &str, namespace: &str| {
            json!({"resourceMeta": {
                "group": group, "version": "v1", "kind": kind, "resource": resource,
                "namespace": namespace, "name": "nginx", "ordinal": 0,
            }, "conditions": []})
        };
        serde_json::from_value(json!({
            "metadata": {"name": "w", "uid": "u", "labels": labels},
            "status": {"resourceStatus": {"manifests": [
                meta("apps", "Deployment", "deployments", "nginx"),
                meta("", "Namespace", "namespaces", ""),
                meta("", "ConfigMap", "configmaps", "nginx"),
                meta("example.com", "Unknown", "", "nginx"),
                meta("example.com", "Refused", "refuseds", "nginx"),
            ]}},
        }))
        .expect("a work")
    }

    /// What exists because of that work: a Secret of the same name does not.
    fn applied() -> AppliedManifestWork {
        let resource = |group: &str, resource: &str, namespace: &str| {
            json!({"group": group, "version": "v1", "resource": resource,
                "namespace": namespace, "name": "nginx", "uid": "u"})
        };
        serde_json::from_value(json!({
            "metadata": {"name": "a", "uid": "1234"},
            "spec": {},
            "status": {"appliedResources": [
                resource("apps", "deployments", "nginx"),
                resource("", "namespaces", ""),
                resource("", "configmaps", "nginx"),
            ]},
        }))
        .expect("a record")
    }

    fn kubestellars() -> Value {
        json!({labels::ORIGIN_WDS: "wds1"})
    }

    #[test]
    fn reports_have_upstreams_names_and_only_works_of_kubestellar_have_any() {
        let all = wanted(&work(kubestellars()), &applied());
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        let expected = [
            "1234-appsv1-deployment-nginx-nginx",
            "1234-v1-namespace--nginx",
        ];
        assert_eq!(names, expected);
        assert!(wanted(&work(json!({"app": "x"})), &applied()).is_empty());
        let managed = json!({"managed-by.kubestellar.io/x": ""});
        assert_eq!(wanted(&work(managed), &applied()).len(), 2);

        let mut meta = ManifestResourceMeta {
            name: "n".repeat(260),
            ..ManifestResourceMeta::default()
        };
        assert_eq!(report_name("u", &meta).len(), NAME_LENGTH_MAX);
        meta.name = format!("{}.{}", "n".repeat(NAME_LENGTH_MAX - 6), "n");
        assert!(report_name("u", &meta).ends_with('n'));
    }

    #[test]
    fn a_report_is_written_for_a_difference_and_for_nothing_else() {
        let all = wanted(&work(kubestellars()), &applied());
        let (name, want) = all.first_key_value().expect("a report");
        let sight = |replicas: i64| Sight {
            status: Some(json!({"replicas": replicas})),
            singleton: None,
        };
        let (one, two) = (sight(1), sight(2));
        assert_eq!(decide(Some(want), None, None), Action::Nothing);
        assert_eq!(decide(None, Some(&one), None), Action::Nothing);
        assert_eq!(decide(Some(want), Some(&one), None), Action::Create);
        let mut kept = report(name, "cluster1", want, &one);
        kept.status = digest(Some(&kept.status));
        let decide = |want, sight| decide(want, sight, Some(&kept));
        assert_eq!(decide(Some(want), Some(&one)), Action::Nothing);
        assert_eq!(decide(Some(want), Some(&two)), Action::Update);
        let bare = Sight {
            status: None,
            ..one.clone()
        };
        assert_eq!(decide(Some(want), Some(&bare)), Action::Update);
        let marked = Sight {
            singleton: Some("true".to_owned()),
            ..one.clone()
        };
        assert_eq!(decide(Some(want), Some(&marked)), Action::Relabel);
        assert_eq!(decide(Some(want), None), Action::Delete);
        assert_eq!(decide(None, Some(&one)), Action::Delete);
    }

    #[test]
    fn a_report_is_upstreams_to_the_letter() {
        let all = wanted(&work(kubestellars()), &applied());
        let (name, want) = all.first_key_value().expect("a report");
        let sight = Sight {
            status: Some(json!({"replicas": 1})),
            singleton: Some("true".to_owned()),
        };
        let written = serde_json::to_value(report(name, "cluster1", want, &sight));
        assert_eq!(
            written.expect("JSON"),
            json!({
                "apiVersion": "control.kubestellar.io/v1alpha1",
                "kind": "WorkStatus",
                "metadata": {
                    "name": "1234-appsv1-deployment-nginx-nginx",
                    "namespace": "cluster1",
                    "labels": {
                        labels::ORIGIN_WDS: "wds1",
                        "managed-by.kubestellar.io/singletonstatus": "true",
                    },
                    "ownerReferences": [{
                        "apiVersion": "work.open-cluster-management.io/v1",
                        "kind": "ManifestWork", "name": "w", "uid": "u", "controller": true,
                    }],
                },
                "spec": {"sourceRef": {
                    "group": "apps", "version": "v1", "resource": "deployments",
                    "kind": "Deployment", "namespace": "nginx", "name": "nginx",
                }},
                "status": {"replicas": 1},
                "statusDetails": {
                    "lastCurrencyUpdateTime": "1970-01-01T00:00:00Z",
                    "lastGeneration": 0,
                    "lastGenerationIsApplied": false,
                },
            })
        );
    }
}
