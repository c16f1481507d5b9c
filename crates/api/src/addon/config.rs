//! Settings that the agents of several add-ons share.

use crate::kind::kind;
use crate::kind::part;
use crate::names::ADDON_GROUP;
use serde_json::Value;
use std::collections::BTreeMap;

kind! {
    /// Common settings for the agents of add-ons.
    ///
    /// The spec is JSON as it was written, because its fingerprint covers all of it; see
    /// [`AddOnDeploymentConfig::settings`].
    AddOnDeploymentConfig, ADDON_GROUP, "v1alpha1", "addondeploymentconfigs", NamespaceResourceScope,
    spec: Value
}

part! {
    /// Common settings for the agents of add-ons.
    AddOnDeploymentConfigSpec {
        /// Values for the placeholders of templates.
        customized_variables: Vec<CustomizedVariable>,
        /// Where pods run.
        node_placement: Option<NodePlacement>,
        /// Where images come from instead.
        registries: Vec<ImageMirror>,
        /// How pods reach the outside.
        proxy_config: Option<ProxyConfig>,
        /// Namespace of the agent in the WEC.
        agent_install_namespace: String,
        /// Resources of containers; of several that match, the last counts.
        resource_requirements: Vec<ContainerResources>,
    }
}

part! {
    /// A value for a placeholder.
    CustomizedVariable {
        /// Name of the placeholder.
        name: String,
        /// Its value.
        value: String,
    }
}

part! {
    /// Where pods run.
    NodePlacement {
        /// Labels of the nodes.
        node_selector: BTreeMap<String, String>,
        /// Taints that are tolerated, as in a pod.
        tolerations: Vec<Value>,
    }
}

part! {
    /// Where images come from instead.
    ImageMirror {
        /// Start of the image's name; empty for the registry of any image.
        source: String,
        /// What stands there instead.
        mirror: String,
    }
}

part! {
    /// How pods reach the outside.
    ProxyConfig {
        /// For `http` URLs.
        http_proxy: String,
        /// For `https` URLs.
        https_proxy: String,
        /// Hosts reached without it, separated by commas.
        no_proxy: String,
        /// Authorities of the proxy, PEM in base64.
        ca_bundle: String,
    }
}

part! {
    /// Resources of the containers of a certain name.
    ContainerResources {
        /// `RESOURCE:NAME:CONTAINER`, each a word or `*`.
        #[serde(rename = "containerID")]
        container_id: String,
        /// `limits` and `requests`, as in a container.
        resources: Value,
    }
}

impl AddOnDeploymentConfig {
    /// The settings.
    ///
    /// # Errors
    ///
    /// When the spec is not of their shape, which the API does not let in.
    pub fn settings(&self) -> Result<AddOnDeploymentConfigSpec, serde_json::Error> {
        serde::Deserialize::deserialize(&self.spec)
    }
}
