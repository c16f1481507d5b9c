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
    // 2 MB of relocations, which every process reads at its start, become 20 KB.
    let relocations = ["-z", "pack-relative-relocs"].map(str::to_owned);
    // What components run lies together, so that they have a quarter of the binary resident. Other
    // versions of the compiler or of a dependency name functions differently; that is no mistake.
    let order = [
        format!("--symbol-ordering-file={}", layout.display()),
        "--no-warn-symbol-ordering".to_owned(),
    ];
    for options in [relocations, order] {
        if serves(&options) {
            for option in options {
                println!("cargo::rustc-link-arg-bins=-Xlinker");
                println!("cargo::rustc-link-arg-bins={option}");
            }
        }
    }
}

/// Whether a program linked with these options links and starts: not every linker knows them, and
/// packed relocations need glibc 2.36.
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
        rustc.args(["-C", "link-arg=-Xlinker", "-C"]);
        rustc.arg(format!("link-arg={option}"));
    }
    let linked = rustc.arg("-o").arg(&program).arg(&source).output();
    let links = linked.is_ok_and(|linked| linked.status.success());
    links
        && Command::new(&program)
            .status()
            .is_ok_and(|status| status.success())
}
