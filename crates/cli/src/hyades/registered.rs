//! Which WECs `up` has registered once: a file in the data folder, one name a line.
//!
//! A WEC that is in it and unknown to the hub was deregistered by its administrator, and is not
//! brought back against that will.

use anyhow::Context;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;

/// The file's name.
const FILE: &str = "registered";

/// The names, and where they are kept.
pub struct Registered {
    path: PathBuf,
    names: BTreeSet<String>,
}

impl Registered {
    /// Reads the file; there is none before the first registration.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            read => read.with_context(|| format!("read {}", path.display()))?,
        };
        let names = text.lines().map(str::to_owned).collect();
        Ok(Self { path, names })
    }

    /// Whether this WEC was registered once.
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Notes that a WEC is registered.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn add(&mut self, name: &str) -> anyhow::Result<()> {
        if self.names.insert(name.to_owned()) {
            let lines: String = self.names.iter().map(|name| format!("{name}\n")).collect();
            crate::kubeconfig_file::replace(&self.path, &lines)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut registered = Registered::load(folder.path()).expect("no file yet");
        assert!(!registered.contains("cluster1"));
        registered.add("cluster1").expect("written");
        registered.add("cluster2").expect("written");
        let again = Registered::load(folder.path()).expect("read");
        assert!(again.contains("cluster1") && again.contains("cluster2"));
        assert!(!again.contains("cluster"));
    }
}
