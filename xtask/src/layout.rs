//! The order of functions in the released binary.
//!
//! Every process of a host maps the one binary, and the kernel reads it in by windows of sixteen
//! pages around each page that is touched. What a component runs is a tenth of the binary, spread
//! evenly: without an order it would have nearly all of it resident. So the linker is given the
//! functions that each component ran in a rehearsal, those of several components first.
//!
//! ```text
//! build ▶ rehearse `up` and a work under callgrind ▶ functions by component ▶ layout file
//! ```
//!
//! Names carry hashes of the compiler's and the dependencies' versions. A name that no longer
//! exists is passed over, so an old file costs memory and nothing else; `hyades bench register`
//! shows how much.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;

/// What a rehearsal may take until its WECs are available: fifty times as long as without
/// callgrind, and a slow machine on top.
const REHEARSAL_MAX: Duration = Duration::from_secs(300);
/// How long the components are left to themselves between two steps: a few renewals of a lease
/// would not show them doing anything new.
const REST: Duration = Duration::from_secs(10);

const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Where the linker finds the order, relative to the checkout.
const LAYOUT: &str = "crates/cli/layout/x86_64-unknown-linux-gnu.txt";

/// Functions that components run although no rehearsal shows it, because callgrind's processor is
/// an older one, or because they run now and then. `perf record --event page-faults --count 1`
/// finds them: they are what a component fetches from beyond the ordered functions.
const UNREHEARSED: &str = "crates/cli/layout/unrehearsed.txt";

/// The components, most numerous on a fleet first.
const COMPONENTS: [&str; 4] = ["klusterlet-agent", "klusterlet", "hub", "cluster-manager"];
const HOST: &str = "host";
/// How symbols of the binary begin, in either of Rust's manners, and in its cryptography; what
/// else a process runs lies in shared libraries.
const OURS: [&str; 3] = ["_ZN", "_R", "ring_core"];

const WORK: &str = r#"{"apiVersion":"work.open-cluster-management.io/v1","kind":"ManifestWork",
"metadata":{"name":"rehearsal","namespace":"cluster1"},"spec":{"workload":{"manifests":[
{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"rehearsal","namespace":"default"}}]}}}"#;

#[derive(clap::Args)]
pub struct Arguments {
    /// The kubectl to use
    #[arg(long, env = "HYADES_KUBECTL", default_value = "kubectl")]
    kubectl: OsString,
}

/// Rehearses, and writes the layout file.
///
/// # Errors
/// The build, valgrind or kubectl fails; the rehearsal does not get to its end.
pub fn run(arguments: &Arguments) -> Result<()> {
    let root = super::tidy::root();
    let program = build(&root)?;
    let folder = root.join("target/layout");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("remove the last rehearsal's files")?;
    }
    fs::create_dir_all(folder.join("runs"))?;
    rehearse(&program, &folder, &arguments.kubectl)?;
    let mut ran = Ran::default();
    for entry in fs::read_dir(folder.join("runs"))? {
        ran.add(&fs::read_to_string(entry?.path())?);
    }
    let unrehearsed = fs::read_to_string(root.join(UNREHEARSED))?;
    let mut order: Vec<String> = unrehearsed.lines().map(str::to_owned).collect();
    order.extend(ran.order()?.into_iter().map(str::to_owned));
    fs::write(root.join(LAYOUT), format!("{}\n", order.join("\n")))?;
    println!("{LAYOUT}: {} functions", order.len());
    Ok(())
}

/// Builds the released binary with its symbols.
fn build(root: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    // Not by the profile, which goes into the names of all functions.
    cargo
        .current_dir(root)
        .args(["rustc", "--release", "--locked", "--package", "hyades"])
        .args(["--bin", "hyades", "--target-dir", "target"])
        .args(["--", "-C", "strip=none"]);
    ensure!(cargo.status()?.success(), "the release build failed");
    // Elsewhere than the next build puts its own.
    let program = root.join("target/layout-hyades");
    fs::copy(root.join("target/release/hyades"), &program)?;
    Ok(program)
}

/// A host under callgrind, ended when dropped.
struct Rehearsal(Child);

