//! The annotation of a row: groups that it opens and closes, its log level, when it was written.

/// What build systems say about a row by markers in the log. A viewer may ignore it: the row shows
/// the same text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Annotation {
    /// The groups that open or end at this row.
    pub group: Option<Group>,
    /// The log level.
    pub level: Option<Level>,
    /// When the program wrote it, in milliseconds since 1970.
    pub time: Option<u64>,
}

impl Annotation {
    /// The memory that it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        let opens = self.group.as_ref().and_then(|group| group.opens.as_ref());
        size_of::<Self>() + opens.map_or(0, |opening| opening.name.len())
    }
}

/// Where groups of rows begin and end. Groups are nested; the outermost has level 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Group {
    /// Every open group of this level or a deeper one ends before this row.
    pub closes: Option<usize>,
    /// A group begins with this row.
    pub opens: Option<GroupStart>,
}

/// A group that begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GroupStart {
    /// Its name in the log, at most 256 bytes.
    pub name: String,
    /// Its level, from 1.
    pub level: usize,
    /// Whether the log asks to show it folded at first.
    pub collapsed: bool,
}

/// The log level of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something may be wrong.
    Warning,
    /// Something is worth knowing.
    Notice,
    /// Details for debugging.
    Debug,
}

impl Level {
    /// Its name in lower case.
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
