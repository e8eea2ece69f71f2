//! What a viewer says about a log that the log itself does not say.

use crate::encoding::{Detection, Encoding, Layout};

use super::size::Size;

/// Whether what a program wrote is taken out of the lines in which a container runtime keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Decode {
    /// Where the log's first line is one of a container runtime.
    #[default]
    Auto,
    /// Never: the lines are shown as they are in the file.
    Off,
}

/// How the bytes of a log are to be understood, as far as a viewer has chosen it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interpretation {
    /// The encoding. Without one, the first bytes of the log say it.
    pub encoding: Option<Encoding>,
    /// The screen that the programs believed in. Without one, it shows in what they do.
    pub screen: Option<Size>,
    /// Whether the lines of a container runtime are opened.
    pub decode: Decode,
}

impl Interpretation {
    /// Whether nothing was chosen.
    #[must_use]
    pub fn is_default(self) -> bool {
        self == Self::default()
    }
    /// How a log is to be read of which this is known.
    #[must_use]
    pub fn applied_to(self, known: Detection) -> Detection {
        known.or_chosen(
            self.encoding,
            match self.decode {
                Decode::Auto => None,
                Decode::Off => Some(Layout::Plain),
            },
        )
    }
}
