//! A transcript of a script, for the report of a failure.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::viewers::FollowEvent;

/// All events of a log, its server and its viewers, with times. Clones share their entries.
#[derive(Clone)]
pub struct Transcript {
    pub began: Instant,
    entries: Arc<Mutex<Vec<(Instant, Entry)>>>,
}

enum Entry {
    /// Consecutive writes to a file.
    Writes {
        file: usize,
        epoch: usize,
        start: u64,
        end: u64,
        times: u64,
    },
    Else(String),
}

impl Transcript {
    pub fn new() -> Self {
        Self { began: Instant::now(), entries: Arc::default() }
    }

    pub fn note(&self, what: std::fmt::Arguments<'_>) {
        self.entries.lock().unwrap().push((Instant::now(), Entry::Else(what.to_string())));
    }

    /// Records a write. Consecutive writes share one entry.
    pub fn note_write(&self, file: usize, epoch: usize, start: u64, end: u64) {
        let mut entries = self.entries.lock().unwrap();
        match entries.last_mut() {
            Some((_, Entry::Writes { file: of, epoch: at, end: to, times, .. }))
                if (*of, *at, *to) == (file, epoch, start) =>
            {
                (*to, *times) = (end, *times + 1);
            }
            _ => {
                let write = Entry::Writes { file, epoch, start, end, times: 1 };
                entries.push((Instant::now(), write));
            }
        }
    }

    fn line(&self, text: &mut String, when: Instant, what: std::fmt::Arguments<'_>) {
        let when = when.saturating_duration_since(self.began).as_secs_f64();
        writeln!(text, "  {when:8.4} {what}").unwrap();
    }

    /// The transcript as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (when, what) in self.entries.lock().unwrap().iter() {
            match what {
                Entry::Else(what) => self.line(&mut text, *when, format_args!("{what}")),
                Entry::Writes { file, epoch, start, end, times } => {
                    let what =
                        format_args!("{times} writes file {file} epoch {epoch} {start}..{end}");
                    self.line(&mut text, *when, what);
                }
            }
        }
        text
    }

    /// The record of a viewer as text.
    pub fn text_of(&self, record: &[(Instant, FollowEvent)]) -> String {
        let mut text = String::new();
        for (when, heard) in record {
            match heard {
                FollowEvent::Data { offset, bytes } => {
                    let end = *offset + bytes.len() as u64;
                    self.line(&mut text, *when, format_args!("data {offset}..{end}"));
                }
                other => self.line(&mut text, *when, format_args!("{other:?}")),
            }
        }
        text
    }
}
