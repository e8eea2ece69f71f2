//! Compares what a viewer received with what it had to receive.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::host::{History, Life};
use super::log::{HELD_FILES, LATE, Model, Presence, Segment};
use super::received::{Began, ReceivedStreams, Stay, Stream, inode_of, is_same};

/// The server must read a late write within this time.
const LATE_HEARD: Duration = Duration::from_secs(1);
/// A file that had the name for less, while nobody followed, leaves no trace in the times of others:
/// the file system's clock ticks once or twice meanwhile.
const TRACELESS: Duration = Duration::from_millis(10);
/// So many bytes are not in another file by chance.
const BEYOND_DOUBT: usize = 32;

/// Facts from the model, the server's history and the records of all viewers.
pub struct Witness<'a> {
    pub model: &'a Model,
    pub history: &'a History,
    /// For each life of the server, the time since when a viewer followed the log.
    followed: HashMap<usize, Instant>,
    /// For each life and file, the time at which a viewer first received its generation.
    heard: HashMap<(usize, usize), Instant>,
}

impl<'a> Witness<'a> {
    pub fn new(model: &'a Model, history: &'a History, all_received: &[&ReceivedStreams]) -> Self {
        let mut witness = Self { model, history, followed: HashMap::new(), heard: HashMap::new() };
        for received in all_received {
            for stay in &received.stays {
                let since = witness.followed.entry(stay.life).or_insert(stay.opened);
                *since = stay.opened.min(*since);
            }
            for stream in &received.streams {
                witness.hear(stream);
            }
        }
        witness
    }

    fn hear(&mut self, stream: &Stream) {
        let Some((file, _)) = stream.found else { return };
        let bytes: usize = stream.pieces.iter().map(|(_, piece)| piece.len()).sum();
        let number = inode_of(&stream.generation);
        let of_its_inode = self.model.files.iter().filter(|other| other.is_of(number));
        if bytes >= BEYOND_DOUBT || (bytes > 0 && of_its_inode.count() == 1) {
            let first = self.heard.entry((stream.life, file)).or_insert(stream.first);
            *first = stream.first.min(*first);
        }
    }
}

/// A segment in relation to a viewer in one life of the server.
struct View<'a> {
    stay: &'a Stay,
    life: &'a Life,
    is_last: bool,
    /// The time since when the viewer could receive it.
    since: Instant,
    /// It already existed when the viewer opened its file.
    of_the_first: bool,
    reach: &'a Reach,
}

/// The progress of a viewer in one life of the server.
#[derive(Default)]
struct Reach {
    /// The start of the latest write that it received.
    begun: Option<Instant>,
    /// The latest file to which a reset led it, by the number of the file's only presence.
    presence: Option<usize>,
}

impl ReceivedStreams {
    /// Checks that each byte was received once, could not be received, or was announced as lost.
    pub fn weigh(&mut self, witness: &Witness<'_>, keeps_up: bool) {
        if self.stays.is_empty() {
            return self.fault("never opened".to_owned());
        }
        let got: Vec<_> = (0..witness.model.segments.len())
            .map(|number| self.receive(witness.model, number))
            .collect();
        let reaches: Vec<_> =
            self.stays.iter().map(|stay| self.reach(witness.model, stay.life)).collect();
        for (number, got) in got.iter().enumerate() {
            self.weigh_segment(witness, number, got, &reaches, keeps_up);
        }
    }

    /// The ranges of a segment that were received. Counts repeated bytes.
    fn receive(&mut self, model: &Model, number: usize) -> Vec<(u64, u64)> {
        let segment = &model.segments[number];
        let presences = &model.files[segment.file].presences;
        let in_time = presences.len() == 1 && model.was_in_time(segment);
        let mut got: Vec<(u64, u64)> = Vec::new();
        let mut faults = Vec::new();
        for (at, stream) in self.streams.iter().enumerate() {
            if !stream.may_hold(segment) {
                continue;
            }
            if in_time && stream.late.iter().any(|(a, b)| *a < segment.end && segment.start < *b) {
                faults.push(format!(
                    "file {} {}..{} came as late, but was written before the name was lost",
                    segment.file, segment.start, segment.end
                ));
            }
            let came_back =
                stream.began == Began::Rotated && !model.files[segment.file].was_there_once();
            let is_copy = self.is_copy(at, segment);
            for (a, b) in stream.overlaps(segment) {
                let had: u64 = got.iter().map(|(c, d)| b.min(*d).saturating_sub(a.max(*c))).sum();
                // Bytes from before the start of a repeated stream may come again. Bytes that were
                // written later are only in that stream.
                let origin = self.lineage(stream).last().unwrap_or(stream);
                let is_repeat =
                    origin.is_anew() || came_back || is_copy || self.is_told_anew(origin);
                let told_anew = is_repeat && segment.begun < origin.first;
                if had > 0 && !told_anew {
                    self.totals.duplicated += had;
                    faults.push(format!(
                        "file {} {a}..{b} came again under {}",
                        segment.file, stream.generation
                    ));
                } else {
                    self.totals.again += had;
                }
                self.totals.once += (b - a) - had;
                got = united(got, (a, b));
            }
        }
        self.faults.extend(faults);
        got
    }

