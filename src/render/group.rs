//! The groups that are open, which is what makes levels of markers.

use super::annotation::{Group, GroupStart};
use super::ci_marker::{CiMarker, Kind};

/// How deep groups are followed. Deeper ones are rows without notes.
pub(super) const DEPTH_MAX: usize = 32;

#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    /// Whose markers opened each, and what it is called where its end has to name it.
    open: Vec<(Kind, Box<str>)>,
    /// Groups that were too deep, whose ends are to be passed over.
    beyond: u32,
}

impl Groups {
    /// What their names take, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.open.iter().map(|(_, name)| size_of::<(Kind, Box<str>)>() + name.len()).sum()
    }

    /// Carries out a marker and adds what it means to a row's groups.
    pub(super) fn apply(&mut self, marker: CiMarker, group: &mut Option<Group>) {
        match marker {
            CiMarker::Open { kind, name, collapsed } => {
                if kind == Kind::Buildkite {
                    self.close(|open| open.0 == kind, group);
                }
                if self.open.len() >= DEPTH_MAX {
                    self.beyond += u32::from(kind == Kind::GitHub);
                    return;
                }
                let key = if kind == Kind::GitLab { &*name } else { "" };
                self.open.push((kind, key.into()));
                let opening = GroupStart { name, level: self.open.len(), collapsed };
                group.get_or_insert_default().opens = Some(opening);
            }
            CiMarker::Close { kind: Kind::GitHub, .. } if self.beyond > 0 => self.beyond -= 1,
            CiMarker::Close { kind, name } => {
                let is_meant = |open: &(Kind, Box<str>)| {
                    open.0 == kind && (name.is_empty() || *open.1 == *name)
                };
                self.close(is_meant, group);
            }
            CiMarker::Level(_) => {}
        }
    }

    /// Closes the innermost open group of those that are meant, and all that are inside it.
    fn close(&mut self, is_meant: impl Fn(&(Kind, Box<str>)) -> bool, group: &mut Option<Group>) {
        let Some(index) = self.open.iter().rposition(is_meant) else { return };
        self.open.truncate(index);
        let level = index + 1;
        let known = group.get_or_insert_default();
        // What this very row opened is gone without a trace.
        let own = known.opens.take_if(|opening| opening.level >= level);
        if own.is_none_or(|own| own.level > level) {
            known.closes = Some(known.closes.map_or(level, |closes| closes.min(level)));
        }
        group.take_if(|group| *group == Group::default());
    }
}
