//! The annotation of a row: the groups that it opens and closes, its log level, its time, and how the
//! command ended whose last line it is.

use crate::encoding::envelope::Stream;

/// Information about a row from the markers of build systems and shells. A viewer may ignore it: the text of
/// the row is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Annotation {
    /// The groups that open or end at this row.
    pub group: Option<Group>,
    /// The log level.
    pub level: Option<Level>,
    /// The time at which the program wrote it, in milliseconds since 1970.
    pub time: Option<u64>,
    /// The stream to which it wrote it, where that is known and not its standard output.
    pub stream: Option<Stream>,
    /// A command ended on this row, as OSC 133 ; D says.
    pub exit: Option<Exit>,
}

/// The end of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Exit {
    /// Its exit status, if the mark says it: 128 and the number of the signal that ended it.
    pub status: Option<i32>,
    /// How long it ran, in milliseconds, if that is said before the mark.
    pub duration: Option<u64>,
}

impl Annotation {
    /// The memory that it uses, in bytes.
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
    /// Whether the marker requests that it is folded at first.
    pub collapsed: bool,
}

/// The log level of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something may be wrong.
    Warning,
    /// Something is noteworthy.
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
