//! Manifests from files, as kubectl's `-f` names them.

use crate::clusteradm::choices::read_limited;
use anyhow::Context;
use anyhow::bail;
use serde_json::Value;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

/// Largest file of manifests, in bytes. A work of them becomes one object of the hub, which holds
/// no more than 3 MiB; YAML with comments may take several times that.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Most files below one folder: a folder with more is hardly one of manifests.
const FILES_MAX: usize = 1_000;
/// Deepest folder below one named with `--recursive`.
const DEPTH_MAX: usize = 32;

/// The flags that name files.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FileFlags {
    /// File or folder of manifests, or - for standard input; may be repeated
    #[arg(short, long, value_name = "FILE", value_delimiter = ',')]
    filename: Vec<PathBuf>,
    /// Not supported: there is no kustomize in this program
    #[arg(short, long, value_name = "FOLDER", hide = true)]
    kustomize: Option<String>,
    /// Also read the folders below a folder
    #[arg(short = 'R', long)]
    recursive: bool,
}

impl FileFlags {
    /// The flags of a user who named this one file.
    pub fn of(file: &Path) -> Self {
        Self {
            filename: vec![file.to_owned()],
            ..Self::default()
        }
    }

    /// The manifests in all the files, lists taken apart.
    ///
    /// # Errors
    ///
    /// No files, files that cannot be read, and documents that are no objects.
    pub fn read(&self) -> anyhow::Result<Vec<Value>> {
        if let Some(folder) = &self.kustomize {
            bail!(
                "--kustomize cannot be used: there is no kustomize in this program; pipe its output in, as in 'kubectl kustomize {folder} | … -f -'"
            );
        }
        if self.filename.is_empty() {
            bail!("must specify one of -f and -k; name a file of manifests with --filename");
        }
        let mut manifests = Vec::new();
        for file in &self.filename {
            let shown = file.display();
            if let Some(text) = file.to_str()
                && (text.starts_with("http://") || text.starts_with("https://"))
            {
                bail!(
                    "--filename {text} cannot be used: this program fetches no manifests; download it, and pipe it in with --filename -"
                );
            }
            if file.as_os_str() == "-" {
                let mut text = String::new();
                let input = std::io::stdin().take(FILE_BYTES_MAX + 1);
                { input }
                    .read_to_string(&mut text)
                    .context("read manifests from standard input")?;
                if text.len() as u64 > FILE_BYTES_MAX {
                    bail!(
                        "read manifests from standard input: it is larger than {FILE_BYTES_MAX} bytes"
                    );
                }
                manifests.extend(parse(&text).context("read manifests from standard input")?);
                continue;
            }
            for path in self.files(file)? {
                let tried = || format!("read the manifests in {}", path.display());
                let text = read_limited(&path, FILE_BYTES_MAX).with_context(tried)?;
                manifests.extend(parse(&text).with_context(tried)?);
            }
            if manifests.is_empty() {
                bail!(
                    "there are no manifests in {shown}; name a file with objects in YAML or JSON"
                );
            }
        }
        Ok(manifests)
    }

    /// A file itself; of a folder, the files with YAML or JSON in it.
    fn files(&self, path: &Path) -> anyhow::Result<Vec<PathBuf>> {
        if !path.is_dir() {
            return Ok(vec![path.to_owned()]);
        }
        let mut files = Vec::new();
        let depth = if self.recursive { DEPTH_MAX } else { 1 };
        collect(path, depth, &mut files)
            .with_context(|| format!("read the folder {}", path.display()))?;
        files.sort();
        Ok(files)
    }
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        // A link to a folder may lead in a circle.
        let is_folder = entry.file_type()?.is_dir();
        if is_folder && depth > 1 {
            collect(&path, depth - 1, files)?;
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !is_folder && matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            bail!("there are more than {FILES_MAX} files of manifests; name fewer");
        }
    }
    Ok(())
}

/// The objects in the text of a file.
fn parse(text: &str) -> anyhow::Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| {
        // The parser draws the offending lines below its message.
        let reason = error.to_string();
        anyhow::anyhow!("{}", reason.lines().next().unwrap_or_default())
    })?;
    let mut objects = Vec::new();
    for document in documents {
        if document.is_null() {
            continue;
        }
        match document["items"].as_array() {
            Some(items)
                if document["kind"]
                    .as_str()
                    .is_some_and(|kind| kind.ends_with("List")) =>
            {
                objects.extend(items.iter().cloned());
            }
            _ => objects.push(document),
        }
    }
    for (index, object) in objects.iter().enumerate() {
        for (field, value) in [
            ("apiVersion", &object["apiVersion"]),
            ("kind", &object["kind"]),
            ("metadata.name", &object["metadata"]["name"]),
        ] {
            if value.as_str().is_none_or(str::is_empty) {
                bail!(
                    "manifest {} has no {field}; every manifest must be a Kubernetes object with one",
                    index + 1
                );
            }
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";

    #[test]
    fn documents_and_lists_are_taken_apart() {
        let text = format!("{MAP}---\n---\n{MAP}");
        assert_eq!(parse(&text).expect("read").len(), 2);
        let list = r#"{"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}]}"#;
        assert_eq!(parse(list).expect("read")[0]["metadata"]["name"], "a");
        assert!(parse("").expect("read").is_empty());
    }

    #[test]
    fn what_is_no_object_is_refused_by_the_field_it_lacks() {
        for (text, field) in [
            ("kind: ConfigMap\nmetadata: {name: a}\n", "apiVersion"),
            ("apiVersion: v1\nmetadata: {name: a}\n", "kind"),
            ("apiVersion: v1\nkind: ConfigMap\n", "metadata.name"),
            ("just text\n", "apiVersion"),
        ] {
            let error = parse(text).expect_err("refused").to_string();
            assert!(
                error.contains(&format!("has no {field}")),
                "{text}: {error}"
            );
        }
        assert!(parse("{").is_err());
    }

    #[test]
    fn a_folder_gives_its_files_and_with_a_flag_those_below() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("below");
        std::fs::create_dir(&below).expect("made");
        std::fs::write(folder.path().join("a.yaml"), MAP).expect("written");
        std::fs::write(folder.path().join("notes.txt"), "no manifest").expect("written");
        std::fs::write(below.join("b.json"), "{").expect("written");
        let flags = |recursive| FileFlags {
            filename: vec![folder.path().to_owned()],
            recursive,
            ..FileFlags::default()
        };
        assert_eq!(flags(false).read().expect("read").len(), 1);
        let error = format!("{:#}", flags(true).read().expect_err("broken"));
        assert!(error.contains("b.json"), "{error}");
    }

    #[test]
    fn what_cannot_be_had_is_refused_by_name() {
        let refused = |flags: FileFlags| flags.read().expect_err("refused").to_string();
        assert!(refused(FileFlags::default()).contains("--filename"));
        let url = FileFlags {
            filename: vec!["https://example.com/a.yaml".into()],
            ..FileFlags::default()
        };
        assert!(refused(url).contains("download it"));
        let kustomize = FileFlags {
            kustomize: Some("overlay".to_owned()),
            ..FileFlags::default()
        };
        assert!(refused(kustomize).contains("no kustomize"));
    }
}
