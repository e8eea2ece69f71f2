//! Whether each file that had the log's name is known.
//!
//! The kernel queues an event for each file that gets the name, also while the server is stopped.
//! The tracker opens files. If more files got the name than were opened, the tracker has missed
//! some, which had the name only between two of its looks. Where events may be missing, their
//! number proves nothing. That shows where a file has no event: a file system over a network tells
//! nothing of what others do, though its directories can be watched.
//!
//! Pure: the tracker reports events and files.

use std::time::{Duration, Instant};

/// The event of a file that is open already may come so much later.
const EVENT_TIME_MAX: Duration = Duration::from_secs(1);
/// Where a log has events, that of an open file is missing when it has not come for so long.
const EVENT_TIME_USUAL: Duration = Duration::from_millis(250);
/// A file counts as missed when nothing was heard of the name for so long. Before, an event may
/// still report a renaming, by which the tracker finds the file.
const QUIET_TIME: Duration = Duration::from_millis(50);

/// Counts the files that got the name, and those that were opened.
#[derive(Debug, Default)]
pub(super) struct Appearances {
    /// How many more events came than files were opened. Negative while events are outstanding.
    excess: i64,
    /// When the last file was opened.
    opened_at: Option<Instant>,
    /// Events may be missing since the name was confirmed last.
    are_events_lost: bool,
    /// Since when there are more events than files.
    missed_since: Option<Instant>,
    /// Until when the event of the first file may come, which had the name before the log was
    /// followed.
    first_until: Option<Instant>,
}

impl Appearances {
    /// So many files got the name. `are_lost` says that events may be missing before these.
    pub(super) fn record(&mut self, appeared: i64, are_lost: bool, now: Instant) {
        let is_overdue = self.opened_at.is_some_and(|at| now.duration_since(at) > EVENT_TIME_MAX);
        if are_lost {
            self.are_events_lost = true;
            self.forgive();
        } else if is_overdue && self.excess < 0 {
            // Those events do not come any more, and others may not come either.
            self.excess = 0;
            self.are_events_lost = true;
        }
        if appeared != 0 {
            self.excess += appeared;
            self.missed_since = None;
        }
    }

    /// The log is followed from now on, with a file that has the name. If it got the name a moment
    /// ago, the event of that may be on its way, in a directory that was watched already.
    pub(super) fn begin(&mut self, now: Instant) {
        self.first_until = Some(now + EVENT_TIME_MAX);
    }

    /// The first file still has the name. A single event is then that of the first file: if another
    /// file had had the name meanwhile, there would be one more, of the first file's return.
    pub(super) fn confirm_first(&mut self, now: Instant) {
        if self.excess == 1 && self.first_until.take().is_some_and(|until| now < until) {
            self.excess = 0;
        }
    }

    /// A file that got the name was opened.
    pub(super) fn open(&mut self, now: Instant) {
        self.excess -= 1;
        self.missed_since = None;
        self.opened_at = Some(now);
    }

    /// The name leads to the present file, and no other file is known that has had it since.
    pub(super) fn confirm(&mut self) {
        self.are_events_lost = false;
        self.forgive();
    }

    /// What was missed so far has been handled.
    pub(super) fn forgive(&mut self) {
        self.excess = self.excess.min(0);
        self.missed_since = None;
    }

    /// Whether events may be missing, so that their number proves nothing.
    pub(super) fn are_events_lost(&self) -> bool {
        self.are_events_lost || self.excess < 0
    }

    /// Whether the event of a file that was opened a moment ago is still to come.
    pub(super) fn are_events_outstanding(&self, now: Instant) -> bool {
        self.is_event_outstanding_for(QUIET_TIME, now)
    }

    /// Whether it may still come, although that is late. No event of a log may have come so far.
    pub(super) fn may_events_be_late(&self, has_events: bool, now: Instant) -> bool {
        let time = if has_events { EVENT_TIME_USUAL } else { QUIET_TIME };
        self.is_event_outstanding_for(time, now)
    }

    fn is_event_outstanding_for(&self, time: Duration, now: Instant) -> bool {
        let is_recent = |at: Instant| now.duration_since(at) < time;
        self.excess < 0 && self.opened_at.is_some_and(is_recent)
    }

    /// How many files were missed, besides `known` ones that are still to be opened, and whether
    /// that is certain.
    pub(super) fn missed(&mut self, known: usize, now: Instant) -> Missed {
        let missed = usize::try_from(self.excess).unwrap_or(0).saturating_sub(known);
        if missed == 0 {
            self.missed_since = None;
            return Missed::Nothing;
        }
        let since = *self.missed_since.get_or_insert(now);
        if now.duration_since(since) < QUIET_TIME {
            Missed::Undecided
        } else {
            Missed::Files(missed)
        }
    }

