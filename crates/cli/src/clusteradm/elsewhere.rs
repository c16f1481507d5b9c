//! Commands of upstream that rest on images and charts of its add-ons, which are no part of this
//! program. They are known, and refused by name with the reason.

use anyhow::bail;

/// Why no add-on of upstream's can be installed from here.
const BUNDLES: &str =
    "upstream installs it from its own images and Helm charts, which are no part of this program";

/// The add-ons that upstream's command installs.
const HUB_ADDONS: [&str; 3] = ["governance-policy-framework", "argocd", "argocd-agent"];

/// What to install or uninstall.
#[derive(Debug, clap::Subcommand)]
pub enum HubAddon {
    /// Not supported: upstream's add-ons come as images and charts of their own
    HubAddon(HubAddonArgs),
}

/// The command line.
#[derive(Debug, clap::Args)]
pub struct HubAddonArgs {
    /// The add-ons, separated by commas
    #[arg(long, value_delimiter = ',')]
    names: Vec<String>,
    /// Upstream's further flags; they change nothing about the refusal
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _further: Vec<String>,
}

/// Refuses `install` or `uninstall`; `verb` says which.
///
/// # Errors
///
/// Always: that is its purpose.
pub fn hub_addon(verb: &str, what: &HubAddon) -> anyhow::Result<()> {
    let HubAddon::HubAddon(args) = what;
    if args.names.is_empty() {
        bail!(
            "names is missing; upstream knows the hub add-ons {}, none of which can be had here: {BUNDLES}",
            HUB_ADDONS.join(", ")
        );
    }
    for name in &args.names {
        if !HUB_ADDONS.contains(&name.as_str()) {
            bail!(
                "invalid add-on name {name:?}; upstream knows {}",
                HUB_ADDONS.join(", ")
            );
        }
    }
    let names = args.names.join(",");
    bail!(
        "{verb} hub-addon --names {names} cannot be used: {BUNDLES}; apply the add-on's own manifests to the hub, or offer manifests as an add-on with 'addon create'"
    )
}

/// What to do through the proxy.
#[derive(Debug, clap::Subcommand)]
pub enum Proxy {
    /// Not supported: needs upstream's add-on cluster-proxy
    Health(ProxyArgs),
    /// Not supported: needs upstream's add-on cluster-proxy
    Kubectl(ProxyArgs),
}

/// The command line.
#[derive(Debug, clap::Args)]
pub struct ProxyArgs {
    /// Upstream's flags; they change nothing about the refusal
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _further: Vec<String>,
}

/// Refuses `proxy`.
///
/// # Errors
///
/// Always: that is its purpose.
pub fn proxy(what: &Proxy) -> anyhow::Result<()> {
    let command = match what {
        Proxy::Health(_) => "health",
        Proxy::Kubectl(_) => "kubectl",
    };
    bail!(
        "proxy {command} cannot be used: it goes through the add-on cluster-proxy, and {BUNDLES}; see how clusters fare with 'get clusters', and reach one with a kubeconfig of its own"
    )
}

/// Refuses `plugin`.
///
/// # Errors
///
/// Always: that is its purpose.
pub fn plugin() -> anyhow::Result<()> {
    bail!("plugin cannot be used: this program runs no plugins; run them as programs of their own")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_is_refused_with_its_reason() {
        let addon = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let args = HubAddonArgs {
                names,
                _further: Vec::new(),
            };
            hub_addon("install", &HubAddon::HubAddon(args))
                .expect_err("refused")
                .to_string()
        };
        assert!(addon(&["argocd"]).starts_with("install hub-addon --names argocd cannot be used"));
        assert!(addon(&["nothing"]).starts_with("invalid add-on name \"nothing\""));
        assert!(addon(&[]).starts_with("names is missing"));
        let args = ProxyArgs {
            _further: Vec::new(),
        };
        let error = proxy(&Proxy::Health(args))
            .expect_err("refused")
            .to_string();
        assert!(error.contains("cluster-proxy"), "{error}");
    }
}
