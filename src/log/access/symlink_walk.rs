//! Where a path leads that cannot be opened.
//!
//! A link inside a prefix that leads outside must get the same answer whether or not anything is
//! there, or it would tell which files exist. When the kernel fails to open a path, this walk
//! follows it by the text of the links and stops at the border: it touches nothing outside the
//! prefixes.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{OFlags, ResolveFlags};

use crate::log::access::prefix::Root;
use crate::log::access::resolve::{Resolver, link_target};

/// More links in one path count as a loop, as in the kernel (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// What lies at a path on the way.
enum Location {
    /// A directory or file inside a prefix, or a directory above one.
    Plain,
    /// A link inside a prefix, with its text.
    Link(PathBuf),
    /// Nothing, inside a prefix.
    Missing,
    /// Neither in a prefix nor above one.
    Outside,
}

/// Whether the path `rest`, from the directory `start`, leads out of the prefixes on its way.
///
/// `real_path` replaces the given path of a prefix at the head of an absolute link by its real
/// path.
pub(super) fn leads_outside(
    resolver: &Resolver,
    roots: &[&Root],
    start: &Path,
    rest: &Path,
    real_path: impl Fn(&Path) -> Option<PathBuf>,
) -> bool {
    // The walked part holds no link, so its parent by text is its parent.
    let mut walked = start.to_path_buf();
    let mut ahead = steps_reversed(rest);
    let mut links = 0;
    while let Some(step) = ahead.pop() {
        if step == ".." {
            walked.pop();
            continue;
        }
        walked.push(&step);
        match location_of(resolver, roots, &walked) {
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
}

/// The steps of a path, the first one last. An absolute path begins with `/`, which `push` takes as
/// a new start.
fn steps_reversed(path: &Path) -> Vec<OsString> {
    let named = path.components().filter(|step| *step != Component::CurDir);
    named.rev().map(|step| OsStr::to_os_string(step.as_os_str())).collect()
}

fn location_of(resolver: &Resolver, roots: &[&Root], place: &Path) -> Location {
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
