//! `--decode`, which `serve` and `tail` have.

use crate::render;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Decode {
    Auto,
    Off,
}

impl From<Decode> for render::Decode {
    fn from(decode: Decode) -> Self {
        match decode {
            Decode::Auto => Self::Auto,
            Decode::Off => Self::Off,
        }
    }
}