    /// When it is certain whether files were missed. None when no file seems to be.
    pub(super) fn due(&self) -> Option<Instant> {
        self.missed_since.map(|since| since + QUIET_TIME)
    }
}

/// How many files the tracker has missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    Nothing,
    /// Some, perhaps.
    Undecided,
    Files(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The count after these steps, each 10 ms after the one before: `+` is an event, `-` a file
    /// that was opened, `!` a loss of events, `=` a name that was confirmed, and `.` a second and
    /// more.
    fn after(steps: &str) -> Missed {
        let mut appearances = Appearances::default();
        let mut now = Instant::now();
        for step in steps.chars() {
            now += Duration::from_millis(10);
            match step {
                '+' => appearances.record(1, false, now),
                '-' => appearances.open(now),
                '!' => appearances.record(0, true, now),
                '=' => appearances.confirm(),
                '.' => now += EVENT_TIME_MAX,
                other => panic!("{other}"),
            }
        }
        appearances.missed(0, now);
        appearances.missed(0, now + QUIET_TIME)
    }

    #[test]
    fn more_events_than_files_tell_how_many_files_were_missed() {
        for (steps, missed) in [
            ("+-", 0),
            ("++-", 1),
            ("-++", 1),
            ("+-+++-", 2),
            ("-+", 0),
            ("--++", 0),
            // An event that was never delivered hides no file later.
            ("-.++-", 1),
            // Neither does the event of a file that was missed and handled.
            ("++-=+-", 0),
            // What came before a loss proves nothing.
            ("++!-", 0),
            ("!-=++-", 0),
            ("!-=.++-", 1),
        ] {
            let expected = if missed == 0 { Missed::Nothing } else { Missed::Files(missed) };
            assert_eq!(after(steps), expected, "{steps}");
        }
    }

    #[test]
    fn a_file_counts_as_missed_only_after_a_moment_and_if_it_is_not_known() {
        let (mut appearances, now) = (Appearances::default(), Instant::now());
        appearances.record(2, false, now);
        assert_eq!(appearances.missed(2, now), Missed::Nothing);
        assert_eq!(appearances.due(), None);
        let until = now + QUIET_TIME;
        assert_eq!(appearances.missed(1, now), Missed::Undecided);
        assert_eq!(appearances.due(), Some(until));
        assert_eq!(appearances.missed(1, until), Missed::Files(1));
    }

    #[test]
    fn the_event_of_the_first_file_may_come_when_it_is_followed_already() {
        let missed = |events: i64, later: Duration| {
            let (mut appearances, now) = (Appearances::default(), Instant::now());
            appearances.begin(now);
            let now = now + later;
            appearances.record(events, false, now);
            appearances.confirm_first(now);
            appearances.missed(0, now);
            appearances.missed(0, now + QUIET_TIME)
        };
        assert_eq!(missed(1, Duration::from_millis(20)), Missed::Nothing);
        assert_eq!(missed(2, Duration::from_millis(20)), Missed::Files(2), "it went and came back");
        assert_eq!(missed(1, EVENT_TIME_MAX), Missed::Files(1), "that is too late");
    }

    #[test]
    fn the_event_of_a_file_that_was_opened_is_outstanding_for_a_moment() {
        let (mut appearances, now) = (Appearances::default(), Instant::now());
        appearances.open(now);
        assert!(appearances.are_events_outstanding(now));
        assert!(!appearances.are_events_outstanding(now + QUIET_TIME), "it does not come");
        appearances.record(1, false, now);
        assert!(!appearances.are_events_outstanding(now), "it came");
    }

    #[test]
    fn events_are_missing_where_a_file_has_none() {
        let (mut appearances, now) = (Appearances::default(), Instant::now());
        appearances.open(now);
        assert!(appearances.are_events_lost());
        for (has_events, time) in [(true, EVENT_TIME_USUAL), (false, QUIET_TIME)] {
            assert!(appearances.may_events_be_late(has_events, now));
            assert!(!appearances.may_events_be_late(has_events, now + time));
        }
        let overdue = now + EVENT_TIME_MAX + Duration::from_millis(1);
        appearances.record(0, false, overdue);
        assert!(appearances.are_events_lost(), "the next file may be long in coming");
        appearances.confirm();
        assert!(!appearances.are_events_lost());
        appearances.open(overdue);
        appearances.record(1, false, overdue);
        assert!(!appearances.are_events_lost(), "it has come");
    }

    #[test]
    fn a_loss_of_events_lasts_until_the_name_is_confirmed() {
        let (mut appearances, now) = (Appearances::default(), Instant::now());
        appearances.record(0, true, now);
        appearances.record(1, false, now);
        appearances.open(now);
        assert!(appearances.are_events_lost());
        appearances.confirm();
        assert!(!appearances.are_events_lost());
    }
}
