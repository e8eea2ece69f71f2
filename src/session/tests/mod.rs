//! The core without a server, a watcher or a clock: a rotation tracker, its timeline, and the
//! viewers of one log, in random scenarios.
//!
//! The files are real, because a model of files would assume what is to be tested. Everything else
//! is random: what is done to the files, the times at which the follower polls, whether events
//! report renames, how many messages the broadcast holds, when each viewer receives, leaves and
//! resumes, and how the follower ends. One thread does all of it in order, and the runtime's clock
//! is paused, so a failing case fails again and can be shrunk.
//!
//! [`log_files`] holds the files and what was written to them. The [`record`] compares that with
//! what the follower publishes, and each [`checked_viewer`] compares the published bytes with what
//! it receives.

mod checked_viewer;
mod elsewhere;
mod joins;
mod log_files;
mod pieces;
mod record;

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use checked_viewer::CheckedViewer;
use log_files::{LogFiles, Refill};
use record::{Ending, Record};

use crate::session::{StartAt, StreamRequest};

/// A request of a viewer that follows a log from here on.
fn request(begin: StartAt) -> StreamRequest {
    StreamRequest { tail: true, wait: true, signed: true, ..StreamRequest::new(begin) }
}

/// One event of a scenario.
#[derive(Clone, Debug)]
enum Act {
    Append(usize),
    /// The file is renamed, within its directory or out of it, and another is made.
    Rotate {
        beside: bool,
    },
    /// The file is renamed, and no other is made.
    RenameAway,
    RenameOver(usize),
    /// The same with all of the log before the new bytes.
    WriteAnew(usize),
    Remove,
    Create(usize),
    Truncate(Index),
    Fill(Refill, usize),
    /// A writer appends to a file that was rotated away.
    WriteLate(Index, usize),
    TruncateOld(Index, Index),
    RemoveOld(Index),
    RenameBack(Index),
    /// The follower polls, this many milliseconds later.
    Poll(u64),
    Join(StartAt),
    Receive(Index, usize),
    Leave(Index),
    Resume(Index),
    End(Ending),
    /// A follower starts, unless there is one.
    Follow,
}

fn act() -> impl Strategy<Value = Act> {
    // The largest is more than one poll reads.
    let len = || {
        prop_oneof![
            16 => 1..200usize,
            4 => 200..1000usize,
            3 => 60_000..70_000usize,
            1 => Just(1_100_000usize),
        ]
    };
    let index = any::<Index>;
    let begin = prop_oneof![
        2 => Just(StartAt::All),
        1 => (0..20u64).prop_map(StartAt::Lines),
    ];
    let ending = prop_oneof![Just(Ending::Killed), Just(Ending::Retired), Just(Ending::Closed)];
    prop_oneof![
        12 => len().prop_map(Act::Append),
        4 => any::<bool>().prop_map(|beside| Act::Rotate { beside }),
        1 => Just(Act::RenameAway),
        2 => len().prop_map(Act::RenameOver),
        3 => len().prop_map(Act::WriteAnew),
        1 => Just(Act::Remove),
        2 => len().prop_map(Act::Create),
        2 => index().prop_map(Act::Truncate),
        3 => (any::<Refill>(), len()).prop_map(|(refill, len)| Act::Fill(refill, len)),
        3 => (index(), len()).prop_map(|(which, len)| Act::WriteLate(which, len)),
        1 => (index(), index()).prop_map(|(which, to)| Act::TruncateOld(which, to)),
        1 => index().prop_map(Act::RemoveOld),
        1 => index().prop_map(Act::RenameBack),
        14 => prop_oneof![4 => 0..20u64, 1 => 20..7000u64].prop_map(Act::Poll),
        3 => begin.prop_map(Act::Join),
        8 => (index(), 1..8usize).prop_map(|(who, items)| Act::Receive(who, items)),
        2 => index().prop_map(Act::Leave),
        3 => index().prop_map(Act::Resume),
        1 => ending.prop_map(Act::End),
        2 => Just(Act::Follow),
    ]
}

/// The log, its follower and its viewers.
struct Scenario {
    log_files: LogFiles,
    record: Record,
    viewers: Vec<CheckedViewer>,
}

