//! `clusteradm addon create`: an add-on as a template of manifests.

use crate::clusteradm::create::FileFlags;
use crate::clusteradm::flags::check_labels;
use crate::clusteradm::flags::parse_pair;
use crate::clusteradm::kinds::ADDON_TEMPLATE;
use crate::clusteradm::kinds::OFFERED_ADDON;
use crate::clusteradm::names;
use crate::clusteradm::objects;
use crate::clusteradm::objects::Written;
use crate::clusteradm::objects::name_of;
use crate::clusteradm::objects::set_label;
use crate::clusteradm::preflight;
use crate::clusteradm::session::Session;
use anyhow::bail;
use hyades_api::addon::names::LIFECYCLE;
use hyades_api::names::ADDON_GROUP;
use serde_json::Value;
use serde_json::json;

/// The command line.
#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// The add-on
    name: String,
    /// Its version, the ending of the template's name
    #[arg(long, value_name = "VERSION", default_value = "0.0.1")]
    version: String,
    /// Change the add-on and its template if they exist already
    #[arg(long)]
    overwrite: bool,
    /// Let the add-on's agents register with the hub
    #[arg(long)]
    hub_registration: bool,
    /// The ClusterRole of the hub that the add-on's agents get in their cluster's namespace; with
    /// --hub-registration
    #[arg(
        long,
        value_name = "ROLE",
        default_value = "",
        hide_default_value = true
    )]
    cluster_role_bind: String,
    /// Labels of the add-on, as KEY=VALUE, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = parse_pair)]
    labels: Vec<(String, String)>,
    /// Install the add-on in every cluster of this placement
    #[arg(
        long,
        value_name = "NAMESPACE/NAME",
        default_value = "",
        hide_default_value = true
    )]
    placement_ref: String,
    #[command(flatten)]
    files: FileFlags,
}

/// Runs `addon create`.
///
/// # Errors
///
/// Wrong flags or manifests, an add-on that exists, or a request that failed.
pub async fn run(session: &Session, args: &CreateArgs) -> anyhow::Result<()> {
    check(args)?;
    let manifests = args.files.read()?;
    let wanted = [
        (OFFERED_ADDON, offer(args)?),
        (ADDON_TEMPLATE, template(args, &manifests)),
    ];
    session.announce_dry_run();
    preflight::is_hub(&session.target).await?;
    for (kind, object) in wanted {
        let name = name_of(&object);
        let replace = |live: &mut Value| {
            live["spec"] = object["spec"].clone();
            for (key, value) in &args.labels {
                set_label(live, key, value);
            }
        };
        let written = objects::all(session, kind)
            .write(&object, args.overwrite, replace)
            .await?;
        let kind = kind.name();
        session.console.line(match written {
            Written::Created => format!("{kind} {name} is created"),
            Written::Changed => format!("{kind} {name} is updated"),
            Written::Kept => bail!(
                "{kind} {name} exists already; change it with --overwrite, or choose another name or --version"
            ),
        });
    }
    Ok(())
}

fn template_name(args: &CreateArgs) -> String {
    format!("{}-{}", args.name, args.version)
}

fn check(args: &CreateArgs) -> anyhow::Result<()> {
    names::label("add-on name", &args.name)?;
    names::subdomain("add-on name and version", &template_name(args))?;
    check_labels(&args.labels)?;
    if args.cluster_role_bind.is_empty() {
        return Ok(());
    }
    if !args.hub_registration {
        bail!("--cluster-role-bind needs agents that register; add --hub-registration");
    }
    // Names of roles may hold colons.
    let name = args.cluster_role_bind.as_str();
    if name.contains(['/', '%']) || name == "." || name == ".." {
        bail!(
            "--cluster-role-bind {name:?} is no name of a ClusterRole: it must be without '/' and '%'"
        );
    }
    Ok(())
}

fn offer(args: &CreateArgs) -> anyhow::Result<Value> {
    let mut offer = OFFERED_ADDON.object(None, &args.name);
    offer["metadata"]["annotations"] = json!({LIFECYCLE: "addon-manager"});
    for (key, value) in &args.labels {
        set_label(&mut offer, key, value);
    }
    offer["spec"] = json!({
        "addOnMeta": {"displayName": args.name, "description": format!("{} add-on", args.name)},
        "supportedConfigs": [{
            "group": ADDON_GROUP,
            "resource": "addontemplates",
            "defaultConfig": {"name": template_name(args)},
        }],
    });
    if !args.placement_ref.is_empty() {
        let (namespace, name) = names::pair("--placement-ref", &args.placement_ref)?;
        offer["spec"]["installStrategy"] = json!({
            "type": "Placements",
            "placements": [{"namespace": namespace, "name": name}],
        });
    }
    Ok(offer)
}

fn template(args: &CreateArgs, manifests: &[Value]) -> Value {
    let mut template = ADDON_TEMPLATE.object(None, &template_name(args));
    template["spec"] = json!({
        "addonName": args.name,
        "agentSpec": {"workload": {"manifests": manifests}},
    });
    if args.hub_registration {
        let mut client = json!({});
        if !args.cluster_role_bind.is_empty() {
            let role = json!({"clusterRoleName": args.cluster_role_bind});
            client["hubPermissions"] = json!([{"type": "CurrentCluster", "currentCluster": role}]);
        }
        template["spec"]["registration"] = json!([{"type": "KubeClient", "kubeClient": client}]);
    }
    template
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: CreateArgs,
    }

    fn args(words: &[&str]) -> CreateArgs {
        let words = [&["x", "hello"], words].concat();
        Line::try_parse_from(words).expect("readable").args
    }

    #[test]
    fn flags_become_offer_and_template() {
        let args = args(&[
            "--hub-registration",
            "--cluster-role-bind",
            "open-cluster-management:hello",
            "--labels",
            "a=b",
            "--placement-ref",
            "default/p",
        ]);
        check(&args).expect("valid");
        let offer = offer(&args).expect("valid");
        assert_eq!(offer["metadata"]["labels"], json!({"a": "b"}));
        assert_eq!(
            offer["spec"]["supportedConfigs"][0]["defaultConfig"]["name"],
            "hello-0.0.1"
        );
        assert_eq!(
            offer["spec"]["installStrategy"]["placements"][0],
            json!({"namespace": "default", "name": "p"})
        );
        let template = template(&args, &[json!({"kind": "ConfigMap"})]);
        assert_eq!(template["metadata"]["name"], "hello-0.0.1");
        assert_eq!(
            template["spec"]["registration"][0]["kubeClient"]["hubPermissions"][0]["currentCluster"]
                ["clusterRoleName"],
            "open-cluster-management:hello"
        );
    }

    #[test]
    fn wrong_flags_are_refused_with_what_is_allowed() {
        for (words, part) in [
            (&["--version", "A B"][..], "RFC 1123"),
            (&["--labels", "a/b/c=d"], "label key"),
            (&["--labels", "a=no spaces"], "label value"),
            (&["--cluster-role-bind", "r"], "--hub-registration"),
            (
                &["--hub-registration", "--cluster-role-bind", "a/b"],
                "without '/'",
            ),
            (&["--placement-ref", "p"], "NAMESPACE/NAME"),
        ] {
            let args = args(words);
            let error = check(&args)
                .and_then(|()| offer(&args).map(drop))
                .expect_err("refused");
            assert!(error.to_string().contains(part), "{words:?}: {error}");
        }
    }
}
