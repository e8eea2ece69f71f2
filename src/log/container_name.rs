//! The names by which people know the logs of containers.
//!
//! Kubernetes has them in its paths: `/var/log/pods/NAMESPACE_POD_UID/CONTAINER/0.log`, and links to
//! these, `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log`. Docker has only identifiers there,
//! `/var/lib/docker/containers/ID/ID-json.log`; the name is in the file `config.v2.json` beside it,
//! which is read where a prefix admits it.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::Stat;
use serde_json::Value;

use crate::log::access::{Access, Identity, LogPath};
use crate::log::catalogue::Catalogue;
use crate::log::file::LogFile;
use crate::log::position::Offset;

/// The file of Docker's that has the name of a container.
const DOCKER_CONFIG: &str = "config.v2.json";
/// A larger one is not read.
const CONFIG_BYTES_MAX: usize = 1024 * 1024;
/// So many names are remembered.
const KNOWN_MAX: usize = 10_000;
/// The longest name that is shown, in bytes.
const NAME_BYTES_MAX: usize = 512;

/// What a path says of a container's name.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    /// `namespace/pod/container`. A link has a target elsewhere, which has the same name.
    Kubernetes { name: String, is_link: bool },
    /// It is in this file.
    Docker(PathBuf),
}

/// What tells a file of Docker's from a later one at the same path.
type Version = (Identity, i64, u64, i64);

/// The names of containers, as far as they were asked for.
#[derive(Debug, Default)]
pub struct ContainerNames {
    docker: Mutex<HashMap<PathBuf, (Version, Option<String>)>>,
}

impl ContainerNames {
    /// The name of the container that writes a log, if it is known. May block.
    pub fn of(&self, access: &Access, log: &LogPath) -> Option<String> {
        match named(log.as_path())? {
            Named::Kubernetes { name, .. } => Some(name),
            Named::Docker(config) => self.of_docker(access, &config),
        }
    }

    /// Gives the logs of a list their names, and lists each log of Kubernetes once: a link is left
    /// out if the list has the file to which it leads. May block.
    pub fn give(&self, access: &Access, catalogue: &mut Catalogue) {
        let mut in_pods: HashSet<Identity> = HashSet::new();
        let mut links = HashSet::new();
        for entry in &mut catalogue.entries {
            match named(entry.log.as_path()) {
                Some(Named::Kubernetes { name, is_link }) => {
                    entry.name = Some(name);
                    if is_link {
                        links.insert(entry.log.clone());
                    } else {
                        in_pods.insert(entry.identity);
                    }
                }
                Some(Named::Docker(config)) => entry.name = self.of_docker(access, &config),
                None => {}
            }
        }
        catalogue
            .entries
            .retain(|entry| !(links.contains(&entry.log) && in_pods.contains(&entry.identity)));
    }

    fn of_docker(&self, access: &Access, config: &Path) -> Option<String> {
        let config_log = access.locate(config.as_os_str().as_bytes()).ok()?;
        let version = version(&access.stat(&config_log).ok()?);
        if let Some((known, name)) = self.docker.lock().get(config)
            && *known == version
        {
            return name.clone();
        }
        let name = read(access, &config_log);
        let mut known = self.docker.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(config.to_owned(), (version, name.clone()));
        name
    }
}

fn version(stat: &Stat) -> Version {
    (Identity::of(stat), stat.st_mtime, stat.st_mtime_nsec, stat.st_size)
}

fn read(access: &Access, config: &LogPath) -> Option<String> {
    let file = LogFile::new(access.open(config).ok()?);
    let bytes = file.read_at(Offset(0), CONFIG_BYTES_MAX + 1).ok()?;
    (bytes.len() <= CONFIG_BYTES_MAX).then(|| docker_name(&bytes)).flatten()
}

/// The name in Docker's file, which begins with a slash there.
fn docker_name(config: &[u8]) -> Option<String> {
    let config: Value = serde_json::from_slice(config).ok()?;
    let name = config.get("Name")?.as_str()?;
    shown(name.strip_prefix('/').unwrap_or(name))
}

/// A name without what a page would not show as it is.
fn shown(name: &str) -> Option<String> {
    let is_plain = |ch: char| ch.is_ascii_alphanumeric() || "._-/".contains(ch);
    let is_shown = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(is_plain);
    is_shown.then(|| name.to_owned())
}

fn named(path: &Path) -> Option<Named> {
    let file = path.file_name()?.to_str()?;
    let directory = path.parent()?;
    let parent = directory.file_name()?.to_str()?;
    if let Some(id) = file.strip_suffix("-json.log") {
        let is_docker = id == parent && id.len() == 64 && is_hexadecimal(id);
        return is_docker.then(|| Named::Docker(directory.join(DOCKER_CONFIG)));
    }
    let stem = file.strip_suffix(".log")?;
    if parent == "containers" {
        let (rest, id) = stem.rsplit_once('-')?;
        let [pod, namespace, container] = parts(rest, '_')?;
        let is_link = id.len() == 64 && is_hexadecimal(id);
        let name = shown(&format!("{namespace}/{pod}/{container}")).filter(|_| is_link)?;
        return Some(Named::Kubernetes { name, is_link: true });
    }
    // The number of the container's start.
    if stem.is_empty() || !stem.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let pod = directory.parent()?;
    if pod.parent()?.file_name()? != "pods" {
        return None;
    }
    let [namespace, pod, _] = parts(pod.file_name()?.to_str()?, '_')?;
    let name = shown(&format!("{namespace}/{pod}/{parent}"))?;
    Some(Named::Kubernetes { name, is_link: false })
}

