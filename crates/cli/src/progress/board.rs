//! What the program is doing right now: the steps under way, and how a person sees them.
//!
//! ```text
//! Progress::step ─▶ Step (what is done) ──┐
//!                                         ├▶ board ─▶ terminal: one line, written over
//! wait::until ────▶ Step (what is waited  ┘          else: a line now and then
//!                   for, what was seen last)
//! ```
//!
//! There is one terminal, hence one board. Whoever writes anything else does it through
//! [`aside`], which takes the line away first. The board is drawn while somebody waits in
//! [`Step::during`], which every wait of every command goes through.

use crate::console::one_line;
use std::io::IsTerminal;
use std::io::Write;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

/// A step is shown on a terminal from this age on: one that is over at once would only flicker.
const TERMINAL_PATIENCE: Duration = Duration::from_millis(300);
/// Pause between two drawings on a terminal: the age counts tenths of a second.
const TERMINAL_PAUSE: Duration = Duration::from_millis(100);
/// A step is told to a file or pipe from this age on.
const FILE_PATIENCE: Duration = Duration::from_secs(3);
/// Pause between two lines to a file or pipe: a wait of the longest default, 300 s, is thirty
/// lines.
const FILE_PAUSE: Duration = Duration::from_secs(10);
/// Width of a terminal that does not tell, in characters.
const WIDTH_DEFAULT: usize = 80;

static BOARD: Mutex<Board> = Mutex::new(Board::new());

/// Whether lines that are no terminal's go to standard output, which another process shows.
static IS_SHOWN_ELSEWHERE: AtomicBool = AtomicBool::new(false);

tokio::task_local! {
    /// The step that the present future is part of.
    static WITHIN: u64;
}

/// One step under way.
#[derive(Debug)]
struct Entry {
    id: u64,
    /// The step this one is part of.
    within: Option<u64>,
    what: String,
    since: Instant,
    seen: Option<String>,
    /// When it was last told to a file or pipe.
    told: Option<Instant>,
}

/// The steps under way, oldest first.
#[derive(Debug)]
struct Board {
    entries: Vec<Entry>,
    next_id: u64,
    /// Whether the terminal's last line is the board's.
    is_drawn: bool,
}

/// A step under way, until it is dropped.
#[derive(Debug)]
pub struct Step {
    id: u64,
}

impl Board {
    const fn new() -> Self {
        Self {
            entries: Vec::new(),
            next_id: 0,
            is_drawn: false,
        }
    }

    /// The text of a step: the step around it, itself, and what was seen last.
    fn text(&self, entry: &Entry) -> String {
        let around = self
            .entries
            .iter()
            .find(|other| Some(other.id) == entry.within);
        let around = around.map(|around| format!("{}: ", around.what));
        let seen = entry
            .seen
            .as_ref()
            .map(|seen| format!("; last seen: {seen}"));
        format!(
            "{}{}{}",
            around.unwrap_or_default(),
            entry.what,
            seen.unwrap_or_default()
        )
    }

    /// The line for a terminal of this width: the newest step that has lasted long enough.
    fn terminal_line(&self, now: Instant, width: usize) -> Option<String> {
        let age = |entry: &Entry| now.saturating_duration_since(entry.since);
        let is_old = |entry: &&Entry| age(entry) >= TERMINAL_PATIENCE;
        let newest = self.entries.iter().rev().find(is_old)?;
        let line = format!(
            "{:>7.1} s  {} …",
            age(newest).as_secs_f64(),
            self.text(newest)
        );
        // The last column stays free: some terminals wrap as soon as it is written.
        Some(one_line(&line).chars().take(width.max(2) - 1).collect())
    }

    /// The lines that are due for a file or pipe. A step around another is told by that one.
    fn due_lines(&mut self, now: Instant) -> Vec<String> {
        let around: Vec<u64> = self.entries.iter().filter_map(|one| one.within).collect();
        let is_due = |entry: &Entry| match entry.told {
            None => now.saturating_duration_since(entry.since) >= FILE_PATIENCE,
            Some(told) => now.saturating_duration_since(told) >= FILE_PAUSE,
        };
        let due: Vec<usize> = (0..self.entries.len())
            .filter(|&index| !around.contains(&self.entries[index].id))
            .filter(|&index| is_due(&self.entries[index]))
            .collect();
        let mut lines = Vec::new();
        for index in due {
            self.entries[index].told = Some(now);
            let entry = &self.entries[index];
            let seconds = now.saturating_duration_since(entry.since).as_secs();
            let text = self.text(entry);
            lines.push(format!("{seconds:>7} s  {} …", one_line(&text)));
        }
        lines
    }

    fn draw(&mut self) {
        let now = Instant::now();
        if !is_terminal() {
            return self.tell(now);
        }
        match self.terminal_line(now, width()) {
            Some(line) => {
                // There is nobody to tell a failure to write to the terminal.
                let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
                self.is_drawn = true;
            }
            None => self.clear(),
        }
    }

