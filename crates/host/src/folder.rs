//! The data folder: its layout, its lock, and files that are either whole or absent.
//!
//! ```text
//!  lock                      held by the running host; holds its process id
//!  host/ca.{crt,key}         the serving authority
//!  host/serving.{crt,key}    the serving certificate
//!  host.sock                 the admin socket
//!  kubeconfig                one context for each space
//!  bin/{clusteradm,hyades}   links to the binary
//!  spaces/NAME/store.redb    a space's objects
//!  spaces/NAME/client-ca.{crt,key}, service-account.key
//!  spaces/NAME/pods/         logs and kubeconfigs of its pods
//! ```

use std::ffi::OsStr;
use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::FlockOperation;

use crate::HostError;
use crate::SpaceName;

/// Files are for their owner only: most hold secrets.
const FILE_MODE: u32 = 0o600;
/// Folders likewise.
const FOLDER_MODE: u32 = 0o700;
/// Largest file read, in bytes: the kubeconfig is the largest, and its reader's limit is the same.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Longest path of a Unix socket, in bytes (`sun_path`, with its final zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Marks folders of spaces being made or deleted; no space's name begins so.
const UNFINISHED: char = '.';
/// The names the binary is called by.
const COMMANDS: [&str; 2] = ["clusteradm", "hyades"];

/// A data folder held by this process.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    /// Locked while it is open.
    _lock: File,
}

impl Folder {
    /// Creates the folder if need be, takes its lock and clears what a crash left half-done.
    pub(crate) fn open(root: &Path) -> Result<Folder, HostError> {
        create_folder(root)?;
        // The kubeconfig and links name files in here: they must not depend on where we were
        // started.
        let root = fs::canonicalize(root).map_err(HostError::file("open", root))?;
        let lock = lock(&root)?;
        let folder = Folder { root, _lock: lock };
        folder.check_socket_path()?;
        for part in ["host", "bin", "spaces"] {
            create_folder(&folder.path(part))?;
        }
        folder.sweep()?;
        Ok(folder)
    }

    /// A path inside.
    pub(crate) fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.root.join(inside)
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The admin socket.
    pub(crate) fn socket(&self) -> PathBuf {
        socket(&self.root)
    }

    /// A space's folder.
    pub(crate) fn space(&self, name: &SpaceName) -> PathBuf {
        self.path("spaces").join(name.as_str())
    }

    /// The spaces there are, in order of name.
    pub(crate) fn spaces(&self) -> Result<Vec<SpaceName>, HostError> {
        let entries = self.space_entries()?;
        let mut names: Vec<SpaceName> = entries
            .iter()
            .filter_map(|path| path.file_name().and_then(OsStr::to_str))
            .filter_map(|name| name.parse().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// Makes a space's folder appear with all its files at once.
    pub(crate) fn create_space(
        &self,
        name: &SpaceName,
        files: &[(&str, String)],
    ) -> Result<(), HostError> {
        let unfinished = self.path("spaces").join(format!("{UNFINISHED}{name}.new"));
        let done = self.space(name);
        let fill = || {
            create_folder(&unfinished)?;
            for (file, text) in files {
                write(&unfinished.join(file), text)?;
            }
            fs::rename(&unfinished, &done).map_err(HostError::file("create", &done))
        };
        fill().inspect_err(|_| drop(fs::remove_dir_all(&unfinished)))
    }

    /// Makes a space's folder disappear at once, then deletes it.
    pub(crate) fn remove_space(&self, name: &SpaceName) -> Result<(), HostError> {
        let path = self.space(name);
        let doomed = self
            .path("spaces")
            .join(format!("{UNFINISHED}{name}.deleted"));
        fs::rename(&path, &doomed).map_err(HostError::file("delete", &path))?;
        fs::remove_dir_all(&doomed).map_err(HostError::file("delete", &doomed))
    }

    /// Points the links in `bin` at the binary, under each name that it is called by.
    pub(crate) fn link_commands(&self, binary: &Path) -> Result<(), HostError> {
        for name in COMMANDS {
            let link = self.path(format!("bin/{name}"));
            if fs::read_link(&link).is_ok_and(|target| target == binary) {
                continue;
            }
            let fresh = self.path(format!("bin/.{name}.new"));
            let replace = || {
                remove_if_there(&fresh)?;
                std::os::unix::fs::symlink(binary, &fresh)?;
                fs::rename(&fresh, &link)
            };
            replace().map_err(HostError::file("link", &link))?;
        }
        Ok(())
    }

    fn space_entries(&self) -> Result<Vec<PathBuf>, HostError> {
        let spaces = self.path("spaces");
        let read = || {
            fs::read_dir(&spaces)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<std::io::Result<Vec<_>>>()
        };
        read().map_err(HostError::file("read", &spaces))
    }

    /// Removes spaces that a crash left half made or half deleted.
    fn sweep(&self) -> Result<(), HostError> {
        for path in self.space_entries()? {
            let name = path.file_name().and_then(OsStr::to_str);
            if name.is_some_and(|name| name.starts_with(UNFINISHED)) {
                fs::remove_dir_all(&path).map_err(HostError::file("delete", &path))?;
            }
        }
        Ok(())
    }

    fn check_socket_path(&self) -> Result<(), HostError> {
        let path = self.socket();
        if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(HostError::Content {
                path,
                reason: format!("a socket's path is at most {SOCKET_PATH_BYTES_MAX} bytes long"),
            });
        }
        Ok(())
    }
}

/// The admin socket of a data folder.
pub(crate) fn socket(root: &Path) -> PathBuf {
    root.join("host.sock")
}

fn lock(root: &Path) -> Result<File, HostError> {
    let path = root.join("lock");
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(&path);
    let mut file = open.map_err(HostError::file("open", &path))?;
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        let _ = (&mut file).take(32).read_to_string(&mut pid);
        let pid = match pid.trim() {
            "" => "unknown".to_owned(),
            pid => pid.to_owned(),
        };
        return Err(HostError::FolderInUse {
            folder: root.to_owned(),
            pid,
        });
    }
    let note = || {
        file.set_len(0)?;
        writeln!(&file, "{}", std::process::id())
    };
    note().map_err(HostError::file("write", &path))?;
    Ok(file)
}

