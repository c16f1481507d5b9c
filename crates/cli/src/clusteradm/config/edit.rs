//! Changes to a kubeconfig. Pure but for the files that are embedded; each gives the line to print.

use crate::clusteradm::choices::read_limited;
use anyhow::Context;
use anyhow::bail;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyades_pki::Kubeconfig;
use hyades_pki::kubeconfig;
use hyades_pki::kubeconfig::NamedCluster;
use hyades_pki::kubeconfig::NamedContext;
use hyades_pki::kubeconfig::NamedUser;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

/// Largest certificate or key embedded, in bytes: a bundle of a few hundred certificates.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// The command line of `set-context`.
#[derive(Debug, Default, clap::Args)]
pub struct ContextArgs {
    /// The context
    name: Option<String>,
    /// Change the current context
    #[arg(long)]
    current: bool,
    /// Its cluster
    #[arg(long)]
    cluster: Option<String>,
    /// Its user
    #[arg(long)]
    user: Option<String>,
    /// The namespace used when none is named
    #[arg(long)]
    namespace: Option<String>,
}

/// The command line of `set-cluster`.
#[derive(Debug, Default, clap::Args)]
pub struct ClusterArgs {
    /// The cluster
    name: String,
    /// URL of its API server
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// PEM of the authority it is trusted by
    #[arg(long, value_name = "FILE")]
    certificate_authority: Option<PathBuf>,
    /// Put the authority itself into the kubeconfig, not the name of its file
    #[arg(long)]
    embed_certs: bool,
    /// Trust whoever answers
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    insecure_skip_tls_verify: Option<bool>,
    /// The name to expect in its certificate
    #[arg(long, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// Proxy on the way to it
    #[arg(long, value_name = "URL")]
    proxy_url: Option<String>,
}

/// The command line of `set-credentials`.
#[derive(Debug, Default, clap::Args)]
pub struct CredentialsArgs {
    /// The user
    name: String,
    /// Bearer token
    #[arg(long)]
    token: Option<String>,
    /// Client certificate
    #[arg(long, value_name = "FILE")]
    client_certificate: Option<PathBuf>,
    /// Client key
    #[arg(long, value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// Put certificate and key themselves into the kubeconfig, not the names of their files
    #[arg(long)]
    embed_certs: bool,
}

/// Makes another context the current one.
pub fn use_context(kubeconfig: &mut Kubeconfig, name: &str) -> anyhow::Result<String> {
    if kubeconfig.context(name).is_err() {
        bail!(
            "no context exists with the name: {name:?}; see 'config get-contexts' for those there are"
        );
    }
    kubeconfig.current_context = name.to_owned();
    Ok(format!("Switched to context {name:?}.\n"))
}

/// Renames a context.
pub fn rename_context(kubeconfig: &mut Kubeconfig, old: &str, new: &str) -> anyhow::Result<String> {
    if new.is_empty() {
        bail!("the new name of a context must not be empty");
    }
    if kubeconfig.context(new).is_ok() {
        bail!(
            "cannot rename the context {old:?}, the context {new:?} already exists in the kubeconfig; choose another name"
        );
    }
    let found = kubeconfig
        .contexts
        .iter_mut()
        .find(|entry| entry.name == old);
    let Some(found) = found else {
        bail!(
            "cannot rename the context {old:?}, it's not in the kubeconfig; see 'config get-contexts' for those there are"
        );
    };
    found.name = new.to_owned();
    if kubeconfig.current_context == old {
        kubeconfig.current_context = new.to_owned();
    }
    Ok(format!("Context {old:?} renamed to {new:?}.\n"))
}

fn deleted(
    what: &str,
    name: &str,
    origin: &str,
    before: usize,
    after: usize,
) -> anyhow::Result<String> {
    match before == after {
        true => bail!(
            "cannot delete {what} {name}, not in {origin}; see 'config get-{what}s' for those there are"
        ),
        false => Ok(format!("deleted {what} {name} from {origin}\n")),
    }
}

/// Deletes a context. The current one stays named, as kubectl leaves it.
pub fn delete_context(
    kubeconfig: &mut Kubeconfig,
    name: &str,
    origin: &str,
) -> anyhow::Result<String> {
    let before = kubeconfig.contexts.len();
    kubeconfig.contexts.retain(|entry| entry.name != name);
    deleted("context", name, origin, before, kubeconfig.contexts.len())
}

/// Deletes a cluster.
pub fn delete_cluster(
    kubeconfig: &mut Kubeconfig,
    name: &str,
    origin: &str,
) -> anyhow::Result<String> {
    let before = kubeconfig.clusters.len();
    kubeconfig.clusters.retain(|entry| entry.name != name);
    deleted("cluster", name, origin, before, kubeconfig.clusters.len())
}

/// Deletes a user.
pub fn delete_user(
    kubeconfig: &mut Kubeconfig,
    name: &str,
    origin: &str,
) -> anyhow::Result<String> {
    let before = kubeconfig.users.len();
    kubeconfig.users.retain(|entry| entry.name != name);
    deleted("user", name, origin, before, kubeconfig.users.len())
}

