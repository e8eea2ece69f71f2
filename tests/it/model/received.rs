//! The messages that a viewer received, as one stream for each generation.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::table::Totals;
use super::viewers::{FollowEvent, Position};

/// The bytes that were received under one generation, in one life of the server.
pub struct Stream {
    pub generation: String,
    pub life: usize,
    pub from: u64,
    pub next: u64,
    /// Contiguous pieces, in order.
    pub pieces: Vec<(u64, Vec<u8>)>,
    pub gaps: Vec<(u64, u64)>,
    pub began: Began,
    /// The ranges that were received as late bytes.
    pub late: Vec<(u64, u64)>,
    /// It began before a position was lost, so bytes after the loss are not in it.
    pub left: bool,
    pub first: Instant,
    pub found: Option<(usize, usize)>,
}

/// The way in which a stream began.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Began {
    /// With a connection without a position, or after a position was lost.
    Open,
    /// As the continuation of a stream of an earlier life.
    Continued(usize),
    Rotated,
    /// After a reset with the reason `truncated` or `replaced`.
    Anew,
    /// After a reset with the reason `late` or `back`.
    Beside,
}

impl Stream {
    /// Whether it may repeat bytes that were sent before.
    pub fn is_anew(&self) -> bool {
        matches!(self.began, Began::Open | Began::Anew)
    }

    /// Whether a new file or epoch began with it, so that everything published earlier came before
    /// it.
    pub fn is_turned_to(&self) -> bool {
        matches!(self.began, Began::Rotated | Began::Anew)
    }
}

/// A viewer's connections to one life of the server.
pub struct Stay {
    pub life: usize,
    /// The time before it connected, and the time at which it received `open`. Between the two the
    /// server looked at the log.
    pub came: Instant,
    pub opened: Instant,
    pub generation: String,
    pub from: u64,
    /// The times at which a later connection did not recover the position.
    pub lost: Vec<Instant>,
    /// The time at which the server closed it after sending everything.
    pub complete: Option<Instant>,
}

/// A position that was not recovered.
pub struct Loss {
    pub stream: usize,
    pub generation: String,
    pub offset: u64,
    /// The time before the request, and the time of the answer.
    pub asked: Instant,
    pub refused: Instant,
}

/// All streams of a viewer, and the result of the comparison with the model.
pub struct ReceivedStreams {
    pub streams: Vec<Stream>,
    pub stays: Vec<Stay>,
    pub losses: Vec<Loss>,
    /// Files and ranges before positions that were recovered although the file had been truncated.
    pub unproved: Vec<(usize, u64, u64)>,
    /// The rotated files that the last connection named: their stream, the offset, and the time.
    pub named: Vec<(usize, u64, Instant)>,
    /// When it was announced that an unknown number of bytes may be missing, or that a position
    /// was lost.
    pub unknowns: Vec<Instant>,
    /// Generations that were continued under another inode, with those that they became.
    pub moved: Vec<(String, String)>,
    /// The times of announced discontinuities.
    pub breaks: Vec<Instant>,
    /// The generations to which there were resets, by inode and kind of reset.
    pub resets: HashMap<(u64, &'static str), HashSet<String>>,
    pub faults: Vec<String>,
    pub totals: Totals,
    /// The stream to which the next bytes belong.
    current: Option<usize>,
    /// Positions at which a reset led away from a generation or back to it.
    borders: HashSet<(String, u64)>,
    connection: Connection,
    late: bool,
}

/// The present connection.
#[derive(Default)]
struct Connection {
    life: usize,
    came: Option<Instant>,
    asked: Option<Position>,
    late: Vec<Position>,
    opened: bool,
    /// Its position was recovered and is one of `borders`, so the bytes of other generations at
    /// that point are sent again.
    between: bool,
    /// The reset that has to be the next message.
    owed: Option<Position>,
}

impl ReceivedStreams {
    pub fn new(record: &[(Instant, FollowEvent)]) -> Self {
        let mut received = Self {
            streams: Vec::new(),
            stays: Vec::new(),
            losses: Vec::new(),
            unproved: Vec::new(),
            named: Vec::new(),
            unknowns: Vec::new(),
            moved: Vec::new(),
            breaks: Vec::new(),
            resets: HashMap::new(),
            faults: Vec::new(),
            totals: Totals { viewers: 1, ..Totals::default() },
            current: None,
            borders: HashSet::new(),
            connection: Connection::default(),
            late: false,
        };
        for (when, heard) in record {
            received.hear(*when, heard);
        }
        received
    }

