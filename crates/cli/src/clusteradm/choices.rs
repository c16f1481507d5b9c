//! Choices that `init` and `join` share: image, pull secret, resources.

use super::flags::parse_pair;
use anyhow::Context;
use anyhow::bail;
use hyades_api::operator::ResourceRequirement;
use hyades_runtime::k8s_openapi::api::core::v1::ResourceRequirements;
use hyades_runtime::k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

/// Name of this project's image in whichever registry.
const IMAGE: &str = hyades_api::image::COMMAND;

/// Largest pull secret read, in bytes: a Secret holds no more than 1 MiB.
const CREDENTIAL_BYTES_MAX: u64 = 1024 * 1024;
/// Largest file of version overrides read, in bytes: it holds two short lines.
const OVERRIDES_BYTES_MAX: u64 = 64 * 1024;

/// Which image the pods run.
#[derive(Debug, Clone, clap::Args)]
pub struct ImageChoice {
    /// Registry of the image hyades, whose one program is operator, hub and agent
    #[arg(long, value_name = "REGISTRY", default_value = "quay.io/hyades")]
    pub image_registry: String,
    /// Version of the image: default (that of this program), latest, or a version
    #[arg(long, value_name = "VERSION", default_value = "default")]
    pub bundle_version: String,
    /// A file with the version of the image, as {"ocm": "VERSION"}
    #[arg(long, value_name = "FILE")]
    pub bundle_version_overrides: Option<PathBuf>,
}

impl ImageChoice {
    /// The image.
    ///
    /// # Errors
    ///
    /// No registry, a version that is none, overrides that cannot be read or followed.
    pub fn reference(&self) -> anyhow::Result<String> {
        let registry = self.image_registry.trim_end_matches('/');
        if let Some(wrong) = registry
            .chars()
            .find(|character| !is_of_reference(*character))
        {
            bail!(
                "--image-registry {registry:?} holds {wrong:?}; a registry is of lower case letters, digits and . - _ : /, such as quay.io/hyades"
            );
        }
        if registry.is_empty() {
            bail!("registry should not be empty");
        }
        let overridden = match &self.bundle_version_overrides {
            None => None,
            Some(path) => overrides(path)
                .with_context(|| format!("read --bundle-version-overrides {}", path.display()))?,
        };
        let version = overridden.as_deref().unwrap_or(&self.bundle_version);
        Ok(format!("{registry}/{IMAGE}:{}", tag(version)?))
    }
}

/// Whether a character may stand in the name of a registry and its folders.
fn is_of_reference(character: char) -> bool {
    character.is_ascii_lowercase() || character.is_ascii_digit() || ".-_:/".contains(character)
}

/// The version of the image in a file of overrides, if it has one.
fn overrides(path: &Path) -> anyhow::Result<Option<String>> {
    let text = read_limited(path, OVERRIDES_BYTES_MAX)?;
    let entries: BTreeMap<String, String> = serde_json::from_str(&text)
        .context("it must be a JSON object of versions, such as {\"ocm\": \"1.2.3\"}")?;
    for name in entries.keys() {
        match name.as_str() {
            "ocm" => {}
            "policy_addon" => bail!(
                "policy_addon cannot be used: upstream's policy add-on is no part of this program; leave it out"
            ),
            other => bail!("there is no version {other:?} to override; there is ocm"),
        }
    }
    Ok(entries.get("ocm").cloned())
}

/// Which image the pods run, and which resources they get.
#[derive(Debug, Clone, clap::Args)]
pub struct Choices {
    #[command(flatten)]
    pub image: ImageChoice,
    /// A dockerconfigjson file for pulling the image
    #[arg(long, value_name = "FILE")]
    pub image_pull_credential_file: Option<PathBuf>,
    /// Resources of the pods: Default, BestEffort or ResourceRequirement
    #[arg(long, value_name = "CLASS", default_value = "Default")]
    pub resource_qos_class: String,
    /// Limits, with --resource-qos-class ResourceRequirement, as cpu=200m,memory=64Mi
    #[arg(long, value_delimiter = ',', value_parser = parse_pair)]
    pub resource_limits: Vec<(String, String)>,
    /// Requests, with --resource-qos-class ResourceRequirement; not above the limits
    #[arg(long, value_delimiter = ',', value_parser = parse_pair)]
    pub resource_requests: Vec<(String, String)>,
}

