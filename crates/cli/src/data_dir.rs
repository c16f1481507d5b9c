//! Where a host keeps everything: `--data-dir`, else `hyades` in the XDG data home.

use crate::console::quoted;
use anyhow::Context;
use std::env::VarError;
use std::path::Path;
use std::path::PathBuf;

/// The flag by which every command finds its host.
#[derive(Debug, Clone, clap::Args)]
pub struct DataDirArgs {
    /// The host's data folder; else hyades in $XDG_DATA_HOME or ~/.local/share
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl DataDirArgs {
    /// The flag as it was given, with a space before it; nothing if it was not.
    pub fn flag(&self) -> String {
        self.data_dir.as_deref().map(flag).unwrap_or_default()
    }

    /// The folder, as an absolute path.
    ///
    /// # Errors
    ///
    /// When none is named and the home folder is unknown.
    pub fn resolve(&self) -> anyhow::Result<PathBuf> {
        let folder = match &self.data_dir {
            Some(folder) => folder.clone(),
            None => default(|name| std::env::var(name))?,
        };
        std::path::absolute(&folder)
            .with_context(|| format!("use the data folder {}", folder.display()))
    }
}

fn default(variable: impl Fn(&str) -> Result<String, VarError>) -> anyhow::Result<PathBuf> {
    // Relative paths in XDG variables are to be ignored, says their specification.
    let absolute = |name: &str| {
        let path = PathBuf::from(variable(name).ok()?);
        path.is_absolute().then_some(path)
    };
    let data_home = absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    let data_home = data_home.context(
        "choose a data folder: neither XDG_DATA_HOME nor HOME is set; name one with --data-dir",
    )?;
    Ok(data_home.join("hyades"))
}

/// The flag that names a data folder to a command, with a space before it.
pub fn flag(folder: &Path) -> String {
    format!(" --data-dir {}", quoted(folder))
}

/// The kubeconfig in a data folder.
pub fn kubeconfig(folder: &Path) -> PathBuf {
    folder.join("kubeconfig")
}

/// The folder in a data folder that holds `clusteradm`.
pub fn programs(folder: &Path) -> PathBuf {
    folder.join("bin")
}

/// The host's log in a data folder.
pub fn log(folder: &Path) -> PathBuf {
    folder.join("host.log")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(variables: &[(&str, &str)]) -> Option<String> {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found
                .map(|(_, value)| (*value).to_owned())
                .ok_or(VarError::NotPresent)
        };
        let path = default(lookup).ok()?;
        Some(path.display().to_string())
    }

    #[test]
    fn the_default_follows_the_xdg_specification() {
        let home = ("HOME", "/home/a");
        assert_eq!(
            chosen(&[home]).as_deref(),
            Some("/home/a/.local/share/hyades")
        );
        let data = ("XDG_DATA_HOME", "/data");
        assert_eq!(chosen(&[home, data]).as_deref(), Some("/data/hyades"));
        let relative = ("XDG_DATA_HOME", "data");
        assert_eq!(
            chosen(&[home, relative]).as_deref(),
            Some("/home/a/.local/share/hyades")
        );
        assert_eq!(chosen(&[]), None);
    }
}
