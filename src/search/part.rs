//! The part of a file that is wanted, by the times of its lines.

use crate::log::Offset;
use crate::search::{RowRange, Snapshot};

/// Where the wanted part of a file begins and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// What is before this is left out.
    pub from: Option<Offset>,
    /// What is from this on is left out.
    pub to: Option<Offset>,
}

impl Part {
    /// What is wanted of these bytes.
    #[must_use]
    pub fn within(self, from: Offset, to: Offset) -> (Offset, Offset) {
        let from = from.max(self.from.unwrap_or_default());
        (from, self.to.map_or(to, |end| to.min(end)).max(from))
    }

    /// The nearest place in the part.
    #[must_use]
    pub fn nearest(self, place: Offset) -> Offset {
        place.min(self.to.unwrap_or(place)).max(self.from.unwrap_or_default())
    }

    /// The file as one that ends where the part does.
    #[must_use]
    pub fn ended(self, snapshot: &Snapshot) -> Snapshot {
        snapshot.truncated_to(self.to.unwrap_or(snapshot.end))
    }

    /// The rows as those of a file that begins where the part does.
    #[must_use]
    pub fn begun(self, mut range: RowRange) -> RowRange {
        if let Some(from) = self.from.filter(|from| range.from <= *from) {
            range.rows.retain(|row| row.offset >= from);
            range.from = from.min(range.next.max(range.from));
            range.at_start = true;
        }
        range
    }
}