    fn hear(&mut self, when: Instant, heard: &FollowEvent) {
        match heard {
            FollowEvent::Connected { life } => {
                self.connection =
                    Connection { life: *life, came: Some(when), ..Connection::default() };
            }
            FollowEvent::Asked { generation, offset, late } => {
                self.connection.asked = Some((generation.clone(), *offset));
                self.connection.late.clone_from(late);
            }
            FollowEvent::Open { generation, from, recovered } => {
                self.open(when, generation, *from, *recovered);
            }
            FollowEvent::Reset { generation, from, reason } => {
                self.reset(when, generation, *from, reason);
            }
            FollowEvent::Gap { generation, from, to } => {
                self.breaks.push(when);
                self.pay();
                match to {
                    Some(to) => self.gap(generation, *from, *to),
                    None => self.unknowns.push(when),
                }
            }
            FollowEvent::Data { offset, bytes } => {
                self.pay();
                self.data(*offset, bytes);
            }
            FollowEvent::Signed { generation } => {
                self.pay();
                match self.current.map(|at| &mut self.streams[at].generation) {
                    Some(known) if is_same(known, generation) => known.clone_from(generation),
                    _ => self.fault(format!("{generation} was signed, but is not the present one")),
                }
            }
            FollowEvent::Waiting => self.pay(),
            FollowEvent::Ended(code) => {
                if *code == Some(1001)
                    && self.connection.opened
                    && let Some(stay) = self.stays.last_mut()
                {
                    stay.complete = Some(when);
                }
            }
            FollowEvent::Wrong(what) => self.fault(what.clone()),
        }
    }

    pub fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    fn open(&mut self, when: Instant, generation: &str, from: u64, recovered: bool) {
        self.late = false;
        self.connection.opened = true;
        let (life, came) = (self.connection.life, self.connection.came.unwrap_or(when));
        let is_new = self.stays.last().is_none_or(|stay| stay.life < life);
        if is_new {
            self.stays.push(Stay {
                life,
                came,
                opened: when,
                generation: generation.to_owned(),
                from,
                lost: Vec::new(),
                complete: None,
            });
        }
        let Some((wanted, offset)) = self.connection.asked.take() else {
            self.current = Some(self.begin(generation, from, Began::Open, when));
            return;
        };
        let late = std::mem::take(&mut self.connection.late);
        self.named = late.iter().map(|(of, next)| (self.latest(of), *next, came)).collect();
        let known = self.latest(&wanted);
        if !recovered {
            self.breaks.push(when);
            self.unknowns.push(when);
            self.totals.lost += 1;
            self.losses.push(Loss {
                stream: known,
                generation: wanted,
                offset,
                asked: came,
                refused: when,
            });
            if !is_new {
                self.stays.last_mut().unwrap().lost.push(when);
            }
            self.streams.iter_mut().for_each(|stream| stream.left = true);
            self.connection.owed = Some((generation.to_owned(), from));
            self.current = Some(self.begin(generation, from, Began::Open, when));
            return;
        }
        self.connection.between = self.borders.contains(&(name_of(&wanted), offset));
        self.totals.resumed += 1;
        let is_of_this_life = self.streams[known].life == life;
        // After a restart the server may use another name for the generation.
        let is_same = if is_of_this_life {
            is_same(generation, &wanted)
        } else {
            if inode_of(generation) != inode_of(&wanted) {
                self.moved.push((wanted.clone(), generation.to_owned()));
            }
            true
        };
        if from != offset || !is_same {
            self.fault(format!("asked for {wanted} {offset}, recovered {generation} {from}"));
        }
        self.current = Some(if is_of_this_life && !is_same {
            self.begin(generation, from, Began::Continued(known), when)
        } else {
            self.go_on(known, generation, from, when)
        });
    }

    /// The latest stream of this generation.
    fn latest(&self, generation: &str) -> usize {
        let known = self.streams.iter().rposition(|stream| is_same(&stream.generation, generation));
        known.expect("it asks for what it was told")
    }

    /// Records a fault if a required reset is missing.
    fn pay(&mut self) {
        if let Some((generation, from)) = self.connection.owed.take() {
            self.fault(format!("no reset to {generation} {from} after a position was lost"));
        }
    }

