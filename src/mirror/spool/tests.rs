//! Files of the spool, as those who use it at the same time find them.

use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::*;
use crate::log::access::Identity;
use crate::mirror::LaterRemote;

struct Place {
    spool: Spool,
    directory: TempDir,
    remote: Arc<dyn Remote>,
}

impl Place {
    fn with(bytes_max: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), bytes_max).unwrap();
        Self { spool, directory, remote: Arc::new(LaterRemote::default()) }
    }

    fn file(&self, nth: u64) -> Arc<SpoolFile> {
        let (name, generation) = named(nth);
        self.spool.file(&name, &generation, 1, &self.remote, &Handle::current()).unwrap()
    }

    fn path(&self, nth: u64, extension: &str) -> PathBuf {
        let (name, generation) = named(nth);
        let key = Key::of(&name, &generation);
        self.directory.path().join("1").join(format!("{}.{extension}", key.0))
    }
}

fn named(nth: u64) -> (RemoteName, Generation) {
    let name = RemoteName { host: "web".into(), path: format!("/{nth}.log").into_bytes().into() };
    (name, Generation::new(Identity { device: 1, inode: nth }, 1, b""))
}

#[tokio::test]
async fn a_file_whose_disk_is_slow_holds_up_nobody_else() {
    let place = Arc::new(Place::with(BYTES_MIN));
    place.file(1).keep(0, b"one\n", None).unwrap();
    place.spool.note();
    // Whoever reads this waits until somebody writes.
    std::fs::remove_file(place.path(1, NOTE)).unwrap();
    mknodat(CWD, place.path(1, NOTE), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let (tell, told) = channel();
    let runtime = Handle::current();
    let open = |nth: u64| {
        let (place, tell, runtime) = (Arc::clone(&place), tell.clone(), runtime.clone());
        std::thread::spawn(move || {
            let _entered = runtime.enter();
            drop(place.file(nth));
            tell.send(nth).unwrap();
        })
    };
    let slow = open(1);
    let is_busy = || place.spool.0.files.take_closed(&Key::of(&named(1).0, &named(1).1)).is_none();
    while !is_busy() {
        std::thread::yield_now();
    }
    let other = open(2);
    assert_eq!(told.recv_timeout(Duration::from_secs(30)), Ok(2), "it waits for nobody");
    // Also questions about all files do not.
    assert!(place.spool.latest(&named(2).0).is_none());
    place.spool.note();
    assert!(told.try_recv().is_err(), "the slow one still is");
    drop(OpenOptions::new().write(true).open(place.path(1, NOTE)).unwrap());
    assert_eq!(told.recv_timeout(Duration::from_secs(30)), Ok(1));
    slow.join().unwrap();
    other.join().unwrap();
}

#[tokio::test]
async fn what_is_closed_is_counted_and_goes_first() {
    let place = Place::with(BYTES_MIN);
    let block = vec![b'x'; 6 << 20];
    for nth in 1..=2 {
        place.file(nth).keep(0, &block, None).unwrap();
        place.spool.note();
    }
    let counted = 2 * (block.len() as u64 + FILE_BYTES);
    assert_eq!((place.spool.bytes(), place.spool.evicted_files()), (counted, 0));
    // Opened again it is what was noted, and is counted once.
    let second = place.file(2);
    assert_eq!((second.bytes(), place.spool.bytes()), (block.len() as u64, counted));
    let third = place.file(3);
    third.keep(0, &block, None).unwrap();
    assert_eq!(place.spool.evicted_files(), 1);
    assert!(!place.spool.has(&named(1).0, &named(1).1));
    assert!(!place.path(1, DATA).exists() && !place.path(1, NOTE).exists());
    assert!(place.path(2, DATA).exists(), "somebody has it");
    assert_eq!(place.spool.bytes(), counted);
}
