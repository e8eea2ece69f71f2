//! Checks what a viewer receives: whether bytes and lines follow each other, and how late they are.

use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::{Results, Viewer};
use crate::bench::load::decode::{Content, DecodedMessage};
use crate::bench::load::stamp::{STAMP_BYTES, Stamp, Stamps};
use crate::bench::load::stats::LiveCounts;
use crate::wire::message::{Message, Watch};

impl Viewer {
    /// Checks the offsets of a message.
    pub(super) fn on_message(
        &mut self,
        message: &DecodedMessage,
        results: &mut Results<'_>,
    ) -> Result<(), String> {
        match &message.content {
            Content::Part => {}
            Content::Heartbeat => self.send(OpCode::Data(Data::Text), b"pong"),
            Content::Bytes { offset, len } => self.advance(*offset, offset + len, results),
            Content::Rows { from, next, .. } => {
                let from = (*from).max(self.offset.unwrap_or(0).min(*next));
                self.advance(from, *next, results);
            }
            Content::Control(Message::Open { from, size, watch, .. }) => {
                (self.offset, self.history) = (Some(*from), *size);
                LiveCounts::add(&results.shared.counts.polled, (*watch == Watch::Poll).into());
            }
            Content::Control(Message::Reset { from, .. }) => {
                (self.offset, self.row) = (Some(*from), 0);
                self.partial_stamp.clear();
            }
            Content::Control(Message::Gap { from, to, .. }) => {
                results.statistics.gaps += 1;
                results.statistics.lost_bytes += to.unwrap_or(*from).saturating_sub(*from);
                LiveCounts::add(&results.shared.counts.faults, 1);
                let (number, to) = (self.number, to.unwrap_or(*from));
                results
                    .statistics
                    .fault(|| format!("viewer {number}: the server left out bytes {from} to {to}"));
                self.offset = Some(to);
            }
            Content::Control(Message::Error { message, code }) => {
                return Err(format!("refused with code {code}: {message}"));
            }
            Content::Control(_) => {}
        }
        if self.offset.is_some_and(|offset| offset >= self.history) {
            self.live(results);
        }
        Ok(())
    }

    /// Bytes of the log arrived, between two offsets.
    fn advance(&mut self, from: u64, to: u64, results: &mut Results<'_>) {
        let number = self.number;
        match self.offset {
            Some(offset) if from > offset => {
                results.statistics.gaps += 1;
                results.statistics.lost_bytes += from - offset;
                LiveCounts::add(&results.shared.counts.faults, 1);
                results
                    .statistics
                    .fault(|| format!("viewer {number}: bytes {offset} to {from} are missing"));
            }
            Some(offset) if from < offset => {
                let again = offset.min(to);
                results.statistics.twice_bytes += again.saturating_sub(from);
                LiveCounts::add(&results.shared.counts.faults, 1);
                results
                    .statistics
                    .fault(|| format!("viewer {number}: bytes {from} to {again} came twice"));
            }
            Some(_) | None => {}
        }
        self.offset = Some(to.max(self.offset.unwrap_or(0)));
    }

    /// Counts the stamped lines of a message.
    pub(super) fn count_stamps(
        &mut self,
        message: &DecodedMessage,
        stamps: &Stamps,
        at: u64,
        results: &mut Results<'_>,
    ) {
        let before = self.next.unwrap_or(0);
        let mut lines = 0;
        if let Content::Part | Content::Bytes { .. } = message.content {
            if !self.partial_stamp.is_empty() {
                // The stamp ends in this message, or continues after it.
                self.partial_stamp.extend_from_slice(message.head());
                if let Some(stamp) = stamps.whole(&self.partial_stamp) {
                    lines += u64::from(self.count_line(stamp, None, at, results));
                } else if message.head().len() < STAMP_BYTES {
                    let unfinished = stamps.unfinished(&self.partial_stamp).len();
                    self.partial_stamp.drain(..self.partial_stamp.len() - unfinished);
                    return;
                }
                self.partial_stamp.clear();
            }
            self.partial_stamp.extend_from_slice(message.unfinished());
        }
        let rows = match &message.content {
            Content::Rows { rows, .. } => rows.as_slice(),
            _ => &[],
        };
        for (index, stamp) in message.stamps.iter().enumerate() {
            lines += u64::from(self.count_line(*stamp, rows.get(index).copied(), at, results));
        }
        if lines == 0 {
            return;
        }
        LiveCounts::add(&results.shared.counts.lines, lines);
        if self.pace.is_none() {
            let further = self.next.unwrap_or(0).saturating_sub(before);
            LiveCounts::add(&results.shared.counts.advanced, further.into());
        }
    }

    /// Counts one line. Returns false if it is of another run, or repeats a row that grew.
    fn count_line(
        &mut self,
        stamp: Stamp,
        row: Option<u64>,
        at: u64,
        results: &mut Results<'_>,
    ) -> bool {
        if !results.shared.run.is_of(&stamp) {
            return false;
        }
        let number = self.number;
        let sequence = stamp.sequence;
        let next = self.next.unwrap_or(sequence);
        if sequence < next {
            // A row that grows is sent again, with the stamps that it had.
            if row.is_some_and(|row| row == self.row) && sequence + 1 == next {
                return false;
            }
            results.statistics.twice += 1;
            LiveCounts::add(&results.shared.counts.faults, 1);
            results
                .statistics
                .fault(|| format!("viewer {number}: line {sequence} came twice, or too late"));
            return true;
        }
        let Results { shared, statistics, in_flight } = results;
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
            for missed in next.max(self.first_counted)..sequence {
                in_flight.arrive(missed, 0, &shared.last_viewer);
            }
            if sequence >= self.first_counted {
                in_flight.arrive(sequence, late, &shared.last_viewer);
            }
        }
        true
    }
}
