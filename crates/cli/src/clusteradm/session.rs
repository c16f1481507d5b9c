//! What every command of clusteradm finds around it.

use crate::console::Console;
use crate::target::Target;
use std::time::Duration;

/// One run of a command.
pub struct Session {
    /// The program as typed; it appears in the commands printed and in approvals.
    pub header: String,
    /// The cluster the command acts on.
    pub target: Target,
    /// Whether objects are shown rather than applied.
    pub dry_run: bool,
    /// Bound of every wait.
    pub timeout: Duration,
    /// Where words go.
    pub console: Console,
}

impl Session {
    /// The same run of the command, on another cluster.
    pub fn on(&self, target: Target) -> Self {
        Self {
            header: self.header.clone(),
            target,
            ..*self
        }
    }

    /// Says so when nothing will be applied.
    pub fn announce_dry_run(&self) {
        if self.dry_run {
            self.console
                .line(format!("{} is running in dry-run mode", self.header));
        }
    }
}
