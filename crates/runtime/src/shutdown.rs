//! When to stop: SIGTERM, SIGINT, or the death of the node that started this process.

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio_util::sync::CancellationToken;

/// Set by the process node to its own process id: pods die with their node.
pub const NODE_PID_VARIABLE: &str = "HYADES_NODE_PID";

/// A token cancelled by the first SIGTERM or SIGINT. A second one ends the process at once.
///
/// Must be called inside a tokio runtime.
///
/// # Errors
///
/// When the operating system refuses to install a signal handler.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let cancel = token.clone();
    tokio::spawn(async move {
        for last in [false, true] {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if last {
                tracing::warn!("received {name} again: ending at once");
                std::process::exit(1);
            }
            cancel.cancel();
            tracing::info!("received {name}: stopping");
        }
    });
    Ok(token)
}

/// Ties this process's life to the process node named by [`NODE_PID_VARIABLE`], if there is one.
///
/// Returns `false` when the node is gone already, in which case the process should end.
pub fn follow_node() -> bool {
    let Some(node) = std::env::var(NODE_PID_VARIABLE)
        .ok()
        .and_then(|pid| pid.parse::<i32>().ok())
    else {
        return true;
    };
    #[cfg(target_os = "linux")]
    {
        use rustix::process::Signal;
        use rustix::process::set_parent_process_death_signal;
        if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
            tracing::warn!("cannot follow the node's life: {error}");
        }
    }
    // The signal is not sent for a parent that died before it was asked for.
    rustix::process::getppid().is_some_and(|parent| parent.as_raw_nonzero().get() == node)
}
