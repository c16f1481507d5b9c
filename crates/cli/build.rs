//! Tells the linker how to lay out the released binary.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// Functions in the order in which they shall lie, made by `cargo xtask layout`.
const LAYOUT: &str = "layout/x86_64-unknown-linux-gnu.txt";

/// The target that the layout is made for.
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={LAYOUT}");
    let is = |variable: &str, wanted: &str| env::var(variable).is_ok_and(|value| value == wanted);
    // Whether the options serve can only be tried out where the binary is to run.
    if !is("TARGET", TARGET) || !is("HOST", TARGET) || !is("PROFILE", "release") {
        return;
    }
    let folder = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let layout = Path::new(&folder).join(LAYOUT);
    // Where the binary may lie anywhere, every process writes 1.5 MB of addresses at its start and
    // keeps them for itself. Libraries, heap and stack still lie where nobody can foresee, as with
    // the binaries of Go that Kubernetes is made of.
    let fixed = ["-no-pie".to_owned()];
    // What components run lies together, so that they have a quarter of the binary resident. Other
    // versions of the compiler or of a dependency name functions differently; that is no mistake.
    let order = [
        "-Xlinker".to_owned(),
        format!("--symbol-ordering-file={}", layout.display()),
        "-Xlinker".to_owned(),
        "--no-warn-symbol-ordering".to_owned(),
    ];
    for options in [&fixed[..], &order[..]] {
        if serves(options) {
            for option in options {
                println!("cargo::rustc-link-arg-bins={option}");
            }
        }
    }
}

/// Whether a program linked with these options links and starts: not every linker knows them.
fn serves(options: &[String]) -> bool {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let (source, program) = (out.join("probe.rs"), out.join("probe"));
    if fs::write(&source, "fn main() {}").is_err() {
        return false;
    }
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc")));
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut setting = OsString::from("linker=");
        setting.push(linker);
        rustc.arg("-C").arg(setting);
    }
    for option in options {
        rustc.arg("-C").arg(format!("link-arg={option}"));
    }
    let linked = rustc.arg("-o").arg(&program).arg(&source).output();
    let links = linked.is_ok_and(|linked| linked.status.success());
    links
        && Command::new(&program)
            .status()
            .is_ok_and(|status| status.success())
}
