//! What a row means beside what it shows: groups that it opens and closes, how bad its news is, when it was written.

/// What build systems say about a row by markers in the log. A viewer that knows nothing of it shows the row all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Annotation {
    /// It opens a group of rows, or closes some.
    pub group: Option<Group>,
    /// How bad its news is.
    pub level: Option<Level>,
    /// When the program wrote it, in milliseconds since 1970.
    pub time: Option<u64>,
}

impl Annotation {
    /// What it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        let opens = self.group.as_ref().and_then(|group| group.opens.as_ref());
        size_of::<Self>() + opens.map_or(0, |opening| opening.name.len())
    }
}

/// Where groups of rows begin and end. Groups are nested; those on the outside have level 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Group {
    /// Every open group of this level or a deeper one ends here. It comes before what the row opens.
    pub closes: Option<usize>,
    /// A group begins with this row.
    pub opens: Option<GroupStart>,
}

/// A group that begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GroupStart {
    /// How the log calls it, at most 256 bytes.
    pub name: String,
    /// How deep it is, from 1.
    pub level: usize,
    /// The log asks to have it folded up at first.
    pub collapsed: bool,
}

/// How bad the news of a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something may be wrong.
    Warning,
    /// Something is worth knowing.
    Notice,
    /// For those who look for a fault.
    Debug,
}

impl Level {
    /// Its name in small letters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Debug => "debug",
        }
    }
}