impl Scenario {
    fn new(has_rename_events: bool, messages: usize) -> Self {
        let mut log_files = LogFiles::new(has_rename_events);
        log_files.create(10);
        let mut record = Record::new(&log_files, messages);
        record.begin(&mut log_files);
        Self { log_files, record, viewers: Vec::new() }
    }

    fn who(&self, index: Index) -> Option<usize> {
        (!self.viewers.is_empty()).then(|| index.index(self.viewers.len()))
    }

    async fn act(&mut self, act: Act) {
        let Self { log_files, record, .. } = self;
        match act {
            Act::Append(len) => log_files.append(len),
            Act::Rotate { beside } => {
                if log_files.rename_away(beside) {
                    log_files.create(0);
                }
            }
            Act::RenameAway => {
                log_files.rename_away(true);
            }
            Act::RenameOver(len) => log_files.rename_over(len),
            Act::WriteAnew(len) => log_files.write_anew(len),
            Act::Remove => log_files.remove(),
            Act::Create(len) => log_files.create(len),
            Act::Truncate(to) => log_files.truncate(to),
            Act::Fill(refill, len) => log_files.fill(refill, len),
            Act::WriteLate(which, len) => log_files.write_late(which, len),
            Act::TruncateOld(which, to) => log_files.truncate_old(which, to),
            Act::RemoveOld(which) => log_files.remove_old(which),
            Act::RenameBack(which) => log_files.rename_back(which),
            Act::Poll(later) => record.poll(log_files, Duration::from_millis(later)),
            Act::Follow => record.begin(log_files),
            Act::Join(begin) => self.join(begin).await,
            Act::Receive(index, items) => {
                if let Some(who) = self.who(index) {
                    self.viewers[who].receive(&self.record, &self.log_files, items).await;
                }
            }
            Act::Leave(index) => {
                if let Some(who) = self.who(index) {
                    self.viewers[who].leave(&self.record, &self.log_files);
                }
            }
            Act::Resume(index) => {
                if let Some(who) = self.who(index)
                    && self.record.is_following()
                {
                    self.record.poll_until_all_is_read(&mut self.log_files);
                    self.viewers[who].resume(&self.record, &self.log_files).await;
                }
            }
            Act::End(ending) => self.end(ending).await,
        }
    }

    async fn join(&mut self, begin: StartAt) {
        if self.record.is_following() && self.viewers.len() < 4 {
            self.record.poll_until_all_is_read(&mut self.log_files);
            self.viewers.push(CheckedViewer::join(&self.record, begin).await);
        }
    }

    /// The follower ends. Before a regular end the viewers receive everything.
    async fn end(&mut self, ending: Ending) {
        if !self.record.is_following() {
            return;
        }
        if ending == Ending::Closed {
            self.record.poll_until_all_is_read(&mut self.log_files);
            self.record.close();
            for checked_viewer in &mut self.viewers {
                checked_viewer.receive_the_end(&self.record, &self.log_files).await;
            }
        }
        for checked_viewer in &mut self.viewers {
            checked_viewer.leave(&self.record, &self.log_files);
        }
        self.record.end_follower(ending);
    }

    /// Time passes, and every viewer receives everything.
    async fn settle(&mut self) {
        self.record.begin(&mut self.log_files);
        for index in 0..self.viewers.len() {
            self.record.poll_until_all_is_read(&mut self.log_files);
            self.viewers[index].resume(&self.record, &self.log_files).await;
        }
        for _ in 0..4 {
            self.record.poll(&mut self.log_files, Duration::from_millis(120));
            self.record.poll_until_all_is_read(&mut self.log_files);
        }
        self.record.assert_all_is_published(&self.log_files);
        for checked_viewer in &mut self.viewers {
            checked_viewer.receive(&self.record, &self.log_files, usize::MAX).await;
            checked_viewer.assert_has_all(&self.record);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..crate::testing::cases(256) })]

    #[test]
    fn viewers_receive_what_was_written_or_an_announced_gap(
        has_rename_events in any::<bool>(),
        messages in prop_oneof![Just(1), Just(2), Just(32)],
        acts in proptest::collection::vec(act(), 1..80),
    ) {
        run_scenario(has_rename_events, messages, acts);
    }
}

