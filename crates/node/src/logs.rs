//! The pods' logs: one file a container run, each line with its time and stream.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use futures::Stream;
use hyades_runtime::k8s_openapi::jiff::Timestamp;
use tokio::fs::File;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncRead;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;

/// A log file is rotated beyond this size; one older file is kept. The kubelet's default is 10 MiB.
const FILE_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// Longer lines are cut into several, so that a process cannot make the node buffer without end.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// How often a followed log is looked at for new lines: soon enough for a person watching.
const FOLLOW_PERIOD: Duration = Duration::from_millis(200);

/// At most this many last lines are held in memory for `tail`.
const TAIL_LINES_MAX: usize = 100_000;

/// What to read of a log, as the `log` subresource's options word it.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Keep sending new lines until the container has ended.
    pub follow: bool,
    /// Only this many last lines.
    pub tail_lines: Option<usize>,
    /// Only lines at or after this time.
    pub since: Option<Timestamp>,
    /// The run before the present one.
    pub previous: bool,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// Stop after this many bytes.
    pub limit_bytes: Option<u64>,
}

/// Reads the logs of one node's pods.
#[derive(Debug, Clone)]
pub struct PodLogs {
    pods_dir: PathBuf,
}

impl PodLogs {
    pub(crate) fn new(pods_dir: PathBuf) -> PodLogs {
        PodLogs { pods_dir }
    }

    /// The lines of a container's log.
    ///
    /// # Errors
    /// `NotFound` when the container has not run (or, with `previous`, has not been restarted).
    pub async fn read(
        &self,
        pod_uid: &str,
        container: &str,
        query: LogQuery,
    ) -> io::Result<impl Stream<Item = io::Result<Vec<u8>>> + Send + use<>> {
        let dir = container_dir(&self.pods_dir, pod_uid, container);
        let newest = newest_run(&dir).await?;
        let run = match query.previous {
            true => newest
                .checked_sub(1)
                .ok_or_else(|| not_found("no previous run"))?,
            false => newest,
        };
        let current = run_file(&dir, run);
        let mut files = vec![rotated(&current), current.clone()];
        files.retain(|file| file.exists());
        if files.is_empty() {
            return Err(not_found("the container has no log yet"));
        }
        let reading = Reading {
            dir,
            run,
            query,
            sent_bytes: 0,
            pending: VecDeque::new(),
            file: None,
            files: files.into(),
            tailed: false,
        };
        Ok(futures::stream::try_unfold(reading, Reading::step))
    }
}

fn not_found(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, what.to_owned())
}

/// The folder of a pod's files. Uids are made by the space, so they are safe as file names; the
/// check makes sure of it.
pub(crate) fn pod_dir(pods_dir: &Path, pod_uid: &str) -> PathBuf {
    let safe: String = pod_uid
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    pods_dir.join(safe)
}

pub(crate) fn container_dir(pods_dir: &Path, pod_uid: &str, container: &str) -> PathBuf {
    let safe: String = container
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    pod_dir(pods_dir, pod_uid).join(safe)
}

fn run_file(dir: &Path, run: u32) -> PathBuf {
    dir.join(format!("{run}.log"))
}

fn rotated(file: &Path) -> PathBuf {
    file.with_extension("log.old")
}

async fn newest_run(dir: &Path) -> io::Result<u32> {
    let mut entries = tokio::fs::read_dir(dir).await?;
    let mut newest = None;
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name();
        let run = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log")?.parse::<u32>().ok());
        newest = newest.max(run);
    }
    newest.ok_or_else(|| not_found("the container has not run yet"))
}

/// One log being read: the files still to come, and the lines not sent yet.
struct Reading {
    dir: PathBuf,
    run: u32,
    query: LogQuery,
    sent_bytes: u64,
    pending: VecDeque<Vec<u8>>,
    file: Option<BufReader<File>>,
    files: VecDeque<PathBuf>,
    tailed: bool,
}

impl Reading {
    async fn step(mut self) -> io::Result<Option<(Vec<u8>, Reading)>> {
        if !self.tailed {
            self.tailed = true;
            if let Some(count) = self.query.tail_lines {
                self.load_tail(count.min(TAIL_LINES_MAX)).await?;
            }
        }
        loop {
            let line = match self.pending.pop_front() {
                Some(line) => Some(line),
                None => self.next_line().await?,
            };
            match line {
                Some(line) => {
                    let left = self
                        .query
                        .limit_bytes
                        .map(|limit| limit.saturating_sub(self.sent_bytes));
                    let mut line = line;
                    if let Some(left) = left {
                        line.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    }
                    if line.is_empty() {
                        return Ok(None);
                    }
                    self.sent_bytes += line.len() as u64;
                    return Ok(Some((line, self)));
                }
                None if !self.query.follow || self.ended().await => return Ok(None),
                None => tokio::time::sleep(FOLLOW_PERIOD).await,
            }
        }
    }

    /// Whether a later run exists or the run has written its end mark.
    async fn ended(&self) -> bool {
        let newest = newest_run(&self.dir).await.unwrap_or(self.run);
        newest > self.run || self.dir.join(format!("{}.end", self.run)).exists()
    }

    async fn load_tail(&mut self, count: usize) -> io::Result<()> {
        let mut lines = VecDeque::new();
        while let Some(line) = self.next_line().await? {
            lines.push_back(line);
            if lines.len() > count {
                lines.pop_front();
            }
        }
        self.pending = lines;
        Ok(())
    }

