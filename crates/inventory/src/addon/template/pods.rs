//! What an AddOnTemplate's Deployments and DaemonSets get beyond what is written in them.

use hyades_api::addon::AddOnDeploymentConfigSpec;
use hyades_api::addon::AddOnTemplateSpec;
use hyades_api::addon::ContainerResources;
use hyades_api::addon::ImageMirror;
use hyades_api::addon::ProxyConfig;
use hyades_api::addon::identity::AddOnName;
use hyades_api::addon::names;
use hyades_runtime::k8s_openapi::ByteString;
use serde_json::Value;
use serde_json::json;

/// What is added.
pub(super) struct Decoration<'a> {
    pub(super) environment: Vec<(String, String)>,
    pub(super) registries: Vec<ImageMirror>,
    pub(super) addon: &'a AddOnName,
    pub(super) template: &'a AddOnTemplateSpec,
    pub(super) settings: Option<&'a AddOnDeploymentConfigSpec>,
}

/// Decorates the pods of a Deployment or DaemonSet; leaves everything else alone.
pub(super) fn decorate(manifest: &mut Value, decoration: &Decoration<'_>) {
    let resource = match (manifest["apiVersion"].as_str(), manifest["kind"].as_str()) {
        (Some("apps/v1"), Some("Deployment")) => "deployments",
        (Some("apps/v1"), Some("DaemonSet")) => "daemonsets",
        _ => return,
    };
    let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
    let owner = format!("{resource}:{name}");
    let Some(pod) = manifest.pointer_mut("/spec/template/spec") else {
        return;
    };
    if !pod.is_object() {
        return;
    }
    let mut environment = decoration.environment.clone();
    let mut volumes = volumes(decoration);
    if let Some(proxy) = proxy(decoration) {
        environment.extend(proxy_environment(proxy));
        if has_authorities(proxy) {
            let path = format!("{}/{}", names::PROXY_CA_DIRECTORY, names::PROXY_CA_KEY);
            environment.push(("CA_BUNDLE_FILE_PATH".to_owned(), path));
            volumes.push(Volume {
                name: "proxy-ca-bundle".to_owned(),
                directory: names::PROXY_CA_DIRECTORY.to_owned(),
                source: json!({"configMap": {"name": names::proxy_ca_config_map(decoration.addon)}}),
            });
        }
    }
    let containers = pod["containers"].as_array_mut();
    for container in containers.into_iter().flatten() {
        if container.is_object() {
            extend(container, &environment, &volumes);
            change(container, &owner, decoration);
        }
    }
    for volume in volumes {
        let mut entry = json!({"name": volume.name});
        if let (Some(entry), Value::Object(source)) = (entry.as_object_mut(), volume.source) {
            entry.extend(source);
        }
        push(pod, "volumes", entry);
    }
    if let Some(placement) = decoration
        .settings
        .and_then(|settings| settings.node_placement.as_ref())
    {
        if !placement.node_selector.is_empty() {
            pod["nodeSelector"] = json!(placement.node_selector);
        }
        if !placement.tolerations.is_empty() {
            pod["tolerations"] = json!(placement.tolerations);
        }
    }
}

struct Volume {
    name: String,
    directory: String,
    source: Value,
}

/// The Secrets with the add-on's credentials.
fn volumes(decoration: &Decoration<'_>) -> Vec<Volume> {
    let registrations = decoration.template.registration.iter();
    let volume = registrations.filter_map(|registration| match registration.r#type.as_str() {
        "KubeClient" => Some(Volume {
            name: "hub-kubeconfig".to_owned(),
            directory: names::HUB_KUBECONFIG_DIRECTORY.to_owned(),
            source: json!({
                "secret": {"secretName": names::hub_kubeconfig_secret(decoration.addon)},
            }),
        }),
        "CustomSigner" => {
            let signer = &registration.custom_signer.as_ref()?.signer_name;
            let flat = signer.replace('/', "-");
            let secret = names::client_certificate_secret(decoration.addon, signer);
            Some(Volume {
                name: format!("cert-{}", flat.replace('.', "-")),
                directory: format!("/managed/{flat}"),
                source: json!({"secret": {"secretName": secret}}),
            })
        }
        _ => None,
    });
    volume.collect()
}

fn push(object: &mut Value, list: &str, item: Value) {
    match object[list].as_array_mut() {
        Some(items) => items.push(item),
        None => object[list] = json!([item]),
    }
}

fn extend(container: &mut Value, environment: &[(String, String)], volumes: &[Volume]) {
    for (name, value) in environment {
        push(container, "env", json!({"name": name, "value": value}));
    }
    for volume in volumes {
        let mount = json!({"name": volume.name, "mountPath": volume.directory});
        push(container, "volumeMounts", mount);
    }
}

fn change(container: &mut Value, owner: &str, decoration: &Decoration<'_>) {
    if let Some(image) = container["image"].as_str() {
        let image = mirrored(image, &decoration.registries);
        container["image"] = json!(image);
    }
    let name = container["name"].as_str().unwrap_or_default();
    let identity = format!("{owner}:{name}");
    let requirements = decoration
        .settings
        .map(|settings| settings.resource_requirements.as_slice())
        .unwrap_or_default();
    if let Some(resources) = required(&identity, requirements) {
        container["resources"] = resources.clone();
    }
}

