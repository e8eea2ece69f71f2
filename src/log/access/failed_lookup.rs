//! Follows a path that cannot be opened, to find out where it leads.
//!
//! A link inside a prefix that leads outside must get the same answer whether or not anything is
//! there; otherwise the answer would reveal which files exist. If the kernel fails to open a path,
//! this walk follows it by the text of the links. It stops where the path leaves the prefixes, and
//! accesses nothing outside of them.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{OFlags, ResolveFlags};

use crate::log::access::Scope;
use crate::log::access::prefix::Root;
use crate::log::access::resolve::{Resolver, link_target};

/// More links in one path count as a loop, as in the kernel (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// The object at a step of the walk.
enum Location {
    /// A directory or file inside a prefix, or a directory above one.
    Plain,
    /// A link inside a prefix, with its target.
    Link(PathBuf),
    /// Nothing, inside a prefix.
    Missing,
    /// Neither in a prefix nor above one.
    Outside,
}

/// Whether the path `rest`, from the directory `start`, leaves the prefixes, or the scope.
///
/// In an absolute target, `real_path` replaces the given path of a prefix by its real path.
pub(super) fn leads_outside(
    resolver: &Resolver,
    roots: &[&Root],
    scope: Option<&Scope>,
    start: &Path,
    rest: &Path,
    real_path: impl Fn(&Path) -> Option<PathBuf>,
) -> bool {
    // The walked part contains no link, so removing the last component gives its parent.
    let mut walked = start.to_path_buf();
    let mut ahead = steps_reversed(rest);
    let mut links = 0;
    while let Some(step) = ahead.pop() {
        if step == ".." {
            walked.pop();
            continue;
        }
        walked.push(&step);
        match location_of(resolver, roots, scope, &walked) {
            Location::Plain => {}
            Location::Outside => return true,
            Location::Missing => return false,
            Location::Link(_) if links == LINKS_MAX => return false,
            Location::Link(target) => {
                links += 1;
                walked.pop();
                ahead.extend(steps_reversed(&real_path(&target).unwrap_or(target)));
            }
        }
    }
    !roots.iter().any(|root| root.admits(&walked))
        || !scope.is_none_or(|scope| scope.admits_real(&walked))
}

/// The components of a path in reverse order. For an absolute path the last one is `/`, with which
/// `push` starts again at the root.
fn steps_reversed(path: &Path) -> Vec<OsString> {
    let named = path.components().filter(|step| *step != Component::CurDir);
    named.rev().map(|step| OsStr::to_os_string(step.as_os_str())).collect()
}

fn location_of(
    resolver: &Resolver,
    roots: &[&Root],
    scope: Option<&Scope>,
    place: &Path,
) -> Location {
    if scope.is_some_and(|scope| !scope.admits_real(place) && !scope.is_below(place)) {
        return Location::Outside;
    }
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