impl Rehearsal {
    fn has_ended(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        // It has ended unless a step before failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn rehearse(program: &Path, folder: &Path, kubectl: &OsString) -> Result<()> {
    let log = folder.join("host.log");
    let data = folder.join("data");
    let runs = folder.join("runs").join("%p");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--trace-children=yes", "--demangle=no"])
        .arg(format!("--callgrind-out-file={}", runs.display()))
        .arg(program)
        .args(["up", "--port", "0", "--data-dir"])
        .arg(&data)
        .stdin(Stdio::null())
        .stdout(fs::File::create(&log)?)
        .stderr(Stdio::null());
    let mut host = Rehearsal(
        valgrind
            .spawn()
            .context("start valgrind; is it installed?")?,
    );
    let deadline = Instant::now() + REHEARSAL_MAX;
    let log = log.display();
    while !fs::read_to_string(log.to_string())?.contains("Next:") {
        ensure!(!host.has_ended()?, "the host ended: see {log}");
        ensure!(
            Instant::now() < deadline,
            "not ready in {REHEARSAL_MAX:?}: see {log}"
        );
        std::thread::sleep(LOOK_AGAIN);
    }
    std::thread::sleep(REST);
    let work = folder.join("work.json");
    fs::write(&work, WORK)?;
    let work = work.display().to_string();
    for step in [
        ["its1", "apply", "--filename", &work],
        ["cluster1", "get", "pods", "--all-namespaces"],
        ["its1", "delete", "--filename", &work],
    ] {
        let mut command = Command::new(kubectl);
        command.arg("--kubeconfig").arg(data.join("kubeconfig"));
        let [context, rest @ ..] = step;
        command.args(["--request-timeout=60s", "--context", context]);
        command.args(rest);
        let status = command
            .status()
            .context("run kubectl; name it with --kubectl")?;
        ensure!(status.success(), "{command:?} failed");
        std::thread::sleep(REST);
    }
    let mut down = Command::new(program);
    down.args(["down", "--data-dir"]).arg(&data);
    ensure!(down.status()?.success(), "the host did not stop");
    let deadline = Instant::now() + REHEARSAL_MAX;
    while !host.has_ended()? {
        ensure!(
            Instant::now() < deadline,
            "not ended in {REHEARSAL_MAX:?}: see {log}"
        );
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// The functions that each kind of process ran, by the process's name.
#[derive(Default)]
struct Ran(BTreeMap<String, BTreeSet<String>>);

impl Ran {
    /// Takes in one process's file in callgrind's format.
    fn add(&mut self, profile: &str) {
        let command = profile.lines().find_map(|line| line.strip_prefix("cmd:"));
        let mut words = command.unwrap_or_default().split_whitespace().skip(1);
        let name = match (words.next(), words.next()) {
            (Some("component"), Some(component)) => component,
            (Some("up"), _) => HOST,
            _ => return,
        };
        let functions = self.0.entry(name.to_owned()).or_default();
        for line in profile.lines() {
            // "fn=(7) name" at a function's first mention, "fn=(7)" afterwards; "c" for callees.
            let line = line.strip_prefix('c').unwrap_or(line);
            let Some((_, name)) = line.strip_prefix("fn=").and_then(|it| it.split_once(' ')) else {
                continue;
            };
            // What recursed is counted by depth: "name'2".
            let name = name.split('\'').next().unwrap_or(name);
            if OURS.iter().any(|prefix| name.starts_with(prefix)) {
                functions.insert(name.to_owned());
            }
        }
    }

    /// What several components run comes first, then what one of them runs alone, then what only
    /// the host runs: each component's functions lie in two pieces.
    ///
    /// # Errors
    /// A process is missing from the rehearsal.
    fn order(&self) -> Result<Vec<&str>> {
        let of = |name: &str| self.0.get(name).with_context(|| format!("no {name} ran"));
        let components = COMPONENTS.map(of);
        let components: Vec<_> = components.into_iter().collect::<Result<_>>()?;
        let sets = components.iter().copied().chain([of(HOST)?]);
        let names: BTreeSet<&str> = sets.flatten().map(String::as_str).collect();
        let mut order: Vec<&str> = names.into_iter().collect();
        order.sort_by_cached_key(|name| {
            let users = components.iter().enumerate();
            let mut users = users.filter(|(_, set)| set.contains(*name));
            let piece = match (users.next(), users.next()) {
                (Some(_), Some(_)) => 0,
                (Some((component, _)), None) => 1 + component,
                (None, _) => 1 + COMPONENTS.len(),
            };
            (piece, *name)
        });
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(command: &str, functions: &[&str]) -> String {
        let mut text = format!("# callgrind format\ncmd:  /hyades {command}\n");
        for (number, name) in functions.iter().enumerate() {
            text.push_str(&format!("fn=({number}) {name}\n3 5\nfn=({number})\n"));
        }
        text
    }

    #[test]
    fn what_components_share_comes_first_and_the_hosts_own_last() {
        let mut ran = Ran::default();
        ran.add(&profile(
            "component klusterlet-agent --x",
            &["_ZNall", "_ZNagent", "malloc"],
        ));
        ran.add(&profile(
            "component klusterlet",
            &["_ZNall", "_ZNoperators'2"],
        ));
        ran.add(&profile("component hub", &["_ZNall"]));
        assert!(ran.order().is_err(), "processes are missing");
        ran.add(&profile(
            "component cluster-manager",
            &["_ZNall", "_ZNoperators"],
        ));
        ran.add(&profile("up --port 1", &["_ZNhost", "_ZNall"]));
        ran.add(&profile("down", &["_ZNdown"]));
        let order = ran.order().expect("complete");
        assert_eq!(order, ["_ZNall", "_ZNoperators", "_ZNagent", "_ZNhost"]);
    }
}