    /// Whether the stream begins a file that was written anew, after it was renamed away, and no
    /// earlier stream of that inode had any of the segment. The server never saw that file under
    /// the log's name.
    fn is_copy(&self, at: usize, segment: &Segment) -> bool {
        let stream = &self.streams[at];
        let inode = inode_of(&stream.generation);
        let mut earlier = self.streams[..at].iter().filter(|other| other.may_hold(segment));
        stream.began == Began::Rotated
            && earlier.all(|other| {
                inode_of(&other.generation) != inode || other.overlaps(segment).next().is_none()
            })
    }

    /// The stream, and those of earlier lives of the server that it continues.
    pub fn lineage<'a>(&'a self, stream: &'a Stream) -> impl Iterator<Item = &'a Stream> {
        std::iter::successors(Some(stream), |stream| match stream.began {
            Began::Continued(before) => Some(&self.streams[before]),
            _ => None,
        })
    }

    /// After a restart the server sends the files after a resumed one from their beginning.
    fn is_told_anew(&self, stream: &Stream) -> bool {
        stream.began == Began::Rotated
            && self.stays.first().is_some_and(|first| first.life < stream.life)
    }

    fn reach(&self, model: &Model, life: usize) -> Reach {
        let mut reach = Reach::default();
        for stream in self.streams.iter().filter(|stream| stream.life == life) {
            let Some((file, _)) = stream.found else { continue };
            let last = model
                .segments
                .iter()
                .filter(|segment| stream.may_hold(segment))
                .filter(|segment| stream.overlaps(segment).next().is_some());
            reach.begun = reach.begun.max(last.map(|segment| segment.begun).max());
            if let ([presence], true) =
                (model.files[file].presences.as_slice(), stream.is_turned_to())
            {
                reach.presence = reach.presence.max(Some(presence.number));
            }
        }
        reach
    }

    fn weigh_segment(
        &mut self,
        witness: &Witness<'_>,
        number: usize,
        got: &[(u64, u64)],
        reaches: &[Reach],
        keeps_up: bool,
    ) {
        let segment = &witness.model.segments[number];
        let mut wanted = None;
        let mut silent = Vec::new();
        for (nth, stay) in self.stays.iter().enumerate() {
            let life = &witness.history.lives[stay.life];
            let before = segment.begun < stay.opened;
            // What it opened may be what the file was before it was written anew.
            let of_the_first = before
                && witness.model.files[segment.file].earlier_numbers.is_empty()
                && self.file_of(stay) == Some(segment.file)
                && (segment.written < stay.came
                    || witness.model.was_in_time_since(segment, stay.came))
                && segment.destroyed.is_none_or(|destroyed| destroyed > stay.opened);
            if (before && !of_the_first) || life.to.is_some_and(|to| to < segment.begun) {
                continue;
            }
            let from = if before { segment.start.max(stay.from) } else { segment.start };
            wanted = Some(wanted.unwrap_or(from).min(from));
            let view = View {
                stay,
                life,
                is_last: nth + 1 == self.stays.len(),
                since: segment.written.max(stay.opened),
                of_the_first,
                reach: &reaches[nth],
            };
            let away = stay.lost.iter().any(|lost| segment.begun < *lost);
            if away || !witness.must_arrive(segment, &view) {
                continue;
            }
            let missing = missing((from, segment.end), got);
            silent.extend(missing.into_iter().filter(|range| {
                !(self.is_told(witness.model, segment, *range)
                    && (!keeps_up
                        || segment.destroyed.is_some()
                        || witness.model.taken_since(segment.file) >= HELD_FILES))
            }));
        }
        // Bytes that were written while no server ran are required in no life, but they count as
        // missing.
        let is_after = self.stays.first().is_some_and(|first| first.opened <= segment.begun);
        let Some(wanted) = wanted.or(is_after.then_some(segment.start)) else { return };
        for (a, b) in missing((wanted, segment.end), got) {
            if silent.iter().any(|(c, d)| *c < b && a < *d) {
                self.totals.silent += b - a;
                self.faults.push(format!(
                    "file {} epoch {} {a}..{b} (segment {number}, written at {:.4}) never came{}",
                    segment.file,
                    segment.born,
                    (segment.written - witness.model.transcript.began).as_secs_f64(),
                    if self.is_told(witness.model, segment, (a, b)) {
                        ", but for a gap"
                    } else {
                        ""
                    },
                ));
            } else if self.is_of_an_unknown_file(witness, segment) {
                self.totals.silent += b - a;
                self.faults.push(format!(
                    "file {} {a}..{b} (segment {number}) never came, and nothing told that a file may be missing",
                    segment.file
                ));
            } else if self.is_told(witness.model, segment, (a, b))
                || self.breaks.iter().any(|told| *told >= segment.begun)
            {
                self.totals.announced += b - a;
            } else if self
                .unproved
                .iter()
                .any(|(file, from, to)| *file == segment.file && *from <= a && b <= *to)
            {
                // Already counted as unproved.
            } else if witness.model.was_left_for_good(segment) || self.is_named(segment, a) {
                self.totals.silent += b - a;
                self.faults.push(format!(
                    "file {} {a}..{b} (segment {number}) never came, and nothing was told since",
                    segment.file
                ));
            } else {
                self.totals.unseen += b - a;
            }
        }
    }

