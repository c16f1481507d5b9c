//! What a kubeconfig holds, in text. Pure.

use crate::clusteradm::printer::table;
use anyhow::Context;
use anyhow::bail;
use hyades_pki::Kubeconfig;
use serde_json::Value;

/// Stands for a certificate.
const OMITTED: &str = "DATA+OMITTED";
/// Stands for a secret.
const REDACTED: &str = "REDACTED";
/// The fields of clusters and users that hold certificates.
const CERTIFICATES: [&str; 2] = ["certificate-authority-data", "client-certificate-data"];
/// The fields of users that hold secrets.
const SECRETS: [&str; 3] = ["client-key-data", "token", "password"];

/// The command line of `get-contexts`.
#[derive(Debug, clap::Args)]
pub struct ContextsArgs {
    /// Only the contexts of these names
    names: Vec<String>,
    /// name: show nothing but names
    #[arg(short, long, value_parser = ["name"])]
    output: Option<String>,
    /// Leave out the heads of the columns
    #[arg(long)]
    no_headers: bool,
}

/// The command line of `view`.
#[derive(Debug, clap::Args)]
pub struct ViewArgs {
    /// Only what the current context needs
    #[arg(long)]
    minify: bool,
    /// Show certificates and secrets too
    #[arg(long)]
    raw: bool,
    /// yaml or json
    #[arg(short, long, default_value = "yaml", value_parser = ["yaml", "json"])]
    output: String,
}

/// The current context.
pub fn current(kubeconfig: &Kubeconfig) -> anyhow::Result<String> {
    if kubeconfig.current_context.is_empty() {
        bail!("current-context is not set; choose one with 'config use-context'");
    }
    Ok(format!("{}\n", kubeconfig.current_context))
}

/// Names, one a line, under a head.
pub fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let mut names: Vec<&str> = names.map(String::as_str).collect();
    names.sort_unstable();
    let rows: Vec<Vec<String>> = names.iter().map(|name| vec![(*name).to_owned()]).collect();
    table(&["Name"], &rows)
}

/// The contexts.
pub fn contexts(kubeconfig: &Kubeconfig, args: &ContextsArgs) -> anyhow::Result<String> {
    for name in &args.names {
        kubeconfig.context(name)?;
    }
    let is_wanted = |name: &String| args.names.is_empty() || args.names.contains(name);
    let mut shown: Vec<_> = kubeconfig
        .contexts
        .iter()
        .filter(|entry| is_wanted(&entry.name))
        .collect();
    shown.sort_by(|one, other| one.name.cmp(&other.name));
    if args.output.is_some() {
        return Ok(shown
            .iter()
            .map(|entry| format!("{}\n", entry.name))
            .collect());
    }
    let row = |entry: &&hyades_pki::kubeconfig::NamedContext| {
        let mark = if entry.name == kubeconfig.current_context {
            "*"
        } else {
            ""
        };
        let context = &entry.context;
        vec![
            mark.to_owned(),
            entry.name.clone(),
            context.cluster.clone(),
            context.user.clone(),
            context.namespace.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = shown.iter().map(row).collect();
    let text = table(
        &["Current", "Name", "Cluster", "AuthInfo", "Namespace"],
        &rows,
    );
    Ok(match args.no_headers {
        false => text,
        true => text
            .lines()
            .skip(1)
            .map(|line| format!("{line}\n"))
            .collect(),
    })
}

/// The whole file.
pub fn view(kubeconfig: &Kubeconfig, args: &ViewArgs) -> anyhow::Result<String> {
    let shown = match args.minify {
        false => kubeconfig.clone(),
        true => kubeconfig.only(&kubeconfig.current_context)?,
    };
    let mut value = serde_json::to_value(&shown).context("write the kubeconfig")?;
    if !args.raw {
        hide(&mut value);
    }
    match args.output.as_str() {
        "json" => Ok(format!("{value:#}\n")),
        _ => serde_saphyr::to_string(&value).context("write the kubeconfig as YAML"),
    }
}

/// Puts words in the place of certificates and secrets.
fn hide(value: &mut Value) {
    for (list, entry) in [("clusters", "cluster"), ("users", "user")] {
        let entries = value[list].as_array_mut().into_iter().flatten();
        for fields in entries.filter_map(|named| named[entry].as_object_mut()) {
            for (key, value) in fields.iter_mut() {
                if value.is_null() {
                    continue;
                }
                if CERTIFICATES.contains(&key.as_str()) {
                    *value = Value::from(OMITTED);
                } else if SECRETS.contains(&key.as_str()) {
                    *value = Value::from(REDACTED);
                }
            }
            // Settings of plugins may hold anything; their names say enough.
            if let Some(config) = fields.get_mut("auth-provider") {
                config["config"] = Value::from(REDACTED);
            }
            let environment = fields
                .get_mut("exec")
                .and_then(|exec| exec["env"].as_array_mut());
            for variable in environment.into_iter().flatten() {
                variable["value"] = Value::from(REDACTED);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig() -> Kubeconfig {
        Kubeconfig::parse(
            "apiVersion: v1
kind: Config
current-context: b
contexts:
- {name: b, context: {cluster: c, user: u, namespace: here}}
- {name: a, context: {cluster: c, user: u}}
clusters: [{name: c, cluster: {server: 'https://c', certificate-authority-data: s3cret}}]
users: [{name: u, user: {token: s3cret, client-key-data: s3cret, exec: {command: x, env: [{name: A, value: s3cret}]}}}]
",
        )
        .expect("a kubeconfig")
    }

    #[test]
    fn contexts_are_listed_by_name_and_the_current_one_is_marked() {
        let args = |names: &[&str], output: Option<&str>, no_headers| ContextsArgs {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            output: output.map(str::to_owned),
            no_headers,
        };
        expect_test::expect![[r#"
            CURRENT   NAME   CLUSTER   AUTHINFO   NAMESPACE
                      a      c         u          
            *         b      c         u          here
        "#]]
        .assert_eq(&contexts(&kubeconfig(), &args(&[], None, false)).expect("listed"));
        let names = contexts(&kubeconfig(), &args(&[], Some("name"), false)).expect("listed");
        assert_eq!(names, "a\nb\n");
        let one = contexts(&kubeconfig(), &args(&["a"], None, true)).expect("listed");
        assert_eq!(one.lines().count(), 1);
        assert!(contexts(&kubeconfig(), &args(&["z"], None, false)).is_err());
    }

    #[test]
    fn secrets_are_hidden_unless_asked_for() {
        let args = |raw, output: &str| ViewArgs {
            minify: true,
            raw,
            output: output.to_owned(),
        };
        for output in ["yaml", "json"] {
            let hidden = view(&kubeconfig(), &args(false, output)).expect("shown");
            assert!(!hidden.contains("s3cret"), "{hidden}");
            assert!(
                hidden.contains(REDACTED) && hidden.contains(OMITTED),
                "{hidden}"
            );
            let raw = view(&kubeconfig(), &args(true, output)).expect("shown");
            assert!(raw.contains("s3cret"), "{raw}");
        }
    }
}
