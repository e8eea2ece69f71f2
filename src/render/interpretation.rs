//! What a viewer says about a log that the log itself does not say.

use crate::encoding::{Detection, Encoding, Layout};

use super::size::Size;

/// How the bytes of a log are to be understood, as far as a viewer has chosen it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interpretation {
    /// The encoding. Without one, the first bytes of the log say it.
    pub encoding: Option<Encoding>,
    /// The screen that the programs believed in. Without one, it shows in what they do.
    pub screen: Option<Size>,
    /// Whether the lines of a container runtime are shown as they are in the file.
    pub keeps_envelopes: bool,
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
        known.or_chosen(self.encoding, self.keeps_envelopes.then_some(Layout::Plain))
    }
}
