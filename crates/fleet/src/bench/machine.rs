//! The machine the numbers were measured on.

use serde::Serialize;
use std::fmt;

/// What distinguishes one machine's numbers from another's.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// Model of the processor, or "unknown".
    pub processor: String,
    /// Processors this process may use.
    pub cores: usize,
    /// Main memory, in bytes.
    pub memory_bytes: u64,
    /// Release of the kernel, or "unknown".
    pub kernel: String,
    /// Processes that wanted to run, on average over the minute before the benchmark. Above zero,
    /// others shared the machine.
    pub load_before: f64,
}

impl Machine {
    /// Reads what `/proc` tells; what it does not is "unknown" or zero.
    pub(super) fn read() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let unknown = || "unknown".to_owned();
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: field(&read("/proc/meminfo"), "MemTotal")
                .and_then(|text| kibibytes(&text))
                .unwrap_or_default(),
            kernel: match read("/proc/sys/kernel/osrelease").trim() {
                "" => unknown(),
                release => release.to_owned(),
            },
            load_before: read("/proc/loadavg")
                .split_whitespace()
                .next()
                .and_then(|text| text.parse().ok())
                .unwrap_or_default(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gibibytes = self.memory_bytes as f64 / f64::from(1 << 30);
        write!(
            formatter,
            "{}, {} cores, {gibibytes:.0} GiB, Linux {}, load {:.2} before",
            self.processor, self.cores, self.kernel, self.load_before
        )
    }
}

/// The text after `NAME:` in the lines of a `/proc` file; the first that has it.
pub(super) fn field(text: &str, name: &str) -> Option<String> {
    let of_line = |line: &str| {
        let (found, value) = line.split_once(':')?;
        (found.trim_end() == name).then(|| value.trim().to_owned())
    };
    text.lines().find_map(of_line)
}

/// Reads `1234 kB`, which means kibibytes, as bytes.
pub(super) fn kibibytes(text: &str) -> Option<u64> {
    let number = text.strip_suffix("kB")?.trim_end();
    number.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 106\nmodel name\t: Some CPU @ 2.90GHz\nMemTotal:  8 kB\n";
        let found = field(text, "model name");
        assert_eq!(found.as_deref(), Some("Some CPU @ 2.90GHz"));
        assert_eq!(field(text, "model").as_deref(), Some("106"));
        assert_eq!(field(text, "Mem"), None);
        assert_eq!(
            kibibytes(&field(text, "MemTotal").expect("there")),
            Some(8192)
        );
        assert_eq!(kibibytes("8 MB"), None);
    }

    #[test]
    fn a_machine_reads_in_one_line() {
        let machine = Machine {
            processor: "P".to_owned(),
            cores: 2,
            memory_bytes: 24 << 30,
            kernel: "6.1".to_owned(),
            load_before: 0.5,
        };
        assert_eq!(
            machine.to_string(),
            "P, 2 cores, 24 GiB, Linux 6.1, load 0.50 before"
        );
    }
}
