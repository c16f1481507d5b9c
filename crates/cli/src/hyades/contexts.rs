//! Merging a host's contexts into a kubeconfig of the user's, which keeps everything it holds.

use crate::data_dir;
use crate::kubeconfig_file::read;
use crate::kubeconfig_file::replace;
use crate::kubeconfig_file::resolved;
use anyhow::Context;
use hyades_pki::Kubeconfig;
use hyades_pki::kubeconfig::Credentials;
use hyades_pki::kubeconfig::OWNER_EXTENSION;
use std::fs;
use std::path::Path;

/// Checks, before anything starts, that contexts of these names can be merged into `file`.
///
/// # Errors
///
/// A file that cannot be read, or holds entries of these names that this host did not write.
pub fn check(file: &Path, folder: &Path, names: &[String]) -> anyhow::Result<()> {
    let mut present = read(file)?;
    let owner = owner(&read(&data_dir::kubeconfig(folder))?).unwrap_or_default();
    let credentials = Credentials::Token(String::new());
    for name in names {
        // The entries to come have the names of these; what else they hold is not known yet.
        let mut to_come = Kubeconfig::for_server(name, "", "", &credentials);
        let user = format!("{name}-admin");
        to_come
            .users
            .iter_mut()
            .for_each(|entry| entry.name.clone_from(&user));
        present
            .merge(&to_come, &owner)
            .with_context(|| clash(file))?;
    }
    Ok(())
}

/// Merges the host's contexts into `file`.
///
/// # Errors
///
/// As for [`check`]; a file that cannot be written.
pub fn merge(file: &Path, folder: &Path, owner: &str, names: &[String]) -> anyhow::Result<()> {
    let own = data_dir::kubeconfig(folder);
    if same_file(file, &own) {
        return Ok(());
    }
    let mut addition = read(&own)?;
    let wanted = |name: &String| names.contains(name);
    addition.contexts.retain(|entry| wanted(&entry.name));
    addition.clusters.retain(|entry| {
        let mut contexts = addition.contexts.iter();
        contexts.any(|named| named.context.cluster == entry.name)
    });
    addition.users.retain(|entry| {
        let mut contexts = addition.contexts.iter();
        contexts.any(|named| named.context.user == entry.name)
    });
    let before = read(file)?;
    let mut after = before.clone();
    after.merge(&addition, owner).with_context(|| clash(file))?;
    if after == before {
        return Ok(());
    }
    let text = after.to_yaml().context("write the kubeconfig as YAML")?;
    replace(&resolved(file), &text)
}

fn clash(file: &Path) -> String {
    format!("merge contexts into {} (--kubeconfig)", file.display())
}

/// The host that marked the entries of its own kubeconfig.
fn owner(kubeconfig: &Kubeconfig) -> Option<String> {
    let extensions = kubeconfig
        .contexts
        .first()?
        .context
        .other
        .get("extensions")?;
    let mark = extensions
        .as_array()?
        .iter()
        .find(|extension| extension["name"] == OWNER_EXTENSION)?;
    Some(mark["extension"]["id"].as_str()?.to_owned())
}

fn same_file(one: &Path, other: &Path) -> bool {
    one == other
        || matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREIGN: &str = "apiVersion: v1
kind: Config
current-context: prod
preferences: {colors: true}
contexts:
- {name: prod, context: {cluster: prod, user: me, namespace: here}}
clusters:
- {name: prod, cluster: {server: 'https://prod', tls-server-name: x}}
users:
- {name: me, user: {exec: {command: login}}}
";

    fn host_folder(owner: &str, names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let mut own = Kubeconfig::empty();
        for name in names {
            let credentials = Credentials::Certificate {
                certificate_pem: "C".to_owned(),
                key_pem: "K".to_owned(),
            };
            let url = format!("https://h/spaces/{name}");
            let one = Kubeconfig::for_server(name, &url, "CA", &credentials);
            own.merge(&one, owner).expect("no conflict");
        }
        let path = data_dir::kubeconfig(folder.path());
        replace(&path, &own.to_yaml().expect("YAML")).expect("written");
        folder
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn contexts_are_added_and_nothing_foreign_is_lost() {
        let folder = host_folder("host-1", &["its1", "other"]);
        let file = folder.path().join("theirs");
        fs::write(&file, FOREIGN).expect("written");
        let wanted = names(&["its1"]);
        check(&file, folder.path(), &wanted).expect("no clash");
        merge(&file, folder.path(), "host-1", &wanted).expect("merged");
        let merged = read(&file).expect("read");
        let foreign = Kubeconfig::parse(FOREIGN).expect("a kubeconfig");
        assert_eq!(merged.current_context, "prod");
        assert_eq!(merged.other, foreign.other);
        assert_eq!(merged.contexts.len(), 2);
        assert!(merged.context("its1").is_ok() && merged.context("other").is_err());
        assert_eq!(merged.clusters[0], foreign.clusters[0]);
        assert_eq!(merged.users[0], foreign.users[0]);
        // Again: the same host may replace its own.
        check(&file, folder.path(), &wanted).expect("its own");
        merge(&file, folder.path(), "host-1", &wanted).expect("merged");
    }

    #[test]
    fn entries_of_others_are_a_clear_error_before_anything_starts() {
        let folder = host_folder("host-1", &["prod"]);
        let file = folder.path().join("theirs");
        fs::write(&file, FOREIGN).expect("written");
        let error = check(&file, folder.path(), &names(&["prod"])).expect_err("a clash");
        let text = format!("{error:#}");
        assert!(text.contains("context \"prod\""), "{text}");
        assert_eq!(fs::read_to_string(&file).expect("there"), FOREIGN);
    }
}