/// Makes or changes a context.
pub fn set_context(kubeconfig: &mut Kubeconfig, args: &ContextArgs) -> anyhow::Result<String> {
    let name = match (&args.name, args.current) {
        (Some(name), false) if !name.is_empty() => name.clone(),
        (None, true) if !kubeconfig.current_context.is_empty() => {
            kubeconfig.current_context.clone()
        }
        (None, true) => bail!("no current context is set; name a context"),
        _ => bail!("give the name of one context, or --current"),
    };
    let present = kubeconfig
        .contexts
        .iter()
        .position(|entry| entry.name == name);
    let index = present.unwrap_or_else(|| {
        kubeconfig.contexts.push(NamedContext {
            name: name.clone(),
            context: kubeconfig::Context::default(),
        });
        kubeconfig.contexts.len() - 1
    });
    let context = &mut kubeconfig.contexts[index].context;
    if let Some(cluster) = &args.cluster {
        context.cluster.clone_from(cluster);
    }
    if let Some(user) = &args.user {
        context.user.clone_from(user);
    }
    if let Some(namespace) = &args.namespace {
        crate::clusteradm::names::label("namespace", namespace)?;
        context.namespace = Some(namespace.clone());
    }
    Ok(match present {
        Some(_) => format!("Context {name:?} modified.\n"),
        None => format!("Context {name:?} created.\n"),
    })
}

/// Makes or changes a cluster.
pub fn set_cluster(kubeconfig: &mut Kubeconfig, args: &ClusterArgs) -> anyhow::Result<String> {
    let name = args.name.as_str();
    if args.insecure_skip_tls_verify == Some(true) && args.certificate_authority.is_some() {
        bail!(
            "--certificate-authority cannot be used with --insecure-skip-tls-verify; trust an authority or nobody"
        );
    }
    if let Some(server) = &args.server {
        check_url("--server", server, &["http", "https"])?;
    }
    if let Some(proxy) = &args.proxy_url {
        check_url("--proxy-url", proxy, &["http", "https", "socks5"])?;
    }
    let index = kubeconfig
        .clusters
        .iter()
        .position(|entry| entry.name == name);
    let index = index.unwrap_or_else(|| {
        kubeconfig.clusters.push(NamedCluster {
            name: name.to_owned(),
            cluster: kubeconfig::Cluster::default(),
        });
        kubeconfig.clusters.len() - 1
    });
    let cluster = &mut kubeconfig.clusters[index].cluster;
    if let Some(server) = &args.server {
        cluster.server = Some(server.clone());
    }
    if let Some(file) = &args.certificate_authority {
        let (data, path) = certificate(file, args.embed_certs)?;
        cluster.certificate_authority_data = data;
        put(&mut cluster.other, "certificate-authority", path);
        cluster.other.remove("insecure-skip-tls-verify");
    }
    if let Some(skip) = args.insecure_skip_tls_verify {
        put(
            &mut cluster.other,
            "insecure-skip-tls-verify",
            skip.then_some(Value::Bool(true)),
        );
        if skip {
            cluster.certificate_authority_data = None;
            cluster.other.remove("certificate-authority");
        }
    }
    for (key, value) in [
        ("tls-server-name", &args.tls_server_name),
        ("proxy-url", &args.proxy_url),
    ] {
        if let Some(value) = value {
            put(&mut cluster.other, key, Some(json!(value)));
        }
    }
    Ok(format!("Cluster {name:?} set.\n"))
}

/// Makes or changes a user.
pub fn set_credentials(
    kubeconfig: &mut Kubeconfig,
    args: &CredentialsArgs,
) -> anyhow::Result<String> {
    let name = args.name.as_str();
    let index = kubeconfig.users.iter().position(|entry| entry.name == name);
    let index = index.unwrap_or_else(|| {
        kubeconfig.users.push(NamedUser {
            name: name.to_owned(),
            user: kubeconfig::User::default(),
        });
        kubeconfig.users.len() - 1
    });
    let user = &mut kubeconfig.users[index].user;
    if let Some(token) = &args.token {
        user.token = Some(token.clone());
        user.other.remove("tokenFile");
    }
    if let Some(file) = &args.client_certificate {
        let (data, path) = certificate(file, args.embed_certs)?;
        user.client_certificate_data = data;
        put(&mut user.other, "client-certificate", path);
    }
    if let Some(file) = &args.client_key {
        let (data, path) = certificate(file, args.embed_certs)?;
        user.client_key_data = data;
        put(&mut user.other, "client-key", path);
    }
    Ok(format!("User {name:?} set.\n"))
}

fn put(fields: &mut BTreeMap<String, Value>, key: &str, value: Option<Value>) {
    match value {
        Some(value) => fields.insert(key.to_owned(), value),
        None => fields.remove(key),
    };
}

