//! The one binary: `hyades`, and `clusteradm` when called by that name.
//!
//! ```text
//! argv[0] is clusteradm ─────────────┐
//! hyades clusteradm … ───────────────┴▶ clusteradm   hubs, joins, acceptance on any cluster
//! hyades component NAME … ───────────▶ component     what the pods of the image run
//! hyades up, down, serve, space … ───▶ hyades        hosts and their spaces
//! ```

mod clusteradm;
mod component;
mod console;
mod data_dir;
mod entry;
mod hyades;
mod kubeconfig_file;
mod progress;
mod target;
mod wait;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// The name by which the binary is clusteradm.
pub(crate) const CLUSTERADM: &str = "clusteradm";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_else(|| "hyades".into());
    let rest: Vec<OsString> = arguments.collect();
    // Printed commands begin with the program as typed, which is what runs again.
    let typed = program.to_string_lossy();
    if Path::new(&program)
        .file_name()
        .is_some_and(|name| name == CLUSTERADM)
    {
        return clusteradm::main(&typed, rest);
    }
    if rest.first().is_some_and(|word| word == CLUSTERADM) {
        let header = format!("{typed} {CLUSTERADM}");
        return clusteradm::main(&header, rest.into_iter().skip(1).collect());
    }
    hyades::main(program, rest)
}