impl Choices {
    /// The pull secret, if a file was named.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is no JSON.
    pub fn pull_credential(&self) -> anyhow::Result<Option<String>> {
        let Some(path) = &self.image_pull_credential_file else {
            return Ok(None);
        };
        let text = read_limited(path, CREDENTIAL_BYTES_MAX)
            .with_context(|| format!("read the pull credential {}", path.display()))?;
        serde_json::from_str::<serde_json::Value>(&text).with_context(|| {
            format!(
                "read the pull credential {}: it must be a dockerconfigjson",
                path.display()
            )
        })?;
        Ok(Some(text))
    }

    /// The resources of pods.
    ///
    /// # Errors
    ///
    /// An unknown class, missing values, a request above its limit.
    pub fn resources(&self) -> anyhow::Result<ResourceRequirement> {
        let class = self.resource_qos_class.as_str();
        let plain = |class: &str| ResourceRequirement {
            r#type: class.to_owned(),
            resource_requirements: None,
        };
        match class {
            "Default" | "BestEffort" => {
                if !self.resource_limits.is_empty() || !self.resource_requests.is_empty() {
                    bail!(
                        "--resource-limits and --resource-requests count with --resource-qos-class ResourceRequirement only, and the class is {class}; add it, or leave them out"
                    );
                }
                Ok(plain(class))
            }
            "ResourceRequirement" => {
                if self.resource_limits.is_empty() && self.resource_requests.is_empty() {
                    bail!("resource type is {class} but both limits and requests are not set");
                }
                let limits = quantities(&self.resource_limits)?;
                let requests = quantities(&self.resource_requests)?;
                check_order(&limits, &requests)?;
                let mut requirement = plain(class);
                requirement.resource_requirements = Some(ResourceRequirements {
                    limits: (!limits.is_empty()).then_some(limits),
                    requests: (!requests.is_empty()).then_some(requests),
                    ..ResourceRequirements::default()
                });
                Ok(requirement)
            }
            other => bail!(
                "resource class {other:?} does not exist; use Default, BestEffort or ResourceRequirement with --resource-qos-class"
            ),
        }
    }
}

/// The tag of a bundle version.
fn tag(bundle: &str) -> anyhow::Result<String> {
    let version = bundle.strip_prefix('v').unwrap_or(bundle);
    let is_version = version.split('.').count() == 3
        && version
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    match version {
        "default" => Ok(format!("v{}", env!("CARGO_PKG_VERSION"))),
        "latest" => Ok("latest".to_owned()),
        version if is_version => Ok(format!("v{version}")),
        _ => bail!(
            "couldn't find the requested version bundle: {bundle}; use default, latest, or a version such as {}",
            env!("CARGO_PKG_VERSION")
        ),
    }
}

fn quantities(pairs: &[(String, String)]) -> anyhow::Result<BTreeMap<String, Quantity>> {
    let parse = |(name, text): &(String, String)| {
        let tried = || format!("read the resource {name}={text}");
        check_resource(name).with_context(tried)?;
        if amount(text).with_context(tried)? < amount("0")? {
            bail!("{}: it is below 0; give what a container may use", tried());
        }
        Ok((name.clone(), Quantity(text.clone())))
    };
    pairs.iter().map(parse).collect()
}

/// Pods with other resources would be refused later, by the cluster.
fn check_resource(name: &str) -> anyhow::Result<()> {
    let is_standard = matches!(name, "cpu" | "memory" | "ephemeral-storage");
    if is_standard || name.starts_with("hugepages-") {
        return Ok(());
    }
    if !name.contains('/') {
        bail!(
            "there is no resource {name:?}; there are cpu, memory, ephemeral-storage, hugepages-SIZE and DOMAIN/NAME"
        );
    }
    super::names::key("resource", name)
}

fn amount(text: &str) -> anyhow::Result<hyades_schema::quantity::Quantity> {
    hyades_schema::quantity::Quantity::parse(text)
        .map_err(|_| anyhow::anyhow!("{text:?} is no quantity; write it like 200m or 64Mi"))
}