/// The resources of a container: of the last requirement that names it.
fn required<'a>(identity: &str, requirements: &'a [ContainerResources]) -> Option<&'a Value> {
    let mut matching = requirements
        .iter()
        .rev()
        .filter(|requirement| matches(&requirement.container_id, identity));
    matching.next().map(|requirement| &requirement.resources)
}

/// Whether a text matches a pattern in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else {
        return rest.is_empty();
    };
    for piece in middle {
        match rest.find(piece) {
            Some(start) => rest = &rest[start + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The image under its mirror: of those whose source it begins with, the last.
fn mirrored(image: &str, registries: &[ImageMirror]) -> String {
    let mut result = image.to_owned();
    for registry in registries {
        let mirror = registry.mirror.trim_end_matches('/');
        let source = registry.source.trim_end_matches('/');
        if source.is_empty() {
            let name = image.rsplit('/').next().unwrap_or(image);
            result = format!("{mirror}/{name}");
        } else if let Some(rest) = image.strip_prefix(source)
            && (rest.is_empty() || rest.starts_with(['/', ':', '@']))
        {
            result = format!("{mirror}{rest}");
        }
    }
    result
}

fn proxy<'a>(decoration: &Decoration<'a>) -> Option<&'a ProxyConfig> {
    let proxy = decoration.settings?.proxy_config.as_ref()?;
    let set = [&proxy.http_proxy, &proxy.https_proxy, &proxy.no_proxy];
    set.iter().any(|value| !value.is_empty()).then_some(proxy)
}

fn has_authorities(proxy: &ProxyConfig) -> bool {
    !proxy.ca_bundle.is_empty()
}

fn proxy_environment(proxy: &ProxyConfig) -> Vec<(String, String)> {
    let pairs = [
        ("HTTP_PROXY", &proxy.http_proxy),
        ("HTTPS_PROXY", &proxy.https_proxy),
        ("NO_PROXY", &proxy.no_proxy),
    ];
    pairs
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .flat_map(|(name, value)| [name.to_owned(), name.to_lowercase()].map(|name| (name, value)))
        .map(|(name, value)| (name, value.clone()))
        .collect()
}

/// The ConfigMap with the proxy's authorities, if there are any.
pub(super) fn proxy_authorities(decoration: &Decoration<'_>) -> Option<Value> {
    let proxy = proxy(decoration).filter(|proxy| has_authorities(proxy))?;
    let bundle: ByteString = serde_json::from_value(json!(proxy.ca_bundle)).ok()?;
    let pem = String::from_utf8_lossy(&bundle.0).into_owned();
    Some(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names::proxy_ca_config_map(decoration.addon),
            "namespace": super::common_namespace(),
        },
        "data": {names::PROXY_CA_KEY: pem},
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(source: &str, mirror: &str) -> ImageMirror {
        ImageMirror {
            source: source.to_owned(),
            mirror: mirror.to_owned(),
        }
    }

    #[test]
    fn images_come_from_their_mirrors_by_whole_words() {
        let all = [
            mirror("quay.io/open", "mirror.io/a"),
            mirror("quay.io/team/", "mirror.io/team"),
        ];
        assert_eq!(mirrored("quay.io/team/x:v1", &all), "mirror.io/team/x:v1");
        assert_eq!(mirrored("quay.io/opening/x", &all), "quay.io/opening/x");
        assert_eq!(mirrored("quay.io/open/x", &all), "mirror.io/a/x");
        let whole = [mirror("quay.io/team/x", "m.io/y")];
        assert_eq!(
            mirrored("quay.io/team/x@sha256:0", &whole),
            "m.io/y@sha256:0"
        );
        let any = [mirror("", "m.io/all")];
        assert_eq!(mirrored("quay.io/team/x:v1", &any), "m.io/all/x:v1");
    }

    #[test]
    fn requirements_match_by_star_and_the_last_counts() {
        let requirement = |id: &str, cpu: &str| ContainerResources {
            container_id: id.to_owned(),
            resources: json!({"limits": {"cpu": cpu}}),
        };
        let all = [
            requirement("*:*:*", "1"),
            requirement("deployments:agent:*", "2"),
            requirement("daemonsets:*:main", "3"),
        ];
        let cpu =
            |identity: &str| required(identity, &all).map(|found| found["limits"]["cpu"].clone());
        assert_eq!(cpu("deployments:agent:main"), Some(json!("2")));
        assert_eq!(cpu("daemonsets:x:main"), Some(json!("3")));
        assert_eq!(cpu("daemonsets:x:other"), Some(json!("1")));
        assert_eq!(required("deployments:a:b", &all[1..]), None);
        assert!(matches("a*b*c", "a1b2c") && !matches("a*b", "ab2") && matches("abc", "abc"));
    }
}
