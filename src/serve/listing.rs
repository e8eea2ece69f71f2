//! The list of logs: as a page for people, as lines for scripts, and as JSON for the page, which
//! asks for it every few seconds.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use askama::Template;

use crate::log::Registry;
use crate::log::catalogue::{Catalogue, Entry};
use crate::render::Exit;
use crate::serve::BasePath;
use crate::serve::identity::Visitor;
use crate::serve::page::{self, Assets};
use crate::serve::query::href;
use crate::session::{Audiences, Hub};
use crate::source::span::Span;
use crate::wire::answer::{ListedExit, ListedLog, Listing, to_json};

#[derive(Template)]
#[template(path = "list.html")]
struct ListPage<'a> {
    base: &'a BasePath,
    visitor: &'a Visitor,
    rows: Vec<LogRow>,
    prefixes: String,
}

impl Assets for ListPage<'_> {
    fn base(&self) -> &BasePath {
        self.base
    }
}

/// A row of the table. The page's script clones the empty one for the rows that it draws itself.
#[derive(Default)]
struct LogRow {
    href: String,
    /// By which people know it, or empty.
    name: String,
    /// The path up to its last slash, and what is after it.
    directory: String,
    file: String,
    bytes: u64,
    size: String,
    /// Milliseconds since 1970.
    modified: u64,
    age: String,
    /// How the command ended whose output it is.
    exit: Option<Exit>,
    /// It is on another machine, which does not answer.
    is_away: bool,
    viewers: usize,
    /// The names of those that are signed in.
    names: Vec<String>,
}

impl LogRow {
    fn new(
        base: &BasePath,
        entry: &Entry,
        exit: Option<Exit>,
        presence: &Presence,
        now: SystemTime,
    ) -> Self {
        let mut directory = entry.log.display().to_string();
        let file = directory.split_off(directory.rfind('/').map_or(0, |at| at + 1));
        Self {
            href: href(base, &entry.log),
            name: entry.name.clone().unwrap_or_default(),
            directory,
            file,
            bytes: entry.size,
            size: size(entry.size),
            modified: milliseconds(entry.modified),
            age: age(now.duration_since(entry.modified).unwrap_or_default()),
            exit,
            is_away: entry.is_away,
            viewers: presence.number(entry),
            names: presence.names(entry),
        }
    }

    /// How the command ended, in few letters. The page's script (`exitOf`) writes it in the same way.
    fn exit_mark(&self) -> String {
        let Some(exit) = self.exit else { return String::new() };
        let took = exit.duration.map(|took| Span(Duration::from_millis(took)).to_string());
        let (how, between) = match exit.status {
            Some(0) => ("✓".to_owned(), " "),
            Some(status) => (format!("exit {status}"), " · "),
            None => ("ended".to_owned(), " · "),
        };
        took.map_or(how.clone(), |took| [&how, between, &took].concat())
    }

    /// The data of the end for the page's script: the status, which may be unknown, and how long the
    /// command ran.
    fn exit_data(&self) -> String {
        let text = |number: Option<String>| number.unwrap_or_default();
        self.exit.map_or_else(String::new, |exit| {
            let status = text(exit.status.map(|status| status.to_string()));
            format!("{status};{}", text(exit.duration.map(|took| took.to_string())))
        })
    }

    fn has_failed(&self) -> bool {
        self.exit.is_some_and(|exit| exit.status.is_some_and(|status| status != 0))
    }

    /// Who views the log, in few letters. The page's script (`presenceOf`) writes it in the same way.
    fn presence(&self) -> String {
        match self.names.as_slice() {
            [] if self.viewers == 0 => String::new(),
            [] => self.viewers.to_string(),
            [name] => name.clone(),
            [name, others @ ..] => format!("{name} +{}", others.len()),
        }
    }
}

/// The logs, and what is known of them besides.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) catalogue: Catalogue,
    /// How the command ended whose output a log is, for each log.
    pub(super) ends: Vec<Option<Exit>>,
}

impl Listed {
    fn entries(&self) -> impl Iterator<Item = (&Entry, Option<Exit>)> {
        self.catalogue.entries.iter().zip(self.ends.iter().copied())
    }
}

/// Those that know who views logs.
#[derive(Clone)]
pub(super) struct Viewers {
    registry: Arc<Registry>,
    audiences: Arc<Audiences>,
}

impl Viewers {
    /// Those of a server.
    pub(super) fn of(hub: &Hub) -> Self {
        Self { registry: Arc::clone(hub.registry()), audiences: Arc::clone(hub.audiences()) }
    }

    fn now(&self) -> Presence {
        Presence { numbers: self.registry.viewers_by_path(), names: self.audiences.names_by_path() }
    }
}

/// Who views each log at one moment.
struct Presence {
    numbers: HashMap<PathBuf, usize>,
    names: HashMap<PathBuf, Vec<String>>,
}

impl Presence {
    fn number(&self, entry: &Entry) -> usize {
        self.numbers.get(entry.log.as_path()).copied().unwrap_or(0)
    }

    fn names(&self, entry: &Entry) -> Vec<String> {
        self.names.get(entry.log.as_path()).cloned().unwrap_or_default()
    }
}

/// The list as a page.
pub(super) fn page(
    base: &BasePath,
    visitor: &Visitor,
    listed: &Listed,
    viewers: &Viewers,
) -> String {
    let now = SystemTime::now();
    let presence = viewers.now();
    let row = |(entry, exit)| LogRow::new(base, entry, exit, &presence, now);
    let rows = listed.entries().map(row).collect();
    let mut prefixes: Vec<String> = visitor
        .access()
        .prefixes()
        .iter()
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    if visitor.access().mirrors().is_some() {
        prefixes.push("other machines".to_owned());
    }
    page::render(&ListPage { base, visitor, rows, prefixes: prefixes.join(", ") })
}

/// The list for scripts: one path on each line, escaped where it would break the line.
pub(super) fn text(catalogue: &Catalogue) -> String {
    let mut lines = String::new();
    for entry in &catalogue.entries {
        // Writing to a string does not fail.
        let _written = writeln!(lines, "{}", entry.log.display());
    }
    lines
}

/// The list as JSON, for the list page.
pub(super) fn json(base: &BasePath, listed: &Listed, viewers: &Viewers) -> String {
    let presence = viewers.now();
    let logs = listed.entries().map(|(entry, exit)| ListedLog {
        path: entry.log.display().to_string(),
        name: entry.name.clone(),
        href: href(base, &entry.log),
        size: entry.size,
        modified: milliseconds(entry.modified),
        exit: exit.map(|exit| ListedExit { status: exit.status }),
        duration: exit.and_then(|exit| exit.duration),
        away: entry.is_away,
        viewers: presence.number(entry),
        names: presence.names(entry),
    });
    to_json(&Listing { logs: logs.collect(), truncated: listed.catalogue.truncated })
}

fn milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// A number of bytes as text. The page's script (`formatSize`) writes it in the same way, so that a
/// row does not change when the script draws it. Crates for this write sizes differently.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if bytes < 1024 || value >= 9.95 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// An age as text, in its largest whole unit.
fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..5 => "just now".to_owned(),
        5..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        86_400..172_800 => "1 day ago".to_owned(),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_readable() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1024), "1.0 KiB");
        assert_eq!(size(12 * 1024 * 1024), "12 MiB");
        assert_eq!(size(u64::MAX), "16 EiB");
        assert_eq!(age(Duration::from_secs(0)), "just now");
        assert_eq!(age(Duration::from_secs(59)), "59 s ago");
        assert_eq!(age(Duration::from_secs(7200)), "2 h ago");
    }
}