fn check_order(
    limits: &BTreeMap<String, Quantity>,
    requests: &BTreeMap<String, Quantity>,
) -> anyhow::Result<()> {
    for (name, request) in requests {
        if let Some(limit) = limits.get(name)
            && amount(&request.0)? > amount(&limit.0)?
        {
            bail!(
                "requested {name} {} is above its limit {}; requests must not exceed limits",
                request.0,
                limit.0
            );
        }
    }
    Ok(())
}

/// The text of a file of at most this many bytes.
///
/// # Errors
///
/// A file that cannot be read, is no text, or is larger.
pub fn read_limited(path: &Path, bytes_max: u64) -> anyhow::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        bail!("it is larger than {bytes_max} bytes");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        choices: Choices,
    }

    fn choices(words: &[&str]) -> Choices {
        let words = [&["x"], words].concat();
        Line::try_parse_from(words).expect("valid").choices
    }

    #[test]
    fn the_image_follows_registry_and_version() {
        let image = |words: &[&str]| {
            let image = choices(words).image.reference();
            image.map_err(|error| format!("{error:#}"))
        };
        assert_eq!(image(&[]), Ok(hyades_api::image::reference()));
        let words = [
            "--image-registry",
            "reg:5000/x/",
            "--bundle-version",
            "v1.2.3",
        ];
        assert_eq!(image(&words), Ok("reg:5000/x/hyades:v1.2.3".to_owned()));
        assert_eq!(
            image(&["--image-registry", ""]),
            Err("registry should not be empty".to_owned())
        );
        let error = image(&["--image-registry", "https://Reg"]).expect_err("no registry");
        assert!(error.contains("'R'"), "{error}");
        let error = image(&["--bundle-version", "newest"]).expect_err("no version");
        assert!(error.starts_with("couldn't find the requested version bundle: newest"));
        let folder = tempfile::tempdir().expect("a folder");
        let overridden = |text: &str| {
            let file = folder.path().join("overrides");
            std::fs::write(&file, text).expect("written");
            image(&["--bundle-version-overrides", &file.display().to_string()])
        };
        let reference = overridden(r#"{"ocm": "3.2.1"}"#).expect("a version");
        assert!(reference.ends_with("/hyades:v3.2.1"), "{reference}");
        for (text, part) in [
            (r#"{"policy_addon": "v1"}"#, "policy_addon cannot be used"),
            (r#"{"other": "v1"}"#, "there is ocm"),
            ("nonsense", "JSON object"),
        ] {
            let error = overridden(text).expect_err("refused");
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn resources_are_checked() {
        let class = ["--resource-qos-class", "ResourceRequirement"];
        let resources = |words: &[&str]| {
            let words = [&class[..], words].concat();
            choices(&words)
                .resources()
                .map_err(|error| error.to_string())
        };
        assert_eq!(
            resources(&[]).expect_err("nothing set"),
            "resource type is ResourceRequirement but both limits and requests are not set"
        );
        let words = [
            "--resource-limits",
            "cpu=1,memory=64Mi",
            "--resource-requests",
            "cpu=500m",
        ];
        let requirement = resources(&words).expect("valid").resource_requirements;
        assert_eq!(requirement.expect("there").limits.expect("set").len(), 2);
        let words = [
            "--resource-limits",
            "cpu=1",
            "--resource-requests",
            "cpu=1500m",
        ];
        let error = resources(&words).expect_err("above");
        assert!(
            error.starts_with("requested cpu 1500m is above its limit 1"),
            "{error}"
        );
        assert!(choices(&["--resource-qos-class", "x"]).resources().is_err());
        for (limit, part) in [
            ("disk=1", "there are cpu, memory"),
            ("cpu=-1", "below 0"),
            ("cpu=much", "is no quantity"),
            ("a/b/c=1", "is not valid"),
        ] {
            let error = resources(&["--resource-limits", limit]).expect_err("refused");
            assert!(error.contains("read the resource"), "{error}");
            let words = [&class[..], &["--resource-limits", limit]].concat();
            let whole = format!("{:#}", choices(&words).resources().expect_err("refused"));
            assert!(whole.contains(part), "{whole}");
        }
        let words = ["--resource-limits", "cpu=1"];
        let error = choices(&words).resources().expect_err("no effect");
        assert!(
            error.to_string().contains("ResourceRequirement only"),
            "{error}"
        );
    }
}
