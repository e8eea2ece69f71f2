//! The whole core, without a server, a watcher or a clock: a tracker, its timeline and the viewers of one log.
//!
//! The files are real, since what becomes of them when they are renamed and cut is what this is about; a view of a file
//! made of values would have to know all that from us. All else is drawn by chance: what is done to the files,
//! when the follower polls and what time it is then, whether events tell of renamings, how little the broadcast holds,
//! when each viewer listens, leaves and comes back, when the follower ends and whether the next one remembers. One
//! thread does it all, in the order that was drawn, and the clock of the runtime stands still. So a case that fails
//! fails again, and is made as short as it can be.
//!
//! The [`stage`] has the files and knows what was written. The [`record`] holds what the follower publishes against
//! that, and each [`spectator`] what it is given against what was published.

mod joins;
mod record;
mod spectator;
mod stage;

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use record::{Ending, Record};
use spectator::Spectator;
use stage::{Refill, Stage};

use crate::session::StartAt;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Act {
    Append(usize),
    /// The file is renamed, within its directory or out of it, and another is made.
    Rotate {
        beside: bool,
    },
    /// The file is renamed, and nothing has its name.
    SetAside,
    RenameOver(usize),
    Remove,
    Create(usize),
    Cut(Index),
    Fill(Refill, usize),
    /// A writer that stayed with a file that has lost the name.
    WriteLate(Index, usize),
    CutOld(Index, Index),
    RemoveOld(Index),
    ComeBack(Index),
    /// The follower polls, so many milliseconds later.
    Poll(u64),
    Join(StartAt),
    Hear(Index, usize),
    Leave(Index),
    Return(Index),
    End(Ending),
    StartAt,
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
        1 => Just(Act::SetAside),
        2 => len().prop_map(Act::RenameOver),
        1 => Just(Act::Remove),
        2 => len().prop_map(Act::Create),
        2 => index().prop_map(Act::Cut),
        3 => (any::<Refill>(), len()).prop_map(|(refill, len)| Act::Fill(refill, len)),
        3 => (index(), len()).prop_map(|(which, len)| Act::WriteLate(which, len)),
        1 => (index(), index()).prop_map(|(which, to)| Act::CutOld(which, to)),
        1 => index().prop_map(Act::RemoveOld),
        1 => index().prop_map(Act::ComeBack),
        14 => prop_oneof![4 => 0..20u64, 1 => 20..7000u64].prop_map(Act::Poll),
        3 => begin.prop_map(Act::Join),
        8 => (index(), 1..8usize).prop_map(|(who, items)| Act::Hear(who, items)),
        2 => index().prop_map(Act::Leave),
        3 => index().prop_map(Act::Return),
        1 => ending.prop_map(Act::End),
        2 => Just(Act::StartAt),
    ]
}

/// What is played: the log, its follower, and who polls.
struct Play {
    stage: Stage,
    record: Record,
    spectators: Vec<Spectator>,
}

impl Play {
    fn new(hears: bool, messages: usize) -> Self {
        let mut stage = Stage::new(hears);
        stage.create(10);
        let mut record = Record::new(&stage, messages);
        record.begin(&mut stage);
        Self { stage, record, spectators: Vec::new() }
    }

    fn who(&self, index: Index) -> Option<usize> {
        (!self.spectators.is_empty()).then(|| index.index(self.spectators.len()))
    }