/// Creates a folder and its parents, for the owner only.
pub(crate) fn create_folder(path: &Path) -> Result<(), HostError> {
    let mut builder = fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(path)
        .map_err(HostError::file("create", path))
}

/// Removes a file, which may be absent.
pub(crate) fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Replaces a file by one with this text: readers see the old or the new one, whole.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), HostError> {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or("file");
    let parent = path.parent().unwrap_or(Path::new("."));
    let fresh = parent.join(format!(".{name}.new-{}", std::process::id()));
    let replace = || {
        remove_if_there(&fresh)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        File::open(parent)?.sync_all()
    };
    replace().map_err(|error| {
        let _ = fs::remove_file(&fresh);
        HostError::file("write", path)(error)
    })
}

/// The text of a file; `None` when it does not exist.
pub(crate) fn read(path: &Path) -> Result<Option<String>, HostError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(HostError::file("read", path))?,
    };
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(HostError::file("read", path))?;
    Ok(Some(text))
}

/// The text of a file that must exist.
pub(crate) fn read_required(path: &Path) -> Result<String, HostError> {
    read(path)?.ok_or_else(|| HostError::Content {
        path: path.to_owned(),
        reason: "it is missing".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> SpaceName {
        name.parse().expect("a name")
    }

    #[test]
    fn a_folder_is_held_by_one_host_at_a_time() {
        let place = tempfile::tempdir().expect("a folder");
        let root = place.path().join("deep/data");
        let held = Folder::open(&root).expect("a new folder");
        let error = Folder::open(&root).expect_err("held");
        let expected = format!(
            "data folder already in use by a running host (pid {}): ",
            std::process::id()
        );
        assert!(error.to_string().starts_with(&expected), "{error}");
        drop(held);
        Folder::open(&root).expect("free again");
    }

    #[test]
    fn spaces_appear_and_disappear_whole() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(place.path()).expect("a new folder");
        let files = [("client-ca.key", "secret".to_owned())];
        folder.create_space(&name("b"), &files).expect("made");
        folder.create_space(&name("a"), &files).expect("made");
        assert_eq!(folder.spaces().expect("listed"), [name("a"), name("b")]);
        let key = folder.space(&name("a")).join("client-ca.key");
        assert_eq!(read_required(&key).expect("there"), "secret");
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&key).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, FILE_MODE);
        folder.remove_space(&name("a")).expect("deleted");
        assert_eq!(folder.spaces().expect("listed"), [name("b")]);

        fs::create_dir(folder.path("spaces/.c.new")).expect("what a crash leaves");
        drop(folder);
        let folder = Folder::open(place.path()).expect("reopened");
        assert_eq!(folder.space_entries().expect("listed").len(), 1);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_explained() {
        let place = tempfile::tempdir().expect("a folder");
        let file = place.path().join("file");
        fs::write(&file, "").expect("a file");
        let error = Folder::open(&file.join("data"))
            .expect_err("below a file")
            .to_string();
        assert!(error.starts_with("cannot create "), "{error}");
        assert!(
            error.ends_with("choose another data folder with --data-dir"),
            "{error}"
        );
        let long = place.path().join("x".repeat(120));
        let error = Folder::open(&long).expect_err("too long for a socket");
        assert!(error.to_string().contains("at most 107 bytes"), "{error}");
    }
}
