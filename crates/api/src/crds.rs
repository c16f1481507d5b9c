//! The custom resource definitions that an ITS, a WDS and a WEC serve, as complete JSON objects.
//!
//! Each definition is kept as data in `crds/*.schema`, in the small notation that [`notation`]
//! describes, and turned into a `CustomResourceDefinition` when asked for. So the facts stay
//! readable side by side, and the repeated shapes (conditions, quantities, label selectors) are
//! written once.
//!
//! The add-on kinds have two versions. The definitions say nothing of conversion: a hub that runs
//! writes its own address there (`spec.conversion.webhook`), and answers with `addon::review`.

mod notation;

use serde_json::Value;

/// Who needs a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// An ITS, before its hub starts.
    Hub,
    /// A WEC, before its agents start.
    Managed,
    /// An ITS that a WDS sends its works to.
    Transport,
    /// A WDS, before its controllers start.
    Description,
    /// The operator on an ITS; applied by `clusteradm init`.
    HubOperator,
    /// The operator on a WEC; applied by `clusteradm join`.
    ManagedOperator,
}

struct Source {
    plural: &'static str,
    home: Home,
    text: &'static str,
}

macro_rules! source {
    ($home:ident, $plural:literal) => {
        Source {
            plural: $plural,
            home: Home::$home,
            text: include_str!(concat!("../crds/", $plural, ".schema")),
        }
    };
}

/// Every definition, in the order in which they are applied.
static SOURCES: [Source; 25] = [
    source!(Hub, "managedclusters"),
    source!(Hub, "managedclustersets"),
    source!(Hub, "managedclustersetbindings"),
    source!(Hub, "placements"),
    source!(Hub, "placementdecisions"),
    source!(Hub, "addonplacementscores"),
    source!(Hub, "manifestworks"),
    source!(Hub, "manifestworkreplicasets"),
    source!(Hub, "clustermanagementaddons"),
    source!(Hub, "managedclusteraddons"),
    source!(Hub, "addondeploymentconfigs"),
    source!(Hub, "addontemplates"),
    source!(Hub, "clusterprofiles"),
    source!(Hub, "joinrules"),
    source!(Managed, "appliedmanifestworks"),
    source!(Managed, "clusterclaims"),
    source!(Managed, "clusterproperties"),
    source!(Description, "bindingpolicies"),
    source!(Description, "bindings"),
    source!(Description, "customtransforms"),
    source!(Description, "statuscollectors"),
    source!(Description, "combinedstatuses"),
    source!(Transport, "workstatuses"),
    source!(HubOperator, "clustermanagers"),
    source!(ManagedOperator, "klusterlets"),
];

/// All definitions.
pub fn all() -> Vec<Value> {
    SOURCES.iter().map(render).collect()
}

/// The definitions that an ITS needs before its hub can work; without `clustermanagers`, which
/// `clusteradm init` applies first.
pub fn hub() -> Vec<Value> {
    of(Home::Hub)
}

/// The definitions that a WEC needs before its agents can work; without `klusterlets`, which
/// `clusteradm join` applies first.
pub fn managed() -> Vec<Value> {
    of(Home::Managed)
}

/// The definitions that a WDS needs before its controllers can work.
pub fn description() -> Vec<Value> {
    of(Home::Description)
}

/// The definitions that an ITS needs beside those of [`hub`] before a WDS can use it.
pub fn transport() -> Vec<Value> {
    of(Home::Transport)
}

/// The definition of `ClusterManager`, the settings of an ITS's hub.
pub fn cluster_manager() -> Value {
    named("clustermanagers")
}

/// The definition of `Klusterlet`, the settings of a WEC's agent.
pub fn klusterlet() -> Value {
    named("klusterlets")
}

/// The definition with this plural name, for example `manifestworks`.
pub fn by_plural(plural: &str) -> Option<Value> {
    source(plural).map(render)
}

fn of(home: Home) -> Vec<Value> {
    SOURCES
        .iter()
        .filter(|source| source.home == home)
        .map(render)
        .collect()
}

fn named(plural: &str) -> Value {
    by_plural(plural).expect("the names asked for here are rows of SOURCES")
}

fn source(plural: &str) -> Option<&'static Source> {
    SOURCES.iter().find(|source| source.plural == plural)
}

