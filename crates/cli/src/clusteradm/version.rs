//! `clusteradm version`: two lines, no server asked.

use crate::console::Console;

/// What is printed. The bundle is the image that `init` and `join` use by default: that of this
/// very version.
fn text() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("clusteradm\tversion\t:v{version}\ndefault bundle\tversion\t:{version}")
}

/// Runs `version`.
pub fn run(console: Console) {
    console.line(text());
}