    fn tell(&mut self, now: Instant) {
        let is_shown_elsewhere = IS_SHOWN_ELSEWHERE.load(Ordering::Relaxed);
        for line in self.due_lines(now) {
            let _ = match is_shown_elsewhere {
                true => writeln!(std::io::stdout(), "{line}"),
                false => writeln!(std::io::stderr(), "{line}"),
            };
        }
    }

    fn clear(&mut self) {
        if self.is_drawn {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
            self.is_drawn = false;
        }
    }
}

impl Step {
    /// Begins a step, which is described as "what happens": `waiting for …`, `joining …`.
    pub fn begin(what: impl Into<String>) -> Self {
        let mut board = lock();
        let id = board.next_id;
        board.next_id += 1;
        board.entries.push(Entry {
            id,
            within: WITHIN.try_with(|id| *id).ok(),
            what: what.into(),
            since: Instant::now(),
            seen: None,
            told: None,
        });
        Self { id }
    }

    /// Notes what was seen instead of what is waited for.
    pub fn saw(&self, seen: &str) {
        let mut board = lock();
        if let Some(entry) = board.entries.iter_mut().find(|entry| entry.id == self.id) {
            entry.seen = Some(seen.to_owned());
        }
    }

    /// Awaits a future that is part of this step, and shows the board meanwhile.
    pub async fn during<T>(&self, future: impl Future<Output = T>) -> T {
        // Steps nest, and the futures of whole commands are large: on the heap, each is held once.
        let mut future = Box::pin(WITHIN.scope(self.id, future));
        loop {
            match tokio::time::timeout(TERMINAL_PAUSE, &mut future).await {
                Ok(value) => return value,
                Err(_) => lock().draw(),
            }
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        let mut board = lock();
        board.entries.retain(|entry| entry.id != self.id);
        board.clear();
    }
}

/// Writes something else than the board, on a line of its own.
pub fn aside<T>(write: impl FnOnce() -> T) -> T {
    let mut board = lock();
    board.clear();
    write()
}

/// From now on, lines go to standard output unless there is a terminal: the process runs in the
/// background, and the one that started it shows them.
pub fn show_elsewhere() {
    IS_SHOWN_ELSEWHERE.store(true, Ordering::Relaxed);
}

fn lock() -> MutexGuard<'static, Board> {
    BOARD
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn is_terminal() -> bool {
    static IS_TERMINAL: OnceLock<bool> = OnceLock::new();
    *IS_TERMINAL.get_or_init(|| {
        // A dumb terminal has no line that could be written over.
        let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
        std::io::stderr().is_terminal() && !is_dumb
    })
}

fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    match size.map(|size| usize::from(size.ws_col)) {
        Ok(columns) if columns > 0 => columns,
        _ => WIDTH_DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u64, within: Option<u64>, what: &str, since: Instant) -> Entry {
        Entry {
            id,
            within,
            what: what.to_owned(),
            since,
            seen: None,
            told: None,
        }
    }

    fn board(entries: Vec<Entry>) -> Board {
        Board {
            entries,
            ..Board::new()
        }
    }

    #[test]
    fn a_terminal_shows_the_newest_step_with_what_is_around_it() {
        let start = Instant::now();
        let mut inner = entry(2, Some(1), "waiting for the hub", start);
        inner.seen = Some("no such\ncluster".to_owned());
        let board = board(vec![entry(1, None, "joining c1", start), inner]);
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert_eq!(board.terminal_line(at(200), 80), None);
        assert_eq!(
            board.terminal_line(at(1260), 80).as_deref(),
            Some("    1.3 s  joining c1: waiting for the hub; last seen: no such cluster …")
        );
        assert_eq!(
            board.terminal_line(at(1260), 22).as_deref(),
            Some("    1.3 s  joining c1")
        );
    }

    #[test]
    fn a_file_is_told_at_a_calm_pace_and_once_for_nested_steps() {
        let start = Instant::now();
        let mut board = board(vec![
            entry(1, None, "joining c1", start),
            entry(2, Some(1), "waiting for the hub", start),
        ]);
        let mut at = |seconds| board.due_lines(start + Duration::from_secs(seconds));
        assert!(at(2).is_empty());
        assert_eq!(at(3), ["      3 s  joining c1: waiting for the hub …"]);
        assert!(at(4).is_empty() && at(12).is_empty());
        assert_eq!(at(13), ["     13 s  joining c1: waiting for the hub …"]);
    }

    #[tokio::test]
    async fn a_step_knows_the_one_it_is_part_of() {
        let outer = Step::begin("outer");
        let within = outer
            .during(async {
                let inner = Step::begin("inner");
                let board = lock();
                let found = board.entries.iter().find(|entry| entry.id == inner.id);
                let within = found.expect("begun").within;
                drop(board);
                within
            })
            .await;
        assert_eq!(within, Some(outer.id));
        let id = outer.id;
        drop(outer);
        assert!(lock().entries.iter().all(|entry| entry.id != id));
    }
}
