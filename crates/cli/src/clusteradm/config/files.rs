//! The kubeconfig files that `config` works on: read as one, as every other command reads them, and
//! written where each entry lies.

use crate::kubeconfig_file;
use anyhow::Context;
use hyades_pki::Kubeconfig;
use hyades_pki::kubeconfig::NamedCluster;
use hyades_pki::kubeconfig::NamedContext;
use hyades_pki::kubeconfig::NamedUser;
use std::path::Path;
use std::path::PathBuf;

/// A file, as it was read and as it shall be.
struct File {
    path: PathBuf,
    before: Kubeconfig,
    after: Kubeconfig,
}

/// One file, or several that `KUBECONFIG` lists: of entries with one name the first counts.
pub struct Files {
    files: Vec<File>,
    /// The file that new entries go to: the first that exists, else the first.
    fallback: usize,
}

impl Files {
    /// Reads `file`, else those of `KUBECONFIG`, else `~/.kube/config`.
    ///
    /// # Errors
    ///
    /// Files that cannot be read, and a home folder that is not known.
    pub fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let paths = paths(file)?;
        let fallback = paths.iter().position(|path| path.exists()).unwrap_or(0);
        let files = paths.into_iter().map(|path| {
            let before = kubeconfig_file::read(&path)?;
            let after = before.clone();
            Ok(File {
                path,
                before,
                after,
            })
        });
        Ok(Self {
            files: files.collect::<anyhow::Result<_>>()?,
            fallback,
        })
    }

    /// What they are called in messages.
    pub fn origin(&self) -> String {
        let paths = self
            .files
            .iter()
            .map(|file| file.path.display().to_string());
        paths.collect::<Vec<_>>().join(":")
    }

    /// All of them as one.
    pub fn merged(&self) -> Kubeconfig {
        let mut files = self.files.iter().map(|file| &file.before);
        let mut merged = files.next().cloned().unwrap_or_else(Kubeconfig::empty);
        for file in files {
            add(&mut merged.clusters, &file.clusters, cluster);
            add(&mut merged.contexts, &file.contexts, context);
            add(&mut merged.users, &file.users, user);
            if merged.current_context.is_empty() {
                merged.current_context.clone_from(&file.current_context);
            }
            for (key, value) in &file.other {
                let present = merged.other.entry(key.clone());
                present.or_insert_with(|| value.clone());
            }
        }
        merged
    }

    /// Brings what changed between two states of the whole into the files that hold it. New entries
    /// go to one file, and the current context to the file that states one.
    pub fn distribute(&mut self, before: &Kubeconfig, after: &Kubeconfig) {
        let fallback = self.fallback;
        let mut states = self.files.iter();
        let states = states.position(|file| !file.before.current_context.is_empty());
        let mut files: Vec<_> = self.files.iter_mut().map(|file| &mut file.after).collect();
        if after.current_context != before.current_context {
            let file = &mut files[states.unwrap_or(fallback)];
            file.current_context.clone_from(&after.current_context);
        }
        let mut clusters: Vec<_> = files.iter_mut().map(|file| &mut file.clusters).collect();
        spread(
            &mut clusters,
            fallback,
            &before.clusters,
            &after.clusters,
            cluster,
        );
        let mut contexts: Vec<_> = files.iter_mut().map(|file| &mut file.contexts).collect();
        spread(
            &mut contexts,
            fallback,
            &before.contexts,
            &after.contexts,
            context,
        );
        let mut users: Vec<_> = files.iter_mut().map(|file| &mut file.users).collect();
        spread(&mut users, fallback, &before.users, &after.users, user);
        let file = &mut files[fallback];
        file.api_version.get_or_insert("v1".to_owned());
        file.kind.get_or_insert("Config".to_owned());
    }

    /// Replaces the files that shall be others.
    ///
    /// # Errors
    ///
    /// A folder that cannot be written.
    pub fn write(&self) -> anyhow::Result<()> {
        for file in self.files.iter().filter(|file| file.after != file.before) {
            let text = file
                .after
                .to_yaml()
                .context("write the kubeconfig as YAML")?;
            kubeconfig_file::replace(&kubeconfig_file::resolved(&file.path), &text)?;
        }
        Ok(())
    }
}

fn cluster(entry: &NamedCluster) -> &str {
    &entry.name
}

fn context(entry: &NamedContext) -> &str {
    &entry.name
}

