//! Tells the linker how to lay out the released binary.

use std::env;
use std::path::Path;

/// Functions in the order in which they shall lie, made by `cargo xtask layout`.
const LAYOUT: &str = "layout/x86_64-unknown-linux-gnu.txt";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={LAYOUT}");
    let is = |variable: &str, wanted: &str| env::var(variable).is_ok_and(|value| value == wanted);
    // For this target Rust links with an LLD of its own, which knows the options below.
    let has_lld = is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu");
    if !has_lld || !is("PROFILE", "release") {
        return;
    }
    // 2 MB of relocations, which every process reads at its start, become 20 KB.
    link("-z,pack-relative-relocs");
    // What components run lies together, so that they have a quarter of the binary resident.
    let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let layout = Path::new(&folder).join(LAYOUT);
    link(&format!("--symbol-ordering-file={}", layout.display()));
    // Other versions of the compiler or of a dependency name functions differently.
    link("--no-warn-symbol-ordering");
}

fn link(option: &str) {
    println!("cargo::rustc-link-arg-bins=-Wl,{option}");
}
