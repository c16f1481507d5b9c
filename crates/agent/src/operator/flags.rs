//! The flags of the agents of one Klusterlet. Pure.

use super::manifests::Plan;
use hyades_api::names;

/// A pair of every entry, as flags take them.
fn pairs(map: &std::collections::BTreeMap<String, String>) -> Option<String> {
    let pairs: Vec<_> = map
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    (!pairs.is_empty()).then(|| pairs.join(","))
}

impl Plan {
    pub(super) fn common_flags(&self) -> Vec<String> {
        let mut flags = vec![
            format!("--spoke-cluster-name={}", self.klusterlet.spec.cluster_name),
            format!("--agent-id={}", self.agent_id),
        ];
        flags.extend(self.gates.flags());
        flags
    }

    /// In the hosted modes: where the agent finds the kubeconfig of its WEC.
    pub(super) fn spoke_flag(&self, secret: &str) -> Option<String> {
        let hosted = self.mode.is_hosted();
        hosted.then(|| format!("--spoke-kubeconfig-secret={secret}"))
    }

    pub(super) fn registration_flags(&self) -> Vec<String> {
        let spec = &self.klusterlet.spec;
        let configuration = spec.registration_configuration.clone().unwrap_or_default();
        let mut flags = Vec::new();
        let mut add = |name: &str, value: Option<String>| {
            flags.extend(value.map(|value| format!("--{name}={value}")));
        };
        let expiration = configuration.client_cert_expiration_seconds;
        add(
            "client-cert-expiration-seconds",
            (expiration > 0).then(|| expiration.to_string()),
        );
        let urls: Vec<_> = spec
            .external_server_urls
            .iter()
            .map(|url| url.url.as_str())
            .collect();
        add(
            "spoke-external-server-urls",
            (!urls.is_empty()).then(|| urls.join(",")),
        );
        add(
            "cluster-annotations",
            pairs(&configuration.cluster_annotations),
        );
        add("cluster-labels", pairs(&configuration.cluster_labels));
        if let Some(claims) = configuration.cluster_claim_configuration {
            let most = claims.max_custom_cluster_claims.to_string();
            add("max-custom-cluster-claims", Some(most));
            let suffixes = claims.reserved_cluster_claim_suffixes;
            add(
                "reserved-cluster-claim-suffixes",
                (!suffixes.is_empty()).then(|| suffixes.join(",")),
            );
        }
        if let Some(driver) = configuration.add_on_kube_client_registration_driver {
            let stated = (!driver.auth_type.is_empty()).then_some(driver.auth_type);
            add("addon-kubeclient-registration-auth", stated);
            let seconds = driver.token.map_or(0, |token| token.expiration_seconds);
            add(
                "addon-token-expiration-seconds",
                (seconds > 0).then(|| seconds.to_string()),
            );
        }
        if let Some(several) = &self.bootstrap_secrets {
            add(
                "bootstrap-kubeconfig-secrets",
                Some(several.names.join(",")),
            );
            let timeout = several.timeout_seconds.to_string();
            add("hub-connection-timeout-seconds", Some(timeout));
        }
        flags
    }

    pub(super) fn work_flags(&self) -> Vec<String> {
        let configuration = self
            .klusterlet
            .spec
            .work_configuration
            .clone()
            .unwrap_or_default();
        let interval = configuration.status_sync_interval;
        let grace = configuration.applied_manifest_work_eviction_grace_period;
        let interval = interval.map(|value| format!("--status-sync-interval={value}"));
        let grace =
            grace.map(|value| format!("--appliedmanifestwork-eviction-grace-period={value}"));
        interval.into_iter().chain(grace).collect()
    }

    /// The Secrets that may hold the first credentials for a hub, in order of preference.
    pub fn bootstrap_secret_names(&self) -> Vec<String> {
        match &self.bootstrap_secrets {
            Some(several) => several.names.clone(),
            None => vec![names::BOOTSTRAP_HUB_KUBECONFIG_SECRET.to_owned()],
        }
    }
}