    /// The next wanted line, or `None` at the present end of the log.
    async fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if self.file.is_none() {
                match self.files.pop_front() {
                    Some(path) => self.file = Some(BufReader::new(File::open(path).await?)),
                    None => return Ok(None),
                }
            }
            let Some(file) = self.file.as_mut() else {
                continue;
            };
            let mut line = Vec::new();
            let read = file.read_until(b'\n', &mut line).await?;
            if read == 0 {
                if self.files.is_empty() {
                    return Ok(None);
                }
                self.file = None;
            } else if let Some(shown) = self.shown(&line) {
                return Ok(Some(shown));
            }
        }
    }

    /// The line as the reader wants it: without its mark, and only if recent enough.
    fn shown(&self, line: &[u8]) -> Option<Vec<u8>> {
        let space = line.iter().position(|byte| *byte == b' ')?;
        let (time, text) = (&line[..space], &line[space + 1..]);
        if let Some(since) = self.query.since {
            let written: Timestamp = std::str::from_utf8(time).ok()?.parse().ok()?;
            if written < since {
                return None;
            }
        }
        Some(if self.query.timestamps {
            line.to_vec()
        } else {
            text.to_vec()
        })
    }
}

/// Copies a process's output into its log file until the output ends.
pub(crate) struct LogWriter {
    path: PathBuf,
    file: File,
    written: u64,
}

impl LogWriter {
    /// Begins the log of a container's run.
    pub(crate) async fn create(dir: &Path, run: u32) -> io::Result<LogWriter> {
        tokio::fs::create_dir_all(dir).await?;
        let path = run_file(dir, run);
        let file = File::create(&path).await?;
        // Only the present run and the one before are kept, as the kubelet does.
        if let Some(stale) = run.checked_sub(2) {
            let stale = run_file(dir, stale);
            for file in [rotated(&stale), stale.with_extension("end"), stale] {
                drop(tokio::fs::remove_file(file).await);
            }
        }
        Ok(LogWriter {
            path,
            file,
            written: 0,
        })
    }

    /// Copies until the output ends, then marks the run as ended.
    pub(crate) async fn copy(mut self, output: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(LINE_BYTES_MAX, output);
        loop {
            let chunk = reader.fill_buf().await?;
            if chunk.is_empty() {
                break;
            }
            let end = chunk
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(chunk.len(), |at| at + 1);
            let mut line = format!("{:.9} ", Timestamp::now()).into_bytes();
            line.extend_from_slice(&chunk[..end]);
            if line.last() != Some(&b'\n') {
                line.push(b'\n');
            }
            reader.consume(end);
            self.write(&line).await?;
        }
        self.file.flush().await?;
        tokio::fs::write(self.path.with_extension("end"), b"").await
    }

    async fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.written + line.len() as u64 > FILE_BYTES_MAX {
            tokio::fs::rename(&self.path, rotated(&self.path)).await?;
            self.file = File::create(&self.path).await?;
            self.written = 0;
        }
        self.written += line.len() as u64;
        self.file.write_all(line).await?;
        self.file.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt;

    async fn written(lines: &str, runs: u32) -> (tempfile::TempDir, PodLogs) {
        let folder = tempfile::tempdir().expect("a folder");
        for run in 0..runs {
            let dir = container_dir(folder.path(), "u-1", "c");
            let writer = LogWriter::create(&dir, run).await.expect("a log");
            writer
                .copy(format!("run {run}\n{lines}").as_bytes())
                .await
                .expect("copied");
        }
        let logs = PodLogs::new(folder.path().to_owned());
        (folder, logs)
    }

    async fn text(logs: &PodLogs, query: LogQuery) -> String {
        let stream = logs.read("u-1", "c", query).await.expect("a log");
        let lines: Vec<Vec<u8>> = stream.try_collect().await.expect("lines");
        String::from_utf8(lines.concat()).expect("text")
    }

    #[tokio::test]
    async fn a_log_reads_back_whole_by_tail_and_by_limit() {
        let (_folder, logs) = written("a\nb\nc\n", 1).await;
        assert_eq!(text(&logs, LogQuery::default()).await, "run 0\na\nb\nc\n");
        let tail = LogQuery {
            tail_lines: Some(2),
            ..LogQuery::default()
        };
        assert_eq!(text(&logs, tail).await, "b\nc\n");
        let limited = LogQuery {
            limit_bytes: Some(7),
            ..LogQuery::default()
        };
        assert_eq!(text(&logs, limited).await, "run 0\na");
    }

    #[tokio::test]
    async fn following_an_ended_run_ends_and_the_previous_run_stays_readable() {
        let (_folder, logs) = written("x\n", 3).await;
        let follow = LogQuery {
            follow: true,
            ..LogQuery::default()
        };
        assert_eq!(text(&logs, follow).await, "run 2\nx\n");
        let previous = LogQuery {
            previous: true,
            ..LogQuery::default()
        };
        assert_eq!(text(&logs, previous).await, "run 1\nx\n");
    }

    #[tokio::test]
    async fn lines_older_than_asked_for_are_left_out_and_times_are_shown_on_request() {
        let (_folder, logs) = written("x\n", 1).await;
        let future = Timestamp::now()
            .checked_add(Duration::from_secs(60))
            .expect("a time");
        let none = LogQuery {
            since: Some(future),
            ..LogQuery::default()
        };
        assert_eq!(text(&logs, none).await, "");
        let timed = LogQuery {
            timestamps: true,
            ..LogQuery::default()
        };
        assert!(text(&logs, timed).await.contains("Z run 0\n"));
    }

    #[tokio::test]
    async fn a_container_that_never_ran_has_no_log() {
        let (_folder, logs) = written("x\n", 1).await;
        assert!(logs.read("u-2", "c", LogQuery::default()).await.is_err());
    }
}
