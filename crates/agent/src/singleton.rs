//! Both agents in one process, sharing the connection to the hub.

use crate::error::AgentError;
use crate::options::KlusterletAgentOptions;
use crate::registration;
use crate::wec::with_wec;
use crate::work;
use hyades_runtime::Context;
use tokio::sync::watch;

/// Runs the component `klusterlet-agent` until shutdown. Works are served as soon as registration
/// has a session with the hub.
///
/// # Errors
///
/// Flags that do not fit together.
pub async fn run(options: KlusterletAgentOptions, context: Context) -> Result<(), AgentError> {
    with_wec(&options.common, &context, async |wec| {
        let sessions = watch::Sender::new(None);
        let receiver = sessions.subscribe();
        // On the heap: nested, the states of both agents leave little of a thread's stack.
        let registration = Box::pin(registration::run_with(
            &options.common,
            options.registration.clone(),
            context.clone(),
            wec.clone(),
            &sessions,
        ));
        let works = Box::pin(work::run_with(
            &options.common,
            options.work.clone(),
            context.clone(),
            wec.client,
            receiver,
        ));
        tokio::try_join!(registration, works).map(drop)
    })
    .await
}
