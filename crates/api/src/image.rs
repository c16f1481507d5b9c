//! The image whose only program is this project's binary, and the components it can run as.

use serde_json::Value;
use serde_json::json;
use std::fmt;
use std::str::FromStr;

/// Where the image is published.
pub const REPOSITORY: &str = "quay.io/hyades/hyades";

/// The program that pods of the image run.
pub const COMMAND: &str = "hyades";

/// The image of this version, for example `quay.io/hyades/hyades:v0.1.0`.
pub fn reference() -> String {
    format!("{REPOSITORY}:v{}", env!("CARGO_PKG_VERSION"))
}

/// Whether an image is this project's, in whichever registry and version: whether the last segment
/// of its repository is `hyades`.
pub fn is_hyades(image: &str) -> bool {
    let without_digest = image.split_once('@').map_or(image, |(name, _)| name);
    let last = without_digest
        .rsplit_once('/')
        .map_or(without_digest, |(_, last)| last);
    last.split_once(':').map_or(last, |(name, _)| name) == COMMAND
}

/// What a pod of the image runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Component {
    /// Operator of the hub.
    ClusterManager,
    /// The hub's controllers.
    Hub,
    /// Operator of the agent.
    Klusterlet,
    /// Registration, lease and status of a WEC.
    RegistrationAgent,
    /// Works of a WEC.
    WorkAgent,
    /// Both agents in one process.
    KlusterletAgent,
    /// Bindings, works and returned status of a WDS.
    Distribution,
}

/// What a container of ours may do in its pod: nothing beyond running as somebody.
pub fn security_context() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": true,
    })
}

/// A text that names no component.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "there is no component {0:?}; there are cluster-manager, hub, klusterlet, registration-agent, \
     work-agent, klusterlet-agent and distribution"
)]
pub struct UnknownComponent(String);

impl Component {
    /// Every component.
    pub const ALL: [Self; 7] = [
        Self::ClusterManager,
        Self::Hub,
        Self::Klusterlet,
        Self::RegistrationAgent,
        Self::WorkAgent,
        Self::KlusterletAgent,
        Self::Distribution,
    ];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterManager => "cluster-manager",
            Self::Hub => "hub",
            Self::Klusterlet => "klusterlet",
            Self::RegistrationAgent => "registration-agent",
            Self::WorkAgent => "work-agent",
            Self::KlusterletAgent => "klusterlet-agent",
            Self::Distribution => "distribution",
        }
    }

    /// The `args` of a container that runs `hyades` as this component.
    pub fn args(self, flags: impl IntoIterator<Item = String>) -> Vec<String> {
        let mut args = vec!["component".to_owned(), self.as_str().to_owned()];
        args.extend(flags);
        args
    }
}

impl fmt::Display for Component {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Component {
    type Err = UnknownComponent;

    fn from_str(text: &str) -> Result<Self, UnknownComponent> {
        Self::ALL
            .into_iter()
            .find(|component| component.as_str() == text)
            .ok_or_else(|| UnknownComponent(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_image_is_known_under_any_registry_version_and_digest() {
        assert!(is_hyades(&reference()));
        for own in [
            "hyades",
            "hyades:v1",
            "localhost:5000/hyades",
            "registry.example/mirror/hyades@sha256:00",
            "registry.example:443/a/hyades:v1@sha256:00",
        ] {
            assert!(is_hyades(own), "{own}");
        }
        for foreign in [
            "",
            "nginx",
            "hyades/other",
            "quay.io/hyades/hyades-extra:v1",
            "quay.io/hyades/my-hyades",
            "hyades.example/nginx",
        ] {
            assert!(!is_hyades(foreign), "{foreign}");
        }
    }

    #[test]
    fn every_component_is_found_by_its_name() {
        for component in Component::ALL {
            assert_eq!(component.as_str().parse(), Ok(component));
        }
        assert!("webhook".parse::<Component>().is_err());
        assert_eq!(
            Component::Hub.args(["--labels=a=b".to_owned()]),
            ["component", "hub", "--labels=a=b"]
        );
    }
}
