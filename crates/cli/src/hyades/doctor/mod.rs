//! `hyades doctor`: why a registration does not get on, on either side of it.
//!
//! ```text
//! context ─▶ probe: looks, bounded ─▶ Observed ─▶ diagnose: pure ─▶ lines ─▶ text, JSON, exit code
//! ```
//!
//! It automates the troubleshooting of a registration: every check is a line, `passed`, `failed`
//! or `skipped`, and a failed one ends with the one command that fixes it. It looks from the
//! machine it runs on, with the credentials it finds in the cluster; it writes nothing, and prints
//! no token and no key. Waits of `join` and `up` that are over in vain call it themselves.

mod diagnose;
mod line;
mod observed;
mod probe;

use crate::console::Console;
use crate::console::Output;
use crate::progress::board::Step;
use crate::target::KnownContext;
use crate::target::Target;
use crate::target::contexts;
use crate::wait::TimedOut;
use anyhow::bail;
use diagnose::diagnose;
use line::Line;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// Longest examination: every step and question is bounded by itself, and those that depend on a
/// failed one are left out; this bounds a server that answers everything late.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The command line.
#[derive(Debug, Clone, clap::Args)]
pub struct DoctorArgs {
    /// The kubeconfig; else KUBECONFIG, else ~/.kube/config
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of an ITS or of a WEC; else the current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// On an ITS, the one WEC to look at
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// text or json
    #[arg(short, long, default_value = "text")]
    output: Output,
}

/// Runs the doctor and prints what it found.
///
/// # Errors
///
/// A kubeconfig or context that cannot be used; checks that failed, by number.
pub async fn run(args: &DoctorArgs) -> anyhow::Result<()> {
    let file = args.kubeconfig.as_deref();
    let target = Target::load(file, args.context.as_deref()).await?;
    let known = contexts(file)?;
    let lines = examine(&target, file, known, args.cluster.as_deref()).await?;
    match args.output {
        Output::Text => crate::console::print(&line::text(&lines)),
        Output::Json => {
            let json = line::json(&target.name, &lines);
            crate::console::print(&format!("{json:#}\n"));
        }
    }
    match line::failures(&lines) {
        0 => Ok(()),
        1 => bail!("1 check failed; the line below it says what fixes it"),
        failed => bail!("{failed} checks failed; begin with the first"),
    }
}

async fn examine(
    target: &Target,
    kubeconfig: Option<&Path>,
    contexts: Vec<KnownContext>,
    cluster: Option<&str>,
) -> anyhow::Result<Vec<Line>> {
    let step = Step::begin(format!("examining {}", target.name));
    let looking = probe::observe(target, kubeconfig, contexts, cluster);
    match tokio::time::timeout(TIMEOUT, step.during(looking)).await {
        Ok(observed) => Ok(diagnose(&observed)),
        Err(_) => bail!(
            "examining {:?} took longer than {} s; name one WEC with --cluster, or see whether {} answers at all",
            target.name,
            TIMEOUT.as_secs(),
            target.server
        ),
    }
}

/// After a wait that was over in vain, says what is wrong; any other result goes by untouched.
/// `targets` are looked at one after the other.
pub async fn after<T>(
    result: anyhow::Result<T>,
    console: Console,
    targets: &[(&Target, Option<&str>)],
) -> anyhow::Result<T> {
    let Err(error) = &result else { return result };
    if !error.is::<TimedOut>() {
        return result;
    }
    // A host's own contexts need not be in the user's kubeconfig.
    let mut known: Vec<KnownContext> = targets.iter().map(|(target, _)| target.known()).collect();
    known.extend(contexts(None).unwrap_or_default());
    for (target, cluster) in targets {
        console.warn(format!(
            "The wait was in vain; this is what 'hyades doctor --context {}' finds:",
            target.name
        ));
        // Rarely needed, and large: it shall not be part of every command's future.
        match Box::pin(examine(target, None, known.clone(), *cluster)).await {
            Ok(lines) => console.warn(line::text(&lines).trim_end()),
            Err(error) => console.warn(format!("{error:#}")),
        }
    }
    result
}