    async fn act(&mut self, act: Act) {
        let Self { stage, record, .. } = self;
        match act {
            Act::Append(len) => stage.append(len),
            Act::Rotate { beside } => {
                if stage.set_aside(beside) {
                    stage.create(0);
                }
            }
            Act::SetAside => {
                stage.set_aside(true);
            }
            Act::RenameOver(len) => stage.rename_over(len),
            Act::Remove => stage.remove(),
            Act::Create(len) => stage.create(len),
            Act::Cut(to) => stage.cut(to),
            Act::Fill(refill, len) => stage.fill(refill, len),
            Act::WriteLate(which, len) => stage.write_late(which, len),
            Act::CutOld(which, to) => stage.cut_old(which, to),
            Act::RemoveOld(which) => stage.remove_old(which),
            Act::ComeBack(which) => stage.come_back(which),
            Act::Poll(later) => record.poll(stage, Duration::from_millis(later)),
            Act::StartAt => record.begin(stage),
            Act::Join(begin) => self.join(begin).await,
            Act::Hear(index, items) => {
                if let Some(who) = self.who(index) {
                    self.spectators[who].hear(&self.record, &self.stage, items).await;
                }
            }
            Act::Leave(index) => {
                if let Some(who) = self.who(index) {
                    self.spectators[who].leave(&self.record, &self.stage);
                }
            }
            Act::Return(index) => {
                if let Some(who) = self.who(index)
                    && self.record.is_following()
                {
                    self.record.look_until_all_is_read(&mut self.stage);
                    self.spectators[who].come_back(&self.record, &self.stage).await;
                }
            }
            Act::End(ending) => self.end(ending).await,
        }
    }

    async fn join(&mut self, begin: StartAt) {
        if self.record.is_following() && self.spectators.len() < 4 {
            self.record.look_until_all_is_read(&mut self.stage);
            self.spectators.push(Spectator::join(&self.record, begin).await);
        }
    }

    /// The follower ends. Where it has the time, who listens is given all there is.
    async fn end(&mut self, ending: Ending) {
        if !self.record.is_following() {
            return;
        }
        if ending == Ending::Closed {
            self.record.look_until_all_is_read(&mut self.stage);
            self.record.close();
            for spectator in &mut self.spectators {
                spectator.hear_the_end(&self.record, &self.stage).await;
            }
        }
        for spectator in &mut self.spectators {
            spectator.leave(&self.record, &self.stage);
        }
        self.record.cease(ending);
    }

    /// Time passes, and everybody gets what there is.
    async fn settle(&mut self) {
        self.record.begin(&mut self.stage);
        for index in 0..self.spectators.len() {
            self.record.look_until_all_is_read(&mut self.stage);
            self.spectators[index].come_back(&self.record, &self.stage).await;
        }
        for _ in 0..4 {
            self.record.poll(&mut self.stage, Duration::from_millis(120));
            self.record.look_until_all_is_read(&mut self.stage);
        }
        self.record.assert_all_is_published(&self.stage);
        for spectator in &mut self.spectators {
            spectator.hear(&self.record, &self.stage, usize::MAX).await;
            spectator.assert_has_all(&self.record);
        }
    }
}

fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { failure_persistence: None, max_shrink_iters: 4000, ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_received_and_what_is_announced_is_what_was_written(
        hears in any::<bool>(),
        messages in prop_oneof![Just(1), Just(2), Just(32)],
        acts in proptest::collection::vec(act(), 1..80),
    ) {
        play(hears, messages, acts);
    }
}

/// Plays these acts to the end, and demands what is promised.
fn play(hears: bool, messages: usize, acts: impl IntoIterator<Item = Act>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
        let mut play = Play::new(hears, messages);
        for act in acts {
            play.act(act).await;
        }
        play.settle().await;
    });
}

#[test]
fn who_reads_a_file_that_was_found_again_is_kept_the_one_after_it_though_that_is_removed() {
    let (join, close) = (Act::Join(StartAt::All), Act::End(Ending::Closed));
    let meanwhile = [Act::SetAside, Act::Create(1), Act::StartAt, Act::Remove];
    let polls = [Act::Poll(0), Act::Poll(4510), Act::Poll(10)];
    play(true, 1, [join, close].into_iter().chain(meanwhile).chain(polls));
}

/// The first of many.
fn first() -> Index {
    let mut tree = any::<Index>().new_tree(&mut TestRunner::deterministic()).unwrap();
    while tree.simplify() {}
    tree.current()
}

#[test]
fn what_came_late_to_a_file_without_a_name_is_a_gap_once_that_is_let_go() {
    let late = Act::WriteLate(first(), 1_100_000);
    let before = [Act::RenameOver(1), Act::Poll(0), Act::SetAside, Act::Poll(5), late];
    let after = [Act::Poll(0), Act::Poll(5000), Act::Join(StartAt::All)];
    play(false, 1, before.into_iter().chain(after));
}