    fn reset(&mut self, when: Instant, generation: &str, from: u64, reason: &str) {
        let is_owed = self
            .connection
            .owed
            .take_if(|(owed, at)| is_same(owed, generation) && *at == from)
            .is_some();
        if is_owed && reason != "replaced" {
            self.fault(format!("{reason} to {generation} {from} after a position was lost"));
        }
        self.pay();
        if let Some(at) = self.current {
            let stream = &self.streams[at];
            self.borders.insert((name_of(&stream.generation), stream.next));
        }
        self.breaks.push(when);
        self.late = reason == "late";
        let (kind, began) = match reason {
            "truncated" => ("truncated", Began::Anew),
            "rotated" => ("turned", Began::Rotated),
            "replaced" => ("turned", Began::Anew),
            _ => ("late or back", Began::Beside),
        };
        if began == Began::Beside {
            self.borders.insert((name_of(generation), from));
        }
        self.resets.entry((inode_of(generation), kind)).or_default().insert(name_of(generation));
        let known = self.streams.iter().rposition(|stream| is_same(&stream.generation, generation));
        let is_again = known.is_some() && self.connection.between;
        if known.is_some() && !is_again && !is_owed && began != Began::Beside {
            self.fault(format!("{reason}: {generation} was begun already"));
        }
        if from > 0 && began != Began::Beside {
            self.fault(format!("{reason} to {generation} {from}, not to its first byte"));
        }
        self.current = Some(match known {
            Some(known) if began == Began::Beside => self
                .go_back(known, from, reason, when)
                .unwrap_or_else(|| self.begin(generation, from, Began::Anew, when)),
            _ if is_again => self.begin(generation, from, Began::Anew, when),
            _ => self.begin(generation, from, began, when),
        });
    }

    /// A reset to a known stream. None if it repeats bytes for a viewer that resumed.
    fn go_back(&mut self, known: usize, from: u64, reason: &str, when: Instant) -> Option<usize> {
        let Stream { next, left, .. } = self.streams[known];
        if from < next && self.connection.between {
            return None;
        }
        let generation = self.streams[known].generation.clone();
        if from > next && !left {
            self.totals.silent += from - next;
            self.fault(format!("{reason} to {generation} {from}, but it had been read to {next}"));
        } else if from < next {
            self.fault(format!(
                "{reason} to {generation} {from} again, it had been read to {next}"
            ));
        }
        self.streams[known].next = from;
        Some(self.go_on(known, &generation, from, when))
    }

    /// Continues a known stream, as a new stream if it is from an earlier life of the server.
    fn go_on(&mut self, known: usize, generation: &str, from: u64, when: Instant) -> usize {
        if self.streams[known].life == self.connection.life {
            known
        } else {
            self.begin(generation, from, Began::Continued(known), when)
        }
    }

    fn gap(&mut self, generation: &str, from: u64, to: u64) {
        match self.current.map(|at| &mut self.streams[at]) {
            Some(stream)
                if is_same(&stream.generation, generation) && stream.next == from && to >= from =>
            {
                stream.gaps.push((from, to));
                stream.next = to;
            }
            _ => self.fault(format!(
                "a gap of {generation} {from}..{to} that does not begin where the viewer is"
            )),
        }
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) {
        let Some(stream) = self.current.map(|at| &mut self.streams[at]) else {
            return self.fault("bytes before open".to_owned());
        };
        let next = stream.next;
        stream.next = offset + bytes.len() as u64;
        let generation = stream.generation.clone();
        if self.late {
            stream.late.push((offset, stream.next));
        }
        match stream.pieces.last_mut() {
            Some((start, piece)) if *start + piece.len() as u64 == offset => {
                piece.extend_from_slice(bytes);
            }
            _ => stream.pieces.push((offset, bytes.to_vec())),
        }
        if offset > next {
            self.totals.silent += offset - next;
            self.fault(format!("{generation}: bytes at {offset}, expected at {next}"));
        } else if offset < next {
            self.totals.duplicated += next - offset;
            self.fault(format!("{generation}: bytes at {offset} again, had {next}"));
        }
    }

    fn begin(&mut self, generation: &str, from: u64, began: Began, first: Instant) -> usize {
        self.streams.push(Stream {
            generation: generation.to_owned(),
            life: self.connection.life,
            from,
            next: from,
            pieces: Vec::new(),
            gaps: Vec::new(),
            began,
            late: Vec::new(),
            left: false,
            first,
            found: None,
        });
        self.streams.len() - 1
    }
}

/// The inode in the name of a generation.
pub fn inode_of(generation: &str) -> u64 {
    u64::from_str_radix(generation.split('-').nth(1).unwrap(), 16).unwrap()
}

/// The number of bytes that the signature of a generation covers.
pub fn signed_bytes(generation: &str) -> u64 {
    u64::from_str_radix(generation.split('-').nth(3).unwrap(), 16).unwrap()
}

/// A generation's name without the signature, which may grow.
fn name_of(generation: &str) -> String {
    generation.split('-').take(3).collect::<Vec<_>>().join("-")
}

pub fn is_same(one: &str, other: &str) -> bool {
    name_of(one) == name_of(other)
}