    /// Whether it is of a file that had the name only while the server was dead, that this viewer
    /// never heard of, and of which it was not told that it may be missing when it came back. If the
    /// file that had the name before has it again, nothing shows that there was another.
    fn is_of_an_unknown_file(&self, witness: &Witness<'_>, segment: &Segment) -> bool {
        let file = &witness.model.files[segment.file];
        let [Presence { from, to: Some(to), .. }] = file.presences.as_slice() else { return false };
        let is_heard = |stream: &Stream| match stream.found {
            Some((found, _)) => found == segment.file,
            None => file.is_of(inode_of(&stream.generation)),
        };
        let was_dead = self.stays.windows(2).any(|stays| {
            let died = witness.history.lives[stays[0].life].to;
            let is_between = |died: &Instant| died < from && *to < stays[1].came;
            died.filter(is_between).is_some_and(|died| {
                witness
                    .model
                    .named_at(died)
                    .is_none_or(|before| witness.model.named_at(stays[1].came) != Some(before))
            })
        });
        was_dead
            && *to - *from > TRACELESS
            && witness.model.was_in_time(segment)
            && !self.streams.iter().any(is_heard)
            && !self.unknowns.iter().any(|told| told > to)
    }

    /// Whether the viewer sent a position in this file at or before the missing bytes, when all of
    /// the segment already existed.
    fn is_named(&self, segment: &Segment, from: u64) -> bool {
        segment.late
            && segment.destroyed.is_none()
            && self.named.iter().any(|(stream, next, when)| {
                let mut lineage = self.lineage(&self.streams[*stream]);
                let known = lineage.find(|stream| stream.found.is_some());
                known.is_some_and(|stream| stream.may_hold(segment))
                    && *next <= from
                    && segment.written < *when
            })
    }

    /// The file at the start of a stay.
    fn file_of(&self, stay: &Stay) -> Option<usize> {
        let mut first = self.streams.iter().filter(|stream| {
            stream.life == stay.life && is_same(&stream.generation, &stay.generation)
        });
        first.find_map(|stream| stream.found).map(|(file, _)| file)
    }

    /// Whether gaps announced that these bytes of a segment were left out.
    fn is_told(&self, model: &Model, segment: &Segment, range: (u64, u64)) -> bool {
        let inode = &model.files[segment.file];
        let of_its_file = self.streams.iter().filter(|stream| match stream.found {
            Some((file, _)) => file == segment.file,
            // One under which no byte came is known by its inode only.
            None => inode.is_of(inode_of(&stream.generation)),
        });
        let gaps = of_its_file.flat_map(|stream| &stream.gaps).copied().fold(Vec::new(), united);
        missing(range, &gaps).is_empty()
    }

