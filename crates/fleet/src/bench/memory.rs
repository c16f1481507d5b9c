//! Resident memory of the host and of the processes of its pods.

use super::machine::field;
use super::machine::kibibytes;
use super::report::Measure;
use super::report::Target;
use super::report::Unit;
use anyhow::Context;
use hyades_api::image::Component;
use std::path::Path;
use std::time::Duration;

/// The word of the command line after which a component's name stands.
const COMPONENT: &str = "component";

/// Most that a host with four idle spaces may occupy, in megabytes.
const HOST_MEGABYTES: f64 = 40.0;

/// Most that a component may occupy, in megabytes.
const COMPONENT_MEGABYTES: f64 = 12.0;

/// Ticks in which Linux tells processor time to programs, on every platform of ours.
const TICKS_PER_SECOND: u64 = 100;

/// What a process occupies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    /// Pages in main memory, those of the binary included, in bytes.
    resident_bytes: u64,
    /// Those of them that belong to no file: what this one process costs, in bytes.
    anonymous_bytes: u64,
}

impl Memory {
    /// Reads the text of `/proc/PID/status`.
    fn parse(status: &str) -> Option<Self> {
        let bytes = |name| kibibytes(&field(status, name)?);
        Some(Self {
            resident_bytes: bytes("VmRSS")?,
            anonymous_bytes: bytes("RssAnon")?,
        })
    }
}

/// Measures the host and each of its pods' processes, in order of their names.
pub(super) fn measure(host: u32) -> anyhow::Result<Vec<Measure>> {
    let proc = Path::new("/proc");
    let mut measures = Vec::from(measures_of(proc, host, "host, idle", HOST_MEGABYTES)?);
    for (name, id) in components(proc, host)? {
        measures.extend(measures_of(proc, id, &name, COMPONENT_MEGABYTES)?);
    }
    Ok(measures)
}

/// What the host and its hub occupy that belongs to no file, in bytes: what WECs cost.
pub(super) fn of_hub(host: u32) -> anyhow::Result<u64> {
    let proc = Path::new("/proc");
    let hub = id_of(proc, host, Component::Hub)?;
    Ok(read(proc, host, "the host")?.anonymous_bytes + read(proc, hub, "the hub")?.anonymous_bytes)
}

/// The processor time that a component of a host has used.
pub(super) fn processor(host: u32, component: Component) -> anyhow::Result<Duration> {
    let proc = Path::new("/proc");
    let id = id_of(proc, host, component)?;
    let path = proc.join(id.to_string()).join("stat");
    let stat = std::fs::read_to_string(&path).with_context(|| {
        format!(
            "read the processor time of {component} in {}",
            path.display()
        )
    })?;
    let ticks = ticks(&stat).with_context(|| {
        format!(
            "{} does not tell the processor time of {component}",
            path.display()
        )
    })?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// What a component of a host occupies, in bytes.
pub(super) fn resident(host: u32, component: Component) -> anyhow::Result<u64> {
    let proc = Path::new("/proc");
    let id = id_of(proc, host, component)?;
    Ok(read(proc, id, component.as_str())?.resident_bytes)
}

fn id_of(proc: &Path, host: u32, component: Component) -> anyhow::Result<u32> {
    let found = components(proc, host)?
        .into_iter()
        .find(|(name, _)| name == component.as_str());
    let (_, id) = found.with_context(|| format!("the host runs no {component}"))?;
    Ok(id)
}

/// User and system time in the text of `/proc/PID/stat`. The program's name, in parentheses, may
/// hold anything, so fields are counted from its end.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// The components that run as a host's pods, with their process ids, in order of their names.
fn components(proc: &Path, host: u32) -> anyhow::Result<Vec<(String, u32)>> {
    let mut components = Vec::new();
    for entry in std::fs::read_dir(proc).context("list the processes in /proc")? {
        let name = entry.context("list the processes in /proc")?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process that ends meanwhile is none of those looked for.
        let read = |file: &str| std::fs::read_to_string(proc.join(id.to_string()).join(file));
        let (Ok(status), Ok(command)) = (read("status"), read("cmdline")) else {
            continue;
        };
        if parent(&status) == Some(host)
            && let Some(component) = component(&command)
        {
            components.push((component.to_owned(), id));
        }
    }
    components.sort();
    Ok(components)
}

fn read(proc: &Path, id: u32, name: &str) -> anyhow::Result<Memory> {
    let path = proc.join(id.to_string()).join("status");
    let status = std::fs::read_to_string(&path)
        .with_context(|| format!("read the memory of {name} in {}", path.display()))?;
    Memory::parse(&status)
        .with_context(|| format!("{} does not tell the memory of {name}", path.display()))
}

fn measures_of(
    proc: &Path,
    id: u32,
    name: &str,
    megabytes_max: f64,
) -> anyhow::Result<[Measure; 2]> {
    let memory = read(proc, id, name)?;
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    Ok([
        Measure {
            name: format!("memory of {name}"),
            value: megabytes(memory.resident_bytes),
            unit: Unit::Megabytes,
            target: Some(Target::Below(megabytes_max)),
        },
        Measure {
            name: format!("memory of {name}, anonymous part"),
            value: megabytes(memory.anonymous_bytes),
            unit: Unit::Megabytes,
            target: None,
        },
    ])
}

/// The parent's process id, from the text of `/proc/PID/status`.
fn parent(status: &str) -> Option<u32> {
    field(status, "PPid")?.parse().ok()
}

/// The component a process runs, from the text of `/proc/PID/cmdline`.
fn component(command: &str) -> Option<&str> {
    let mut words = command.split('\0').skip_while(|word| *word != COMPONENT);
    words.next()?;
    words.find(|word| !word.starts_with('-') && !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\thyades\nPPid:\t41\nVmHWM:\t   20000 kB\nVmRSS:\t   10000 kB\n\
                          RssAnon:\t    4000 kB\nRssFile:\t    6000 kB\n";

    #[test]
    fn memory_is_read_in_bytes() {
        let memory = Memory::parse(STATUS).expect("memory");
        assert_eq!(memory.resident_bytes, 10_240_000);
        assert_eq!(memory.anonymous_bytes, 4_096_000);
        assert_eq!(parent(STATUS), Some(41));
    }

    #[test]
    fn a_process_without_memory_of_its_own_is_none() {
        assert_eq!(Memory::parse("Name:\tkthreadd\nPPid:\t0\n"), None);
    }

    #[test]
    fn components_are_known_by_their_command_line() {
        let command = "/a/hyades\0component\0-v=2\0hub\0--labels=component\0";
        assert_eq!(component(command), Some("hub"));
        assert_eq!(component("/a/hyades\0up\0"), None);
        assert_eq!(component("/a/hyades\0component\0"), None);
    }

    #[test]
    fn this_very_process_has_memory() {
        let [resident, anonymous] =
            measures_of(Path::new("/proc"), std::process::id(), "test", 1e9).expect("measured");
        assert!(resident.value > anonymous.value && anonymous.value > 0.0);
    }
}
