//! Which pods the node can run, and the command line, environment and limits they run with.

use std::collections::BTreeMap;

use hyades_api::image;
use hyades_runtime::k8s_openapi::api::core::v1::Container;
use hyades_runtime::k8s_openapi::api::core::v1::EnvVar;
use hyades_runtime::k8s_openapi::api::core::v1::Pod;
use hyades_runtime::k8s_openapi::api::core::v1::PodSpec;

/// Why a pod stays Pending on this node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The image is not Hyades'.
    #[error(
        "the space's process node runs only Hyades' own image, and container {container:?} wants {image:?}; \
         run this workload on a cluster with a container runtime"
    )]
    ForeignImage {
        /// The container's name.
        container: String,
        /// Its image.
        image: String,
    },
    /// The command is not a component of Hyades.
    #[error(
        "container {container:?} runs {command:?}; the process node runs only `hyades component NAME`"
    )]
    ForeignCommand {
        /// The container's name.
        container: String,
        /// Its command and arguments.
        command: Vec<String>,
    },
    /// The pod uses something that needs a container runtime.
    #[error("the process node cannot provide {what}, which the pod asks for")]
    NeedsContainer {
        /// What the pod asks for.
        what: String,
    },
}

/// One container of an admitted pod, ready to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The container's name.
    pub container: String,
    /// Arguments after the binary.
    pub arguments: Vec<String>,
    /// The declared environment; sources other than literals and pod fields are refused.
    pub environment: BTreeMap<String, String>,
    /// Declared container ports, to be mapped to free ports.
    pub ports: Vec<u16>,
    /// The memory limit in bytes, above which the process is killed.
    pub memory_bytes_max: Option<u64>,
}

/// Decides whether the node can run the pod, and how.
///
/// # Errors
/// The reason for which the pod must stay Pending.
pub fn admit(pod: &Pod) -> Result<Vec<Program>, Refusal> {
    let spec = pod
        .spec
        .as_ref()
        .ok_or_else(|| needs("a pod without a specification"))?;
    check_pod(spec)?;
    spec.containers
        .iter()
        .map(|container| program(pod, container))
        .collect()
}

fn needs(what: &str) -> Refusal {
    Refusal::NeedsContainer {
        what: what.to_owned(),
    }
}

fn check_pod(spec: &PodSpec) -> Result<(), Refusal> {
    for container in spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
    {
        let image = container.image.clone().unwrap_or_default();
        if !image::is_hyades(&image) {
            return Err(Refusal::ForeignImage {
                container: container.name.clone(),
                image,
            });
        }
    }
    if spec
        .init_containers
        .as_ref()
        .is_some_and(|list| !list.is_empty())
    {
        return Err(needs("init containers"));
    }
    // The service account's projected volume is replaced by a kubeconfig, so it is no obstacle.
    let mounted = spec
        .volumes
        .iter()
        .flatten()
        .find(|volume| volume.projected.is_none() && volume.empty_dir.is_none());
    match mounted {
        Some(volume) => Err(needs(&format!("volume {:?}", volume.name))),
        None => Ok(()),
    }
}

fn program(pod: &Pod, container: &Container) -> Result<Program, Refusal> {
    let command = container.command.clone().unwrap_or_default();
    let arguments = container.args.clone().unwrap_or_default();
    let is_component = matches!(command.as_slice(), [] | [_])
        && command.first().is_none_or(|name| name == "hyades")
        && arguments
            .first()
            .is_some_and(|argument| argument == "component");
    if !is_component {
        return Err(Refusal::ForeignCommand {
            container: container.name.clone(),
            command: command.into_iter().chain(arguments).collect(),
        });
    }
    if container
        .env_from
        .as_ref()
        .is_some_and(|list| !list.is_empty())
    {
        return Err(needs("envFrom"));
    }
    let mut environment = BTreeMap::new();
    for variable in container.env.iter().flatten() {
        if steers_the_loader(&variable.name) {
            return Err(needs(&format!("environment variable {:?}", variable.name)));
        }
        let value = variable_value(pod, variable)?;
        let value = expand(&value, &environment);
        environment.insert(variable.name.clone(), value);
    }
    Ok(Program {
        container: container.name.clone(),
        arguments: arguments
            .iter()
            .map(|argument| expand(argument, &environment))
            .collect(),
        environment,
        ports: container
            .ports
            .iter()
            .flatten()
            .filter_map(|port| u16::try_from(port.container_port).ok())
            .collect(),
        memory_bytes_max: container
            .resources
            .as_ref()
            .and_then(|resources| resources.limits.as_ref())
            .and_then(|limits| limits.get("memory"))
            .and_then(|quantity| bytes(&quantity.0)),
    })
}

