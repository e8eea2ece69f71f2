//! Where a path that cannot be opened was going.
//!
//! A link inside a prefix that leads outside must get one answer whether or not anything is there, or it would tell
//! which files exist.  When the kernel fails to open a path, this walk follows it by the text of the links, and stops
//! at the border: it looks at nothing outside the prefixes.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{OFlags, ResolveFlags};

use super::prefix::Root;
use super::resolve::{Resolver, link_target};

/// Links followed in one path before it counts as a loop, as the kernel has it (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// What the walk finds under its feet.
enum Location {
    /// A directory or file inside, or a directory above a prefix.
    Plain,
    /// A link inside, with its text.
    Link(PathBuf),
    /// Nothing to be seen, inside.
    Missing,
    Outside,
}

/// Whether the way of `rest`, from the directory `start`, crosses or ends beyond the border of the prefixes.
///
/// `rename` turns the name a prefix was given, at the head of an absolute link, into its real place.
pub(super) fn leads_outside(
    resolver: &Resolver,
    roots: &[&Root],
    start: &Path,
    rest: &Path,
    rename: impl Fn(&Path) -> Option<PathBuf>,
) -> bool {
    // The walked part never holds a link, so that its parent by text is its parent.
    let mut walked = start.to_path_buf();
    let mut ahead = steps_reversed(rest);
    let mut links = 0;
    while let Some(step) = ahead.pop() {
        if step == ".." {
            walked.pop();
            continue;
        }
        walked.push(&step);
        match look_at(resolver, roots, &walked) {
            Location::Plain => {}
            Location::Outside => return true,
            Location::Missing => return false,
            Location::Link(_) if links == LINKS_MAX => return false,
            Location::Link(target) => {
                links += 1;
                walked.pop();
                ahead.extend(steps_reversed(&rename(&target).unwrap_or(target)));
            }
        }
    }
    !roots.iter().any(|root| root.admits(&walked))
}

/// The steps of a path, the first one last; an absolute path begins with `/`, which `push` takes as a new start.
fn steps_reversed(path: &Path) -> Vec<OsString> {
    let named = path.components().filter(|step| *step != Component::CurDir);
    named.rev().map(|step| OsStr::to_os_string(step.as_os_str())).collect()
}

fn look_at(resolver: &Resolver, roots: &[&Root], place: &Path) -> Location {
    let inside = roots.iter().find_map(|root| Some((root, root.below(place)?)));
    let Some((root, below)) = inside else {
        let above = roots.iter().any(|root| root.place.starts_with(place));
        return if above { Location::Plain } else { Location::Outside };
    };
    if below.as_os_str().is_empty() {
        return Location::Plain;
    }
    match resolver.look_up(
        root.directory.as_fd(),
        below,
        OFlags::NOFOLLOW,
        ResolveFlags::NO_SYMLINKS,
    ) {
        Err(_) => Location::Missing,
        Ok(object) => link_target(object.as_fd()).map_or(Location::Plain, Location::Link),
    }
}
