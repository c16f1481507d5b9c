//! A command that runs beside the test, as in a second terminal.

use crate::harness::Host;

/// The command; it is killed with this value.
pub struct Beside<'a> {
    host: &'a Host,
    process: String,
}

impl<'a> Beside<'a> {
    /// Starts the command.
    pub fn start(host: &'a Host, command: &str) -> Self {
        let line = format!("{command} >beside.log 2>&1 & echo $!");
        let process = host.run(&line).ok().trim().to_owned();
        Self { host, process }
    }

    /// Waits until the command has said all of `parts`; gives what it said so far.
    #[track_caller]
    pub fn until_said(&self, parts: &[&str]) -> String {
        self.host.until_seen("cat beside.log", parts)
    }

    /// Waits until the command ends by itself; the whole text.
    #[track_caller]
    pub fn until_ended(self) -> String {
        let ended = format!("kill -s 0 {} 2>&1", self.process);
        self.host.until(&ended, |ran| ran.code != Some(0));
        self.host.run("cat beside.log").ok()
    }

    /// Presses Ctrl-C; the whole text once it has ended.
    #[track_caller]
    pub fn interrupt(self) -> String {
        self.host.run(&format!("kill -s INT {}", self.process)).ok();
        self.until_ended()
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        self.host
            .run(&format!("kill -s KILL {} 2>&1", self.process));
    }
}
