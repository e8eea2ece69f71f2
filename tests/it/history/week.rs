//! A week of hourly rotations in fast motion, as logrotate does them with `delaycompress`: viewers
//! get every byte, and so does a reader of the old files who comes now and then.

use std::path::PathBuf;

use crate::archives::{gzipped, numbered, streamed};
use crate::model::setting;
use crate::reader::{Position, Reader};
use crate::servers::{TestServer, append, no_heartbeat};

/// A week of hours. `TAILCAST_ROTATIONS` sets another number.
const ROTATIONS: u64 = 168;
/// How many old files are kept.
const KEPT: usize = 168;
/// After so many rotations a reader comes for all files.
const READ_EVERY: usize = 12;
/// A viewer that left comes back after so many.
const AWAY_FOR: usize = 5;

/// The log with its old files.
struct Rotated {
    server: TestServer,
    /// The content of each file that is on the disk, the oldest first, the present one last.
    contents: Vec<String>,
}

impl Rotated {
    fn path(&self, number: usize, ending: &str) -> PathBuf {
        self.server.path(&format!("a.log.{number}{ending}"))
    }

    fn old_files(&self) -> usize {
        self.contents.len() - 1
    }

    fn write(&mut self, text: &str) {
        append(self.server.path("a.log"), text);
        self.contents.last_mut().unwrap().push_str(text);
    }

    /// Shifts the numbers, and compresses the file that was rotated before the last one.
    fn rotate(&mut self) {
        if self.old_files() == KEPT {
            std::fs::remove_file(self.path(KEPT, ".gz")).unwrap();
            self.contents.remove(0);
        }
        for number in (1..=self.old_files()).rev() {
            let ending = if number == 1 { "" } else { ".gz" };
            std::fs::rename(self.path(number, ending), self.path(number + 1, ending)).unwrap();
        }
        std::fs::rename(self.server.path("a.log"), self.path(1, "")).unwrap();
        std::fs::write(self.server.path("a.log"), "").unwrap();
        self.contents.push(String::new());
        if self.old_files() < 2 {
            return;
        }
        let plain = self.path(2, "");
        let content = &self.contents[self.contents.len() - 3];
        let modified = plain.metadata().unwrap().modified().unwrap();
        let archive = std::fs::File::create_new(self.path(2, ".gz")).unwrap();
        std::io::Write::write_all(&mut &archive, &gzipped(content.as_bytes())).unwrap();
        archive.set_modified(modified).unwrap();
        std::fs::remove_file(plain).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_week_of_rotations_is_read_to_the_byte() {
    let rotations = setting("TAILCAST_ROTATIONS").unwrap_or(ROTATIONS) as usize;
    // The viewer does not read while others read all old files, or while the disk is busy.
    let server = TestServer::with(no_heartbeat()).await;
    let log = server.log("a.log", "");
    let mut scene = Rotated { server, contents: vec![String::new()] };
    // With `signed=1` it hears the signature of a file that was empty at first.
    let mut live = Reader::open(&scene.server, &log, "&lines=all&signed=1").await;
    let (mut written, mut left): (usize, Option<(Position, usize)>) = (0, None);
    for rotation in 0..=rotations {
        if rotation > 0 {
            scene.rotate();
        }
        let text = numbered(&format!("hour {rotation}"), 0..20 + rotation % 7);
        scene.write(&text);
        written += text.len();
        live.bytes.clear();
        live.read_until(text.as_bytes()).await;
        assert!(live.bytes == text.as_bytes(), "hour {rotation}: more or less than was written");
        match &left {
            None => left = Some((live.at.clone(), written)),
            Some((at, had)) if rotation.is_multiple_of(AWAY_FOR) => {
                let mut back = Reader::resume(&scene.server, &log, at).await;
                back.read_until(text.as_bytes()).await;
                assert_eq!(back.bytes.len(), written - had, "{rotation}: {:?}", back.heads());
                let all = scene.contents.concat();
                assert!(all.as_bytes().ends_with(&back.bytes), "{rotation}: {:?}", back.heads());
                left = Some((live.at.clone(), written));
            }
            Some(_) => {}
        }
        if rotation.is_multiple_of(READ_EVERY) || rotation == rotations {
            let (bytes, told) = streamed(&scene.server, &log, "history=1&lines=all").await;
            let all = scene.contents.concat();
            assert!(bytes == all.as_bytes(), "{rotation}: {} of {}", bytes.len(), all.len());
            assert_eq!(told.len(), scene.contents.len(), "{rotation}: one reset for each file");
        }
    }
    let mut heads = live.heads();
    heads.retain(|head| head != "signed");
    let resets = heads.iter().filter(|head| *head == "reset rotated 0").count();
    assert_eq!((resets, heads.len()), (rotations, rotations + 1), "{heads:?}");
}
