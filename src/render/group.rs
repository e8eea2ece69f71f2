//! The open groups, which determine the level of each marker.

use super::annotation::{Group, GroupStart};
use super::ci_marker::{CiMarker, CiSystem};

/// The deepest level of a group. Deeper groups get no annotation.
pub(super) const DEPTH_MAX: usize = 32;

#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    /// The build system of each group, and the name if the end marker repeats it.
    open: Vec<(CiSystem, Box<str>)>,
    /// The number of open groups beyond the deepest level. Their end markers are skipped.
    beyond: u32,
}

impl Groups {
    /// The memory that their names use, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.open.iter().map(|(_, name)| size_of::<(CiSystem, Box<str>)>() + name.len()).sum()
    }

    /// Applies a marker, and adds its effect to the annotation of a row.
    pub(super) fn apply(&mut self, marker: CiMarker, group: &mut Option<Group>) {
        match marker {
            CiMarker::Open { system, name, collapsed } => {
                if system.has_headers() {
                    self.close(|open| open.0 == system, group);
                }
                // A row opens one group: a second marker in it stands for the first.
                if let Some(first) = group.as_mut().and_then(|group| group.opens.take()) {
                    self.open.truncate(first.level - 1);
                }
                if self.open.len() >= DEPTH_MAX {
                    self.beyond += u32::from(system == CiSystem::GitHub);
                    return;
                }
                let key = if system.names_ends() { &*name } else { "" };
                self.open.push((system, key.into()));
                let opening = GroupStart { name, level: self.open.len(), collapsed };
                group.get_or_insert_default().opens = Some(opening);
            }
            CiMarker::Close { system: CiSystem::GitHub, .. } if self.beyond > 0 => self.beyond -= 1,
            CiMarker::Close { system, name } => {
                let is_ended = |open: &(CiSystem, Box<str>)| {
                    open.0 == system && (name.is_empty() || *open.1 == *name)
                };
                self.close(is_ended, group);
            }
            CiMarker::Level(_) | CiMarker::Time(_) => {}
        }
    }

    /// Closes the innermost open group that the marker can refer to, and all groups inside it.
    fn close(
        &mut self,
        is_ended: impl Fn(&(CiSystem, Box<str>)) -> bool,
        group: &mut Option<Group>,
    ) {
        let Some(index) = self.open.iter().rposition(is_ended) else { return };
        self.open.truncate(index);
        let level = index + 1;
        let known = group.get_or_insert_default();
        // A group that the same row has opened gets no annotation.
        let own = known.opens.take_if(|opening| opening.level >= level);
        if own.is_none_or(|own| own.level > level) {
            known.closes = Some(known.closes.map_or(level, |closes| closes.min(level)));
        }
        group.take_if(|group| *group == Group::default());
    }
}
