//! What the user sees: results on standard output, warnings on standard error.

use crate::progress::board;
use std::borrow::Cow;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

/// Set when the reader of standard output is gone; nothing more is written to it then.
static OUTPUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Where a command's words go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// To the terminal.
    Terminal,
    /// Nowhere: the command is a step of another one, which reports in its own words.
    Silent,
}

impl Console {
    /// Writes text with a line end to standard output.
    pub fn line(self, text: impl AsRef<str>) {
        self.text(&format!("{}\n", text.as_ref()));
    }

    /// Writes text as it is to standard output.
    pub fn text(self, text: &str) {
        if self == Self::Terminal {
            print(text);
        }
    }

    /// Writes text with a line end to standard error.
    pub fn warn(self, text: impl AsRef<str>) {
        if self == Self::Terminal {
            // There is nowhere left to report a failure to.
            let _ = board::aside(|| writeln!(std::io::stderr(), "{}", text.as_ref()));
        }
    }
}

/// The text on one line, whatever a server put into it: line ends would break a table, and other
/// control characters would command the terminal.
pub fn one_line(text: &str) -> Cow<'_, str> {
    match text.contains(char::is_control) {
        false => Cow::Borrowed(text),
        true => Cow::Owned(text.replace(char::is_control, " ")),
    }
}

/// Writes to standard output. A closed pipe (`| head`) is not an error worth a panic.
pub fn print(text: &str) {
    if OUTPUT_CLOSED.load(Ordering::Relaxed) {
        return;
    }
    let written = board::aside(|| {
        let mut output = std::io::stdout().lock();
        output
            .write_all(text.as_bytes())
            .and_then(|()| output.flush())
    });
    if written.is_err() {
        OUTPUT_CLOSED.store(true, Ordering::Relaxed);
    }
}

/// A path as a shell reads it.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_only_when_a_shell_needs_it() {
        assert_eq!(quoted(Path::new("/a/b-1.2")), "/a/b-1.2");
        assert_eq!(quoted(Path::new("/it's me")), "'/it'\\''s me'");
    }
}