/// The three parts of a text. The names of Kubernetes have no `_` in them.
fn parts(text: &str, separator: char) -> Option<[&str; 3]> {
    let mut parts = text.split(separator);
    let three = [parts.next()?, parts.next()?, parts.next()?];
    (parts.next().is_none() && three.iter().all(|part| !part.is_empty())).then_some(three)
}

fn is_hexadecimal(id: &str) -> bool {
    id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_the_names_of_containers() {
        let id = "0123456789abcdef".repeat(4);
        let kubernetes =
            |name: &str, is_link| Some(Named::Kubernetes { name: name.to_owned(), is_link });
        for (path, expected) in [
            (
                "/var/log/pods/shop_web-7d9f_0a1b-2c/nginx/0.log".to_owned(),
                kubernetes("shop/web-7d9f/nginx", false),
            ),
            (
                "/host/pods/shop_web_0a1b/nginx/12.log".to_owned(),
                kubernetes("shop/web/nginx", false),
            ),
            (
                format!("/var/log/containers/web-7d9f_shop_my-nginx-{id}.log"),
                kubernetes("shop/web-7d9f/my-nginx", true),
            ),
            (
                format!("/var/lib/docker/containers/{id}/{id}-json.log"),
                Some(Named::Docker(PathBuf::from(format!(
                    "/var/lib/docker/containers/{id}/config.v2.json"
                )))),
            ),
            ("/var/log/pods/shop_web_0a1b/nginx/0.log.20261129-120000".to_owned(), None),
            ("/var/log/pods/shop_web/nginx/0.log".to_owned(), None),
            ("/var/log/pods/shop_web_0a_1b/nginx/0.log".to_owned(), None),
            ("/var/log/pods/shop_web_0a1b/nginx/app.log".to_owned(), None),
            ("/var/log/pods/shop_w<b_0a1b/nginx/0.log".to_owned(), None),
            ("/var/log/other/shop_web_0a1b/nginx/0.log".to_owned(), None),
            ("/var/log/containers/web_shop_nginx-12.log".to_owned(), None),
            (format!("/var/lib/docker/containers/{id}/a-json.log"), None),
            (format!("/containers/other/{id}-json.log"), None),
            ("/0.log".to_owned(), None),
        ] {
            assert_eq!(named(Path::new(&path)), expected, "{path}");
        }
    }

    #[test]
    fn the_name_of_docker_is_in_its_file_and_is_read_again_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let id = "0123456789abcdef".repeat(4);
        let container = root.join(&id);
        std::fs::create_dir(&container).unwrap();
        let log = container.join(format!("{id}-json.log"));
        std::fs::write(&log, "").unwrap();
        let config = container.join(DOCKER_CONFIG);
        let names = ContainerNames::default();
        let access = Access::new([&root]).unwrap();
        let name =
            |access: &Access| names.of(access, &access.locate(log.as_os_str().as_bytes()).unwrap());
        assert_eq!(name(&access), None, "the file is missing");
        let too_large = format!("{{\"Name\":\"/a\",\"x\":\"{}\"}}", "x".repeat(CONFIG_BYTES_MAX));
        for (content, expected) in [
            ("{\"Name\":\"/web\",\"Image\":\"sha256:0\"}", Some("web")),
            ("{\"Name\":\"/renamed\"}", Some("renamed")),
            ("{\"Name\":\"/<script>\"}", None),
            ("{\"Name\":7}", None),
            ("no JSON", None),
            (&too_large, None),
        ] {
            std::fs::write(&config, content).unwrap();
            for _ in 0..2 {
                assert_eq!(name(&access).as_deref(), expected, "{content:.40}");
            }
        }
        // The name is not read by way of a log that alone may be read.
        std::fs::write(&config, "{\"Name\":\"/web\"}").unwrap();
        let narrow = Access::new([&log]).unwrap();
        assert_eq!(name(&narrow), None);
        assert_eq!(name(&access).as_deref(), Some("web"));
    }

    #[test]
    fn a_log_of_kubernetes_is_listed_once_with_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let (pods, links) = (root.join("pods/shop_web_0a1b/nginx"), root.join("containers"));
        std::fs::create_dir_all(&pods).unwrap();
        std::fs::create_dir_all(&links).unwrap();
        std::fs::write(pods.join("0.log"), "").unwrap();
        let link = format!("web_shop_nginx-{}.log", "0123456789abcdef".repeat(4));
        std::os::unix::fs::symlink(pods.join("0.log"), links.join(&link)).unwrap();
        let other = root.join("other");
        std::fs::create_dir_all(&other).unwrap();
        let listed = |prefixes: &[&Path]| {
            let access = Access::new(prefixes).unwrap();
            let mut list = crate::log::catalogue::list(&access, &Default::default());
            ContainerNames::default().give(&access, &mut list);
            let entries = list.entries.into_iter();
            entries.map(|entry| (entry.log.as_path().to_owned(), entry.name)).collect::<Vec<_>>()
        };
        let name = Some("shop/web/nginx".to_owned());
        assert_eq!(listed(&[&root]), [(pods.join("0.log"), name.clone())]);
        // Where the list does not have the file by its own name, it has the link.
        let by_link = listed(&[&links, &pods.join("0.log")]);
        assert!(by_link.iter().any(|(_, listed)| *listed == name), "{by_link:?}");
        assert_eq!(by_link.len(), 1, "{by_link:?}");
    }
}
