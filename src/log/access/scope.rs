//! The part of the prefixes that somebody may read.
//!
//! A scope narrows the prefixes and never widens them. A path has to lie in it by its text, and so
//! does the real path of what is found there. No link below a prefix is followed to find out what a
//! scope means: whoever may make links there could widen the scope.

use std::path::{Path, PathBuf};

/// Directories and files, with everything below them.
///
/// Scopes with the same directories are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(Vec<Place>);

/// One directory or file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Place {
    /// Its path as it was given, without `.` and `..`.
    given: PathBuf,
    /// The path without links.
    real: PathBuf,
}

impl Scope {
    /// The scope of these absolute paths, which need not exist. `known` says where a path leads to,
    /// or nothing to look it up, which may block.
    pub(super) fn of<'a>(
        paths: impl IntoIterator<Item = &'a Path>,
        known: impl Fn(&Path) -> Vec<PathBuf>,
    ) -> Self {
        let places = paths.into_iter().flat_map(|path| {
            let given: PathBuf = path.components().collect();
            let mut leads_to = known(&given);
            if leads_to.is_empty() {
                leads_to.push(real(&given));
            }
            leads_to.into_iter().map(move |real| Place { given: given.clone(), real })
        });
        Self::sorted(places.collect())
    }

    /// What lies in at least one of the scopes.
    pub fn union<'a>(scopes: impl IntoIterator<Item = &'a Self>) -> Self {
        Self::sorted(scopes.into_iter().flat_map(|scope| scope.0.iter().cloned()).collect())
    }

    fn sorted(mut places: Vec<Place>) -> Self {
        places.sort_unstable();
        places.dedup();
        Self(places)
    }

    /// Whether everything in another scope lies in this one, too.
    pub(super) fn contains(&self, other: &Self) -> bool {
        other.0.iter().all(|place| self.admits_name(&place.given) && self.admits_real(&place.real))
    }

    /// The paths as they were given.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|place| place.given.as_path())
    }

    /// Whether a path lies in the scope by its text.
    pub(in crate::log) fn admits_name(&self, path: &Path) -> bool {
        self.0.iter().any(|place| path.starts_with(&place.given) || path.starts_with(&place.real))
    }

    /// Whether an object at this real path lies in the scope.
    pub(in crate::log) fn admits_real(&self, real: &Path) -> bool {
        self.0.iter().any(|place| real.starts_with(&place.real))
    }

    /// Whether something of the scope lies below a directory, or is the directory.
    pub(in crate::log) fn is_below(&self, directory: &Path) -> bool {
        self.0
            .iter()
            .any(|place| place.given.starts_with(directory) || place.real.starts_with(directory))
    }
}

/// A path without links. What does not exist yet has none.
fn real(path: &Path) -> PathBuf {
    for above in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (std::fs::canonicalize(above), path.strip_prefix(above)) {
            // `join` with an empty path would add a slash.
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_compared_by_components_and_by_where_it_led() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        std::fs::create_dir(top.join("real")).unwrap();
        std::os::unix::fs::symlink(top.join("real"), top.join("link")).unwrap();
        let scope = Scope::of([top.join("link").as_path(), &top.join("later/")], |_| Vec::new());
        for (name, admitted) in [
            ("link", true),
            ("link/a.log", true),
            ("real/a.log", true),
            ("linked/a.log", false),
            ("later/a.log", true),
            ("", false),
            ("other", false),
        ] {
            assert_eq!(scope.admits_name(&top.join(name)), admitted, "{name}");
        }
        assert!(scope.admits_real(&top.join("real/a.log")));
        assert!(!scope.admits_real(&top.join("link/a.log")), "nothing real has a link in its path");
        assert!(scope.admits_real(&top.join("later/a.log")));
        assert!(scope.is_below(&top) && !scope.is_below(&top.join("real/deeper")));
        let other = Scope::of([top.join("later").as_path(), &top.join("link")], |_| Vec::new());
        assert_eq!(scope, other);
        assert_eq!(Scope::union([&scope, &other]), scope);
        let narrow = Scope::of([top.join("real/deeper").as_path()], |_| Vec::new());
        assert!(scope.contains(&narrow) && !narrow.contains(&scope));
        assert!(!Scope::default().admits_name(Path::new("/")));
    }
}
