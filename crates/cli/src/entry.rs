//! How a command begins and ends: with a runtime of its own, and with an exit code.

use crate::console::Console;
use std::process::ExitCode;

/// Runs a short command on a runtime of its own.
///
/// # Errors
///
/// Those of the command, and of a machine that gives no runtime.
pub fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(command)
}

/// Tells why a command failed, if it did; gives its exit code.
pub fn conclude(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Console::Terminal.warn(format!("Error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