fn render(source: &Source) -> Value {
    let parsed = notation::parse(source.text, &|plural| self::source(plural).map(|s| s.text));
    // The text is compiled in and a test parses every file, so this is no runtime condition.
    parsed.unwrap_or_else(|error| panic!("crds/{}.schema: {error}", source.plural))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_definition_parses_and_names_itself() {
        let all = all();
        assert_eq!(all.len(), SOURCES.len());
        for (crd, source) in all.iter().zip(&SOURCES) {
            let name = crd["metadata"]["name"].as_str().unwrap();
            let group = crd["spec"]["group"].as_str().unwrap();
            assert_eq!(name, format!("{}.{group}", source.plural));
            let storage = crd["spec"]["versions"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|version| version["storage"] == true)
                .count();
            assert_eq!(storage, 1, "{name} stores in exactly one version");
        }
    }

    #[test]
    fn homes_share_out_all_definitions() {
        let shares = [hub(), managed(), description(), transport()];
        assert_eq!(shares.iter().map(Vec::len).sum::<usize>() + 2, all().len());
        assert_eq!(cluster_manager()["spec"]["names"]["kind"], "ClusterManager");
        assert_eq!(klusterlet()["spec"]["names"]["kind"], "Klusterlet");
        assert!(by_plural("pods").is_none());
    }

    #[test]
    fn managed_clusters_show_upstreams_columns_and_defaults() {
        let crd = by_plural("managedclusters").unwrap();
        assert_eq!(crd["spec"]["names"]["shortNames"], json!(["mcl", "mcls"]));
        assert_eq!(crd["spec"]["scope"], "Cluster");
        let version = &crd["spec"]["versions"][0];
        let columns: Vec<_> = version["additionalPrinterColumns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| column["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            columns,
            [
                "Hub Accepted",
                "Managed Cluster URLs",
                "Joined",
                "Available",
                "Age"
            ]
        );
        assert_eq!(version["subresources"], json!({"status": {}}));
        let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        assert_eq!(
            spec["leaseDurationSeconds"],
            json!({"type": "integer", "format": "int32", "default": 60})
        );
        assert_eq!(
            spec["taints"]["items"]["required"],
            json!(["effect", "key"])
        );
    }

    #[test]
    fn a_replica_set_of_works_carries_the_schema_of_a_work() {
        let work = by_plural("manifestworks").unwrap();
        let set = by_plural("manifestworkreplicasets").unwrap();
        let properties = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
        let template = set
            .pointer(&format!("{properties}/properties/manifestWorkTemplate"))
            .unwrap();
        assert_eq!(template, work.pointer(properties).unwrap());
        assert!(template["properties"]["workload"].is_object());
    }

    #[test]
    fn manifests_in_a_work_keep_unknown_fields() {
        let work = by_plural("manifestworks").unwrap();
        let manifest = work
            .pointer(
                "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/workload/\
                 properties/manifests/items",
            )
            .unwrap();
        assert_eq!(
            *manifest,
            json!({
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "x-kubernetes-embedded-resource": true,
            })
        );
    }

    #[test]
    fn a_policy_has_upstreams_columns_and_checks_its_selectors() {
        let crd = by_plural("bindingpolicies").unwrap();
        assert_eq!(crd["spec"]["names"]["shortNames"], json!(["bp"]));
        let version = &crd["spec"]["versions"][0];
        let columns = version["additionalPrinterColumns"].as_array().unwrap();
        let headings: Vec<_> = columns.iter().map(|column| &column["name"]).collect();
        assert_eq!(headings, ["SYNCED", "READY", "TYPE", "AGE"]);
        let schema = &version["schema"]["openAPIV3Schema"]["properties"];
        assert_eq!(schema["status"]["required"], json!(["observedGeneration"]));
        let clause = &schema["spec"]["properties"]["downsync"]["items"];
        assert_eq!(clause["anyOf"].as_array().unwrap().len(), 6);
        for selector in [
            &schema["spec"]["properties"]["clusterSelectors"]["items"],
            &clause["properties"]["objectSelectors"]["items"],
            &clause["properties"]["namespaceSelectors"]["items"],
        ] {
            let operator = "/properties/matchExpressions/items/properties/operator/pattern";
            assert_eq!(
                selector.pointer(operator).unwrap(),
                "^(In|NotIn|Exists|DoesNotExist)$"
            );
        }
    }

    #[test]
    fn an_object_of_a_binding_is_known_without_its_version() {
        let crd = by_plural("bindings").unwrap();
        let workload = crd
            .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/workload/properties")
            .unwrap();
        let keys = |scope: &str| workload[scope]["x-kubernetes-list-map-keys"].clone();
        assert_eq!(keys("clusterScope"), json!(["group", "resource", "name"]));
        assert_eq!(
            keys("namespaceScope"),
            json!(["group", "resource", "namespace", "name"])
        );
        let transform = by_plural("customtransforms").unwrap();
        assert_eq!(transform["spec"]["names"]["categories"], json!(["all"]));
    }

    #[test]
    fn add_on_kinds_serve_both_versions() {
        let crd = by_plural("managedclusteraddons").unwrap();
        let versions: Vec<_> = crd["spec"]["versions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|version| {
                (
                    version["name"].as_str().unwrap(),
                    version["storage"] == true,
                )
            })
            .collect();
        assert_eq!(versions, [("v1alpha1", true), ("v1beta1", false)]);
    }
}