/// Whether a variable makes the dynamic loader run or write files of somebody's choice, which in a
/// container would be the container's and here are the host's.
fn steers_the_loader(variable: &str) -> bool {
    variable.starts_with("LD_") || variable == "GLIBC_TUNABLES"
}

fn variable_value(pod: &Pod, variable: &EnvVar) -> Result<String, Refusal> {
    let Some(source) = &variable.value_from else {
        return Ok(variable.value.clone().unwrap_or_default());
    };
    let path = source
        .field_ref
        .as_ref()
        .map(|field| field.field_path.as_str());
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    let value = match path {
        Some("metadata.name") => metadata.name.clone(),
        Some("metadata.namespace") => metadata.namespace.clone(),
        Some("metadata.uid") => metadata.uid.clone(),
        Some("spec.serviceAccountName") => spec.and_then(|spec| spec.service_account_name.clone()),
        Some("spec.nodeName") => spec.and_then(|spec| spec.node_name.clone()),
        Some("status.podIP" | "status.hostIP") => Some("127.0.0.1".to_owned()),
        _ => {
            return Err(needs(&format!(
                "the source of environment variable {:?}",
                variable.name
            )));
        }
    };
    Ok(value.unwrap_or_default())
}

/// Expands `$(NAME)` as the kubelet does: unknown names stay, `$$` is a literal dollar sign.
fn expand(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find('$') {
        expanded.push_str(&rest[..place]);
        let after = &rest[place + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            expanded.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'))
        {
            match environment.get(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.push_str(&rest[place..place + name.len() + 3]),
            }
            rest = tail;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    expanded
}

/// Bytes of a memory quantity; fractions and exponents beyond the usual suffixes give `None`.
fn bytes(quantity: &str) -> Option<u64> {
    let digits = quantity
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(quantity.len());
    let number: u64 = quantity[..digits].parse().ok()?;
    let factor = match &quantity[digits..] {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(container: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "agent-1", "namespace": "n"},
            "spec": {"containers": [container], "serviceAccountName": "sa"},
        }))
        .expect("a pod")
    }

    #[test]
    fn a_component_of_hyades_is_admitted_with_its_expanded_arguments() {
        let pod = pod(json!({
            "name": "c", "image": image::reference(), "command": ["hyades"],
            "args": ["component", "hub", "--name=$(POD_NAME)", "$$(POD_NAME)", "$(NONE)"],
            "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "ports": [{"containerPort": 8000}],
            "resources": {"limits": {"memory": "64Mi"}},
        }));
        let programs = admit(&pod).expect("admitted");
        assert_eq!(
            programs[0].arguments,
            [
                "component",
                "hub",
                "--name=agent-1",
                "$(POD_NAME)",
                "$(NONE)"
            ]
        );
        assert_eq!(programs[0].ports, [8000]);
        assert_eq!(programs[0].memory_bytes_max, Some(64 << 20));
    }

    #[test]
    fn foreign_images_are_refused_by_name() {
        let refusal = admit(&pod(json!({"name": "c", "image": "nginx"}))).expect_err("refused");
        assert!(refusal.to_string().contains("\"nginx\""), "{refusal}");
    }

    #[test]
    fn only_components_may_run_even_from_our_own_image() {
        let image = image::reference();
        for (command, args) in [
            (json!(["sh", "-c"]), json!(["component"])),
            (json!(["sh"]), json!(["component"])),
            (json!(["hyades"]), json!(["up", "--data-dir", "/"])),
            (json!(null), json!([])),
        ] {
            let pod = pod(json!({"name": "c", "image": image, "command": command, "args": args}));
            assert!(
                matches!(admit(&pod), Err(Refusal::ForeignCommand { .. })),
                "{pod:?}"
            );
        }
    }

    #[test]
    fn no_pod_steers_the_loader_of_its_process() {
        for name in ["LD_PRELOAD", "LD_AUDIT", "GLIBC_TUNABLES"] {
            let pod = pod(json!({
                "name": "c", "image": image::reference(), "args": ["component", "hub"],
                "env": [{"name": name, "value": "/tmp/x.so"}],
            }));
            let refusal = admit(&pod).expect_err("refused");
            assert!(refusal.to_string().contains(name), "{refusal}");
        }
    }

    #[test]
    fn volumes_that_need_a_mount_are_refused() {
        let mut pod = pod(json!({
            "name": "c", "image": image::reference(), "args": ["component", "hub"],
        }));
        let spec = pod.spec.as_mut().expect("spec");
        spec.volumes =
            serde_json::from_value(json!([{"name": "v", "secret": {"secretName": "s"}}])).ok();
        assert!(matches!(admit(&pod), Err(Refusal::NeedsContainer { .. })));
    }
}
