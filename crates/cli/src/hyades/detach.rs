//! `--detach`: the host goes on in a process of its own, and this one returns once it is ready.
//!
//! ```text
//! hyades up --detach ──starts──▶ hyades up --detached   (own session, log in DATA_DIR/host.log)
//!        ▲                            │
//!        └──── lines of progress ─────┘ until READY, or FAILED with the reason
//! ```

use super::serving;
use super::serving::HostArgs;
use crate::console::print;
use crate::progress::board;
use anyhow::Context;
use anyhow::bail;
use std::io::BufRead;
use std::io::BufReader;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

/// The line by which the process in the background says that it is ready.
const READY: &str = "\u{4}";
/// The start of the line by which it says why it ends.
const FAILED: char = '\u{15}';
/// The flag that asks for all this.
const FLAG: &str = "--detach";

/// Starts this very command again in the background, shows its progress, and returns when it is
/// ready.
///
/// # Errors
///
/// The reason why the other process ended.
pub fn run(args: &HostArgs) -> anyhow::Result<()> {
    let folder = args.data_dir.resolve()?;
    serving::create_folder(&folder)?;
    let log = serving::open_log(&folder)?;
    let arguments = std::env::args_os().skip(1).filter(|word| word != FLAG);
    let program = std::env::current_exe().context("find the program's own file")?;
    let mut child = Command::new(program)
        .args(arguments)
        .arg("--detached")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("start the host in the background")?;
    let log = crate::data_dir::log(&folder);
    follow(&mut child, &args.data_dir.flag())
        .with_context(|| format!("the host did not start; see {}", log.display()))
}

/// Shows the lines of the child until it is ready. `folder` is the flag that names its data folder.
fn follow(child: &mut Child, folder: &str) -> anyhow::Result<()> {
    let output = child.stdout.take().context("read the host's progress")?;
    for line in BufReader::new(output).lines() {
        let line = line.context("read the host's progress")?;
        if line == READY {
            print(&format!(
                "The host runs in the background; stop it with 'hyades down{folder}'.\n"
            ));
            return Ok(());
        }
        match line.strip_prefix(FAILED) {
            Some(reason) => bail!("{reason}"),
            None => print(&format!("{line}\n")),
        }
    }
    let status = child.wait().context("wait for the host")?;
    bail!("it ended with {status}")
}

/// Leaves the session of the terminal, so that closing it does not end the host.
///
/// # Errors
///
/// When the operating system refuses.
pub fn leave_session(args: &HostArgs) -> anyhow::Result<()> {
    if args.detached {
        rustix::process::setsid().context("leave the terminal's session")?;
        board::show_elsewhere();
    }
    Ok(())
}

/// Tells the starting process that the host is ready.
pub fn announce_ready(args: &HostArgs) {
    if args.detached {
        print(&format!("{READY}\n"));
    }
}

/// Tells the starting process why the host ends.
pub fn announce_failure(args: &HostArgs, error: &anyhow::Error) {
    if args.detached {
        let reason = format!("{error:#}").replace('\n', " ");
        print(&format!("{FAILED}{reason}\n"));
    }
}