/// Runs these acts, and checks the promises.
fn run_scenario(has_rename_events: bool, messages: usize, acts: impl IntoIterator<Item = Act>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
        let mut scenario = Scenario::new(has_rename_events, messages);
        for act in acts {
            scenario.act(act).await;
        }
        scenario.settle().await;
    });
}

#[test]
fn the_file_after_a_found_one_stays_open_for_its_reader_even_if_it_is_removed() {
    let (join, close) = (Act::Join(StartAt::All), Act::End(Ending::Closed));
    let meanwhile = [Act::RenameAway, Act::Create(1), Act::Follow, Act::Remove];
    let polls = [Act::Poll(0), Act::Poll(4510), Act::Poll(10)];
    run_scenario(true, 1, [join, close].into_iter().chain(meanwhile).chain(polls));
}

/// An index that is always 0.
fn first() -> Index {
    let mut tree = any::<Index>().new_tree(&mut TestRunner::deterministic()).unwrap();
    while tree.simplify() {}
    tree.current()
}

#[test]
fn late_bytes_of_a_removed_file_are_a_gap_after_the_file_is_closed() {
    let late = Act::WriteLate(first(), 1_100_000);
    let before = [Act::RenameOver(1), Act::Poll(0), Act::RenameAway, Act::Poll(5), late];
    let after = [Act::Poll(0), Act::Poll(5000), Act::Join(StartAt::All)];
    run_scenario(false, 1, before.into_iter().chain(after));
}

#[test]
fn a_file_that_was_truncated_before_it_got_its_name_back_begins_anew() {
    let away = [Act::Rotate { beside: false }, Act::Poll(0), Act::Poll(5)];
    let back = [Act::TruncateOld(first(), first()), Act::Append(18), Act::RenameBack(first())];
    let other = [Act::Poll(0), Act::TruncateOld(first(), first()), Act::Poll(5)];
    run_scenario(false, 1, away.into_iter().chain(back).chain(other));
}

#[test]
fn files_that_may_be_missing_are_told_once_though_the_log_has_no_file() {
    let acts = [
        Act::RenameAway,
        Act::Join(StartAt::All),
        Act::End(Ending::Closed),
        Act::Follow,
        Act::Resume(first()),
        Act::Receive(first(), 4),
        Act::Create(1),
    ];
    run_scenario(false, 1, acts);
}

#[test]
fn a_viewer_that_waits_begins_with_the_next_bytes() {
    let acts = [
        Act::Append(1),
        Act::Join(StartAt::All),
        Act::Append(211),
        Act::End(Ending::Closed),
        Act::Append(1),
        Act::RenameAway,
        Act::Follow,
        Act::Join(StartAt::Lines(0)),
        Act::Resume(first()),
        Act::WriteLate(first(), 1),
    ];
    run_scenario(false, 1, acts);
}

#[test]
fn a_file_that_was_found_again_may_be_truncated_after_it_was_read() {
    let acts = [
        Act::Join(StartAt::All),
        Act::Receive(first(), 1),
        Act::Rotate { beside: true },
        Act::End(Ending::Killed),
        Act::Follow,
        Act::Resume(first()),
        Act::TruncateOld(first(), first()),
    ];
    run_scenario(false, 1, acts);
}

#[test]
fn a_file_that_gets_its_name_back_while_it_is_read_goes_on() {
    let acts = [
        Act::Join(StartAt::All),
        Act::End(Ending::Closed),
        Act::Rotate { beside: true },
        Act::Follow,
        Act::Resume(first()),
        Act::RenameBack(first()),
        Act::Poll(10),
        Act::Poll(10),
        Act::Receive(first(), 7),
        Act::Append(5),
        Act::Poll(10),
        Act::Receive(first(), 7),
        Act::Append(5),
    ];
    run_scenario(false, 1, acts);
}

#[test]
fn a_viewer_that_waits_begins_with_the_lines_before_the_next_bytes() {
    let acts = [
        Act::Join(StartAt::Lines(1)),
        Act::Leave(first()),
        Act::Rotate { beside: false },
        Act::Join(StartAt::All),
        Act::WriteLate(first(), 1_100_000),
        Act::RenameAway,
        Act::Poll(0),
        Act::Poll(5000),
    ];
    run_scenario(false, 1, acts);
}