fn user(entry: &NamedUser) -> &str {
    &entry.name
}

/// Adds entries whose names are new.
fn add<T: Clone>(all: &mut Vec<T>, further: &[T], name: fn(&T) -> &str) {
    for entry in further {
        if !all.iter().any(|present| name(present) == name(entry)) {
            all.push(entry.clone());
        }
    }
}

/// Brings the changes of entries of one kind into the first file that holds each.
fn spread<T: Clone + PartialEq>(
    files: &mut [&mut Vec<T>],
    fallback: usize,
    before: &[T],
    after: &[T],
    name: fn(&T) -> &str,
) {
    let find = |entries: &[T], wanted: &str| entries.iter().position(|one| name(one) == wanted);
    for gone in before.iter().map(name) {
        if find(after, gone).is_some() {
            continue;
        }
        for file in files.iter_mut() {
            if let Some(place) = find(file, gone) {
                file.remove(place);
                break;
            }
        }
    }
    for entry in after.iter().filter(|entry| !before.contains(entry)) {
        let holder = files
            .iter()
            .position(|file| find(file, name(entry)).is_some());
        let file = &mut files[holder.unwrap_or(fallback)];
        match find(file, name(entry)) {
            Some(place) => file[place] = entry.clone(),
            None => file.push(entry.clone()),
        }
    }
}

/// The files to work on.
fn paths(file: Option<&Path>) -> anyhow::Result<Vec<PathBuf>> {
    if let Some(file) = file {
        return Ok(vec![file.to_owned()]);
    }
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let listed: Vec<PathBuf> = std::env::split_paths(&listed)
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    if !listed.is_empty() {
        return Ok(listed);
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home =
        home.context("there is no HOME to find a kubeconfig in; name one with --kubeconfig")?;
    Ok(vec![PathBuf::from(home).join(".kube/config")])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(texts: &[&str]) -> Files {
        let files = texts.iter().enumerate().map(|(number, text)| {
            let before = Kubeconfig::parse(text).expect("a kubeconfig");
            File {
                path: PathBuf::from(format!("/{number}")),
                after: before.clone(),
                before,
            }
        });
        Files {
            files: files.collect(),
            fallback: 0,
        }
    }

    const FIRST: &str = "contexts: [{name: a, context: {cluster: a, user: u}}]
clusters: [{name: a, cluster: {server: 'https://a'}}, {name: both, cluster: {server: 'https://1'}}]
";
    const SECOND: &str = "current-context: b
contexts: [{name: b, context: {cluster: both, user: u}}]
clusters: [{name: both, cluster: {server: 'https://2'}}]
users: [{name: u, user: {token: t}}]
";

    #[test]
    fn several_files_are_read_as_one_and_the_first_entry_of_a_name_counts() {
        let merged = files(&[FIRST, SECOND]).merged();
        assert_eq!(merged.current_context, "b");
        let names: Vec<_> = merged.contexts.iter().map(context).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(
            merged.clusters[1].cluster.server.as_deref(),
            Some("https://1")
        );
        assert_eq!(merged.clusters.len(), 2);
        assert_eq!(files(&[FIRST, SECOND]).origin(), "/0:/1");
    }

    #[test]
    fn a_change_is_written_where_the_entry_lies_and_a_new_entry_into_one_file() {
        let mut files = files(&[FIRST, SECOND]);
        let before = files.merged();
        let mut after = before.clone();
        after.current_context = "a".to_owned();
        after.contexts[1].context.namespace = Some("n".to_owned());
        after.clusters.retain(|entry| entry.name != "both");
        let mut fresh = after.contexts[0].clone();
        fresh.name = "c".to_owned();
        after.contexts.push(fresh);
        files.distribute(&before, &after);
        let [first, second] = [&files.files[0].after, &files.files[1].after];
        assert_eq!(first.current_context, "", "the second states it");
        assert_eq!(second.current_context, "a");
        let names: Vec<_> = first.contexts.iter().map(context).collect();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(second.contexts.len(), 1);
        assert_eq!(second.contexts[0].context.namespace.as_deref(), Some("n"));
        assert_eq!(first.clusters.len(), 1);
        assert_eq!(
            second.clusters.len(),
            1,
            "kubectl leaves the hidden one too"
        );
        assert_eq!(second.users, before.users);
    }
}
