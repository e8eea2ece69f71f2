//! What a viewer makes of what it is told: whether the bytes and the lines follow each other, and how late they are.

use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::{Results, Viewer};
use crate::bench::load::decode::{Content, DecodedMessage};
use crate::bench::load::stamp::{STAMP_BYTES, Stamp, Stamps};
use crate::bench::load::stats::LiveCounts;
use crate::wire::message::{Message, Watch};

impl Viewer {
    /// What the message says of the place that the viewer stands at.
    pub(super) fn learn(
        &mut self,
        known: &DecodedMessage,
        book: &mut Results<'_>,
    ) -> Result<(), String> {
        match &known.content {
            Content::Part => {}
            Content::Heartbeat => self.say(OpCode::Data(Data::Text), b"pong"),
            Content::Bytes { offset, len } => self.go_on(*offset, offset + len, book),
            Content::Rows { from, next, .. } => {
                let from = (*from).max(self.offset.unwrap_or(0).min(*next));
                self.go_on(from, *next, book);
            }
            Content::Control(Message::Open { from, size, watch, .. }) => {
                (self.offset, self.history) = (Some(*from), *size);
                LiveCounts::add(&book.shared.counts.polled, (*watch == Watch::Poll).into());
            }
            Content::Control(Message::Reset { from, .. }) => {
                (self.offset, self.row) = (Some(*from), 0);
                self.begun.clear();
            }
            Content::Control(Message::Gap { from, to, .. }) => {
                book.statistics.gaps += 1;
                book.statistics.lost_bytes += to.unwrap_or(*from).saturating_sub(*from);
                LiveCounts::add(&book.shared.counts.faults, 1);
                let (number, to) = (self.number, to.unwrap_or(*from));
                book.statistics
                    .fault(|| format!("viewer {number}: the server left out bytes {from} to {to}"));
                self.offset = Some(to);
            }
            Content::Control(Message::Error { message, code }) => {
                return Err(format!("refused with code {code}: {message}"));
            }
            Content::Control(_) => {}
        }
        if self.offset.is_some_and(|offset| offset >= self.history) {
            self.live(book);
        }
        Ok(())
    }

    /// Bytes of the log came, from one offset to another.
    fn go_on(&mut self, from: u64, to: u64, book: &mut Results<'_>) {
        let number = self.number;
        match self.offset {
            Some(offset) if from > offset => {
                book.statistics.gaps += 1;
                book.statistics.lost_bytes += from - offset;
                LiveCounts::add(&book.shared.counts.faults, 1);
                book.statistics
                    .fault(|| format!("viewer {number}: bytes {offset} to {from} are missing"));
            }
            Some(offset) if from < offset => {
                let again = offset.min(to);
                book.statistics.twice_bytes += again.saturating_sub(from);
                LiveCounts::add(&book.shared.counts.faults, 1);
                book.statistics
                    .fault(|| format!("viewer {number}: bytes {from} to {again} came twice"));
            }
            Some(_) | None => {}
        }
        self.offset = Some(to.max(self.offset.unwrap_or(0)));
    }

    /// LiveCounts the stamped lines of a message.
    pub(super) fn count(
        &mut self,
        known: &DecodedMessage,
        stamps: &Stamps,
        at: u64,
        book: &mut Results<'_>,
    ) {
        let before = self.next.unwrap_or(0);
        let mut lines = 0;
        if let Content::Part | Content::Bytes { .. } = known.content {
            if !self.begun.is_empty() {
                // The stamp ends in this message, or goes on after it.
                self.begun.extend_from_slice(known.head());
                if let Some(stamp) = stamps.whole(&self.begun) {
                    lines += u64::from(self.note(stamp, None, at, book));
                } else if known.head().len() < STAMP_BYTES {
                    let unfinished = stamps.unfinished(&self.begun).len();
                    self.begun.drain(..self.begun.len() - unfinished);
                    return;
                }
                self.begun.clear();
            }
            self.begun.extend_from_slice(known.unfinished());
        }
        let rows = match &known.content {
            Content::Rows { rows, .. } => rows.as_slice(),
            _ => &[],
        };
        for (index, stamp) in known.stamps.iter().enumerate() {
            lines += u64::from(self.note(*stamp, rows.get(index).copied(), at, book));
        }
        if lines == 0 {
            return;
        }
        LiveCounts::add(&book.shared.counts.lines, lines);
        if self.pace.is_none() {
            let further = self.next.unwrap_or(0).saturating_sub(before);
            LiveCounts::add(&book.shared.counts.advanced, further.into());
        }
    }

    /// Notes one line. False when it is none of this run, or one that is drawn again.
    fn note(&mut self, stamp: Stamp, row: Option<u64>, at: u64, book: &mut Results<'_>) -> bool {
        if !book.shared.run.is_of(&stamp) {
            return false;
        }
        let number = self.number;
        let sequence = stamp.sequence;
        let next = self.next.unwrap_or(sequence);
        if sequence < next {
            // A row that grows is sent again, with what it had already.
            if row.is_some_and(|row| row == self.row) && sequence + 1 == next {
                return false;
            }
            book.statistics.twice += 1;
            LiveCounts::add(&book.shared.counts.faults, 1);
            book.statistics
                .fault(|| format!("viewer {number}: line {sequence} came twice, or too late"));
            return true;
        }
        let Results { shared, statistics, under_way } = book;
        if sequence > next {
            statistics.gaps += 1;
            statistics.lost += u64::from(sequence - next);
            LiveCounts::add(&shared.counts.faults, 1);
            statistics.fault(|| match sequence - next {
                1 => format!("viewer {number}: line {next} is missing"),
                _ => format!("viewer {number}: lines {next} to {} are missing", sequence - 1),
            });
        }
        self.next = Some(sequence.saturating_add(1));
        self.row = row.unwrap_or(0);
        let late = at.saturating_sub(stamp.due).max(1);
        if self.pace.is_none() {
            statistics.each.saturating_record(late);
            for missed in next.max(self.entered)..sequence {
                under_way.arrive(missed, 0, &shared.across);
            }
            if sequence >= self.entered {
                under_way.arrive(sequence, late, &shared.across);
            }
        }
        true
    }
}