    /// Checks that there are no more resets to new generations than there were reasons for.
    pub fn count_turns(&mut self, model: &Model) {
        let mut faults = Vec::new();
        for (&(inode, kind), told) in &self.resets {
            let told = told.len();
            let files = model.files.iter().filter(|file| file.is_of(inode));
            let (cuts, turns) = files.fold((0, 0), |(cuts, turns), file| {
                (cuts + file.cuts, turns + file.presences.len())
            });
            // Each position that was not recovered and each life of the server add a reset.
            let allowed = match kind {
                "truncated" => cuts,
                "turned" => turns + self.losses.len() + self.stays.len().saturating_sub(1),
                _ => usize::MAX,
            };
            if told > allowed {
                faults.push(format!(
                    "inode {inode} was told {kind} {told} times, not at most {allowed}"
                ));
            }
        }
        self.faults.extend(faults);
    }
}

impl Stream {
    /// Whether it is of an epoch that contains the segment.
    fn may_hold(&self, segment: &Segment) -> bool {
        self.found.is_some_and(|(file, epoch)| {
            file == segment.file
                && epoch >= segment.born
                && segment.last.is_none_or(|last| last >= epoch)
        })
    }

    fn overlaps(&self, segment: &Segment) -> impl Iterator<Item = (u64, u64)> {
        let (from, to) = (segment.start, segment.end);
        self.pieces.iter().filter_map(move |(start, piece)| {
            let (a, b) = (from.max(*start), to.min(start + piece.len() as u64));
            (a < b).then_some((a, b))
        })
    }
}

impl Witness<'_> {
    /// Whether the server certainly could see the segment, and the viewer could receive it.
    fn must_arrive(&self, segment: &Segment, view: &View<'_>) -> bool {
        // A server that is ending still reads for a while.
        let end = view.stay.complete.or(view.life.to);
        let destroyed =
            segment.destroyed.filter(|destroyed| end.is_none_or(|end| *destroyed < end));
        let lasts_after = |from: Instant| {
            destroyed.is_none_or(|destroyed| {
                self.history.seen_by(from).is_some_and(|seen| seen <= destroyed)
            })
        };
        let presences = &self.model.files[segment.file].presences;
        if view.of_the_first {
            let number = presences.last().map(|presence| presence.number);
            return lasts_after(view.since) && self.was_passed(segment, view, view.since, number);
        }
        let followed = self.followed[&view.stay.life];
        presences.iter().enumerate().any(|(nth, presence)| {
            let from = presence.from.max(followed);
            let lost = presence.to.filter(|lost| end.is_none_or(|end| *lost < end));
            if view.life.to.is_some_and(|to| to <= from) || lost.is_some_and(|lost| lost <= from) {
                return false;
            }
            let seen = view.since.max(from);
            if !lasts_after(seen) {
                return false;
            }
            let Some(lost) = lost else { return self.was_passed(segment, view, seen, None) };
            let heard = self.heard.get(&(view.stay.life, segment.file));
            let held = self.history.seen_by(from).is_some_and(|seen| seen <= lost)
                || (nth == 0 && heard.is_some_and(|heard| *heard < lost));
            let is_late = seen >= lost;
            let written_in = presences.iter().filter(|other| other.from <= segment.written).count();
            // The server reads a rotated file repeatedly, but only for the rotate-wait.
            let heard_late = || {
                let well = self.history.well_for(LATE_HEARD, segment.written);
                well.is_some_and(|well| well <= lost + LATE + LATE_HEARD)
            };
            held && (!is_late || (segment.late && nth + 1 == written_in && heard_late()))
                && self.was_passed(segment, view, seen, (!is_late).then_some(presence.number))
        })
    }

    /// Whether the viewer received something that was published later, in the same life of the
    /// server. If the server died before, the viewer may get the segment in the next life, or not.
    fn was_passed(
        &self,
        segment: &Segment,
        view: &View<'_>,
        seen: Instant,
        presence: Option<usize>,
    ) -> bool {
        let published = || self.history.seen_by(seen);
        view.is_last
            || (view.stay.complete.is_some() && view.life.to.is_some_and(|to| segment.written < to))
            || view.reach.begun.is_some_and(|begun| published().is_some_and(|by| by < begun))
            || presence.is_some_and(|number| view.reach.presence > Some(number))
    }
}

fn united(mut all: Vec<(u64, u64)>, new: (u64, u64)) -> Vec<(u64, u64)> {
    all.push(new);
    all.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(all.len());
    for (a, b) in all {
        match merged.last_mut() {
            Some((_, end)) if a <= *end => *end = b.max(*end),
            _ => merged.push((a, b)),
        }
    }
    merged
}

fn missing((mut from, to): (u64, u64), got: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut missing = Vec::new();
    for &(a, b) in got.iter().take_while(|(a, _)| *a < to) {
        if a > from {
            missing.push((from, a.min(to)));
        }
        from = from.max(b);
    }
    if from < to {
        missing.push((from, to));
    }
    missing
}