/// What a PEM file becomes: its content if it is embedded, else its whole path.
fn certificate(file: &Path, embed: bool) -> anyhow::Result<(Option<String>, Option<Value>)> {
    if embed {
        let text = read_limited(file, PEM_BYTES_MAX)
            .with_context(|| format!("read {}", file.display()))?;
        return Ok((Some(STANDARD.encode(text)), None));
    }
    let path = std::path::absolute(file).with_context(|| format!("find {}", file.display()))?;
    Ok((None, Some(json!(path))))
}

fn check_url(flag: &str, url: &str, schemes: &[&str]) -> anyhow::Result<()> {
    let uri: Option<http::Uri> = url.parse().ok();
    let scheme = uri.as_ref().and_then(http::Uri::scheme_str);
    match scheme.is_some_and(|scheme| schemes.contains(&scheme)) {
        true => Ok(()),
        false => bail!(
            "{flag} {url:?} is no URL that begins with {}; correct it",
            schemes.join("://, ") + "://"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_chosen_renamed_and_deleted() {
        let mut kubeconfig = Kubeconfig::empty();
        let args = ContextArgs {
            name: Some("a".to_owned()),
            cluster: Some("c".to_owned()),
            user: Some("u".to_owned()),
            namespace: Some("n".to_owned()),
            ..ContextArgs::default()
        };
        let said = set_context(&mut kubeconfig, &args).expect("made");
        assert_eq!(said, "Context \"a\" created.\n");
        assert_eq!(
            use_context(&mut kubeconfig, "a").expect("there"),
            "Switched to context \"a\".\n"
        );
        assert!(use_context(&mut kubeconfig, "b").is_err());
        let current = ContextArgs {
            current: true,
            namespace: Some("m".to_owned()),
            ..ContextArgs::default()
        };
        let said = set_context(&mut kubeconfig, &current).expect("changed");
        assert_eq!(said, "Context \"a\" modified.\n");
        assert_eq!(
            kubeconfig.contexts[0].context.namespace.as_deref(),
            Some("m")
        );
        let said = rename_context(&mut kubeconfig, "a", "b").expect("renamed");
        assert_eq!(said, "Context \"a\" renamed to \"b\".\n");
        assert_eq!(kubeconfig.current_context, "b");
        assert!(rename_context(&mut kubeconfig, "b", "b").is_err());
        assert!(rename_context(&mut kubeconfig, "a", "c").is_err());
        let said = delete_context(&mut kubeconfig, "b", "FILE").expect("there");
        assert_eq!(said, "deleted context b from FILE\n");
        let error = delete_context(&mut kubeconfig, "b", "FILE").expect_err("gone");
        assert_eq!(
            error.to_string(),
            "cannot delete context b, not in FILE; see 'config get-contexts' for those there are"
        );
        assert!(delete_cluster(&mut kubeconfig, "c", "FILE").is_err());
        assert!(delete_user(&mut kubeconfig, "u", "FILE").is_err());
    }

    #[test]
    fn certificates_are_embedded_or_named_by_their_whole_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.crt");
        std::fs::write(&file, "PEM").expect("written");
        let mut kubeconfig = Kubeconfig::empty();
        let args = |embed_certs| ClusterArgs {
            name: "c".to_owned(),
            server: Some("https://c".to_owned()),
            certificate_authority: Some(file.clone()),
            embed_certs,
            ..ClusterArgs::default()
        };
        set_cluster(&mut kubeconfig, &args(false)).expect("made");
        let cluster = &kubeconfig.clusters[0].cluster;
        assert_eq!(cluster.other["certificate-authority"], json!(file));
        set_cluster(&mut kubeconfig, &args(true)).expect("changed");
        let cluster = &kubeconfig.clusters[0].cluster;
        assert_eq!(cluster.certificate_authority_data.as_deref(), Some("UEVN"));
        assert!(!cluster.other.contains_key("certificate-authority"));
        let credentials = CredentialsArgs {
            name: "u".to_owned(),
            token: Some("t".to_owned()),
            ..CredentialsArgs::default()
        };
        assert_eq!(
            set_credentials(&mut kubeconfig, &credentials).expect("made"),
            "User \"u\" set.\n"
        );
        assert_eq!(kubeconfig.users[0].user.token.as_deref(), Some("t"));
    }

    #[test]
    fn wrong_clusters_are_refused_with_what_is_allowed() {
        let mut kubeconfig = Kubeconfig::empty();
        let mut refused = |args: ClusterArgs| {
            set_cluster(&mut kubeconfig, &args)
                .expect_err("refused")
                .to_string()
        };
        let error = refused(ClusterArgs {
            server: Some("ftp://x".to_owned()),
            ..ClusterArgs::default()
        });
        assert!(error.contains("http://, https://"), "{error}");
        let error = refused(ClusterArgs {
            proxy_url: Some("x".to_owned()),
            ..ClusterArgs::default()
        });
        assert!(error.contains("socks5://"), "{error}");
        let error = refused(ClusterArgs {
            insecure_skip_tls_verify: Some(true),
            certificate_authority: Some("f".into()),
            ..ClusterArgs::default()
        });
        assert!(error.contains("--insecure-skip-tls-verify"), "{error}");
    }
}
