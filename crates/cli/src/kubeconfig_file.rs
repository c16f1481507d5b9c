//! Kubeconfig files of the user's: read whole, and replaced whole.

use anyhow::Context;
use hyades_pki::Kubeconfig;
use std::fs;
use std::io::ErrorKind;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

/// Reads a file; one that does not exist has no entries.
///
/// # Errors
///
/// A file that cannot be read, or is no kubeconfig.
pub fn read(path: &Path) -> anyhow::Result<Kubeconfig> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("read the kubeconfig {}", path.display()))?,
    };
    Kubeconfig::parse(&text).with_context(|| {
        format!(
            "read {}; correct the file, or choose another",
            path.display()
        )
    })
}

/// The file itself where the path is a link, so that the link stays.
pub fn resolved(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Replaces a file by one with this text; readers see the old or the new one, whole. A file that
/// exists keeps its permissions; a new one is its owner's only.
///
/// # Errors
///
/// A folder that cannot be written.
pub fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let write = || {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&fresh)?;
        if let Ok(present) = fs::metadata(path) {
            file.set_permissions(present.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().map_err(|error| {
        // What was not renamed is of no use.
        let _ = fs::remove_file(&fresh);
        anyhow::Error::new(error).context(format!(
            "write {}; make its folder writable, or choose another file",
            path.display()
        ))
    })
}
