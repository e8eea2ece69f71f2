//! All prefixes of a server, as they are at one moment.

use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

use crate::log::access::Refusal;
use crate::log::access::prefix::{Prefix, PrefixError, Root};
use crate::log::access::resolve::Resolver;

/// The prefixes in the order in which they were given.
#[derive(Debug)]
pub(super) struct Prefixes(Vec<Prefix>);

impl Prefixes {
    /// Opens them all, or fails with the first that cannot be served.
    pub(super) fn open(
        asked: impl Iterator<Item = PathBuf>,
        resolver: &Resolver,
    ) -> Result<Self, PrefixError> {
        asked.map(|asked| Prefix::open(asked, resolver)).collect::<Result<_, _>>().map(Self)
    }

    /// The same with a file or a directory that is served under another name.
    pub(super) fn with(
        mut self,
        name: PathBuf,
        own: PathBuf,
        resolver: &Resolver,
    ) -> Result<Self, PrefixError> {
        self.0.push(Prefix::named(name, own, resolver)?);
        Ok(self)
    }

    /// The paths as they were given, made absolute.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = self.0.iter().map(|prefix| prefix.given.clone()).collect();
        // A file and a directory may have the same one.
        paths.dedup();
        paths
    }

    /// The innermost prefix that contains a normalised path, by its text. Of a file and a directory
    /// with this path, the file.
    pub(super) fn nearest(&self, path: &Path) -> Option<&Prefix> {
        let above = self.0.iter().filter_map(|prefix| Some((prefix.distance(path)?, prefix)));
        above
            .min_by_key(|(distance, prefix)| (*distance, !prefix.is_file()))
            .map(|(_, prefix)| prefix)
    }

    /// Where a path leads to if no link below a prefix is followed: in the innermost prefix, or in the
    /// file and in the directory that have this path.
    pub(super) fn unlinked(&self, path: &Path) -> Vec<PathBuf> {
        let Some(nearest) = self.nearest(path) else { return Vec::new() };
        let distance = nearest.distance(path);
        let as_near = self
            .0
            .iter()
            .filter(|prefix| prefix.distance(path) == distance && prefix.given == nearest.given);
        as_near.filter_map(|prefix| prefix.unlinked(path)).collect()
    }

    /// The prefixes that exist now, each with its given path and its directory.
    pub(super) fn roots(&self, resolver: &Resolver) -> Result<Vec<(&Path, Root)>, Refusal> {
        let mut roots = Vec::with_capacity(self.0.len());
        for prefix in &self.0 {
            match prefix.root(resolver) {
                Ok(root) => roots.push((prefix.given.as_path(), root)),
                // Without this root, its files would seem to lie outside the prefixes.
                Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => {
                    return Err(error.into());
                }
                Err(_) => {}
            }
        }
        Ok(roots)
    }

    /// Replaces the given path of a prefix at the start of an absolute path by its real path.
    pub(super) fn real_name(&self, target: &Path, resolver: &Resolver) -> Option<PathBuf> {
        let is_plain =
            target.is_absolute() && !target.components().any(|step| step == Component::ParentDir);
        let prefix = is_plain.then(|| self.nearest(target)).flatten()?;
        let root = prefix.root(resolver).ok()?;
        Some(root.place.join(prefix.rest(target)?))
    }
}
