//! Resuming after several rotations: late bytes of each rotated file are sent, with its generation.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

use crate::clients::Viewer;
use crate::servers::{Program, append, put, target};

/// A generation and an offset.
type Position = (String, u64);

/// A viewer that stores each event with the bytes after it.
struct Reader {
    viewer: Viewer,
    at: Position,
    told: Vec<(String, String)>,
}

impl Reader {
    async fn of(server: SocketAddr, log: &str, query: &str) -> Self {
        let viewer = Viewer::v1(server, &format!("{log}?tail=1&format=raw{query}")).await;
        Self { viewer, at: Position::default(), told: Vec::new() }
    }

    /// Resumes with a position in the log and positions in rotated files.
    async fn resume(server: SocketAddr, log: &str, at: &Position, late: &[&Position]) -> Self {
        let late: String = late.iter().map(|(of, at)| format!("&late={of}:{at}")).collect();
        Self::of(server, log, &format!("&from={}&generation={}{late}", at.1, at.0)).await
    }

    /// Reads until the last event is this one, with these bytes after it.
    async fn read_until(&mut self, head: &str, bytes: &str) {
        let is_there =
            |last: &(String, String)| (last.0.as_str(), last.1.as_str()) == (head, bytes);
        while !self.told.last().is_some_and(is_there) {
            match self.viewer.next().await {
                Ok(Message::Binary(data)) => {
                    let offset = u64::from_be_bytes(data[..8].try_into().unwrap());
                    assert_eq!(offset, self.at.1, "after {:#?}", self.told);
                    self.at.1 += (data.len() - 8) as u64;
                    let (_, bytes) = self.told.last_mut().unwrap();
                    bytes.push_str(std::str::from_utf8(&data[8..]).unwrap());
                }
                Ok(Message::Text(text)) => self.mind(&serde_json::from_str(&text).unwrap()),
                other => panic!("{other:?} after {:#?}", self.told),
            }
        }
    }

    fn mind(&mut self, message: &Value) {
        let from = message["from"].as_u64();
        let head = match message["type"].as_str().unwrap() {
            "open" => format!("open {}", message["recovered"]),
            "reset" => format!("{} {}", message["reason"].as_str().unwrap(), from.unwrap()),
            "gap" => format!("gap {} {}", from.unwrap(), message["to"]),
            other => panic!("{other} after {:#?}", self.told),
        };
        let generation = message["generation"].as_str().unwrap().to_owned();
        self.at = (generation, message["to"].as_u64().or(from).unwrap());
        self.told.push((head, String::new()));
    }

    /// Asserts that it has received exactly these events.
    #[track_caller]
    fn assert_told(&self, expected: &[(&str, &str)]) {
        let told: Vec<_> =
            self.told.iter().map(|(head, of)| (head.as_str(), of.as_str())).collect();
        assert_eq!(told, expected);
    }
}

/// More bytes than a signature covers.
fn lines(of: &str) -> String {
    (0..100).map(|line| format!("{of} {line}\n")).collect()
}

/// Starts a server with a rotate-wait that is longer than any test here.
fn serve(directory: &Path) -> Program {
    Program::serve(&[directory.to_str().unwrap(), "--rotate-wait", "20"])
}

/// A served log, and a viewer that has read it.
struct Served {
    directory: TempDir,
    path: PathBuf,
    log: String,
    program: Program,
    reader: Reader,
}

impl Served {
    async fn begin() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("a.log");
        let log = target(&path);
        append(&path, lines("a"));
        let program = serve(directory.path());
        let mut reader = Reader::of(program.address, &log, "&lines=all").await;
        reader.read_until("open true", &lines("a")).await;
        Self { directory, path, log, program, reader }
    }
}

/// A log that was rotated twice while writers still have both old files open. The server was killed
/// after its viewer had received the third file, and before any late byte.
struct Killed {
    directory: TempDir,
    log: String,
    /// The writers of the rotated files, and the positions that the viewer reached in them.
    before: [(File, Position); 2],
    at: Position,
}

impl Killed {
    async fn after_two_rotations() -> Self {
        let Served { directory, path, log, mut program, mut reader } = Served::begin().await;
        let a = (File::options().append(true).open(&path).unwrap(), reader.at.clone());
        std::fs::rename(&path, directory.path().join("a.log.first")).unwrap();
        put(&path, lines("b"));
        reader.read_until("rotated 0", &lines("b")).await;
        let b = (File::options().append(true).open(&path).unwrap(), reader.at.clone());
        std::fs::rename(&path, directory.path().join("a.log.second")).unwrap();
        put(&path, lines("c"));
        reader.read_until("rotated 0", &lines("c")).await;
        program.signal(rustix::process::Signal::KILL);
        program.wait().await;
        Self { directory, log, before: [a, b], at: reader.at }
    }
}

#[tokio::test]
async fn late_bytes_of_two_files_that_a_killed_server_did_not_send_are_sent_by_the_next() {
    let mut killed = Killed::after_two_rotations().await;
    for ((writer, _), text) in killed.before.iter_mut().zip(["late a\n", "late b\n"]) {
        writer.write_all(text.as_bytes()).unwrap();
    }
    let Killed { directory, log, before: [(mut a, had_a), (_, had_b)], at } = killed;
    let program = serve(directory.path());
    let mut again = Reader::resume(program.address, &log, &at, &[&had_a, &had_b]).await;
    let [late_a, late_b] = [&had_a, &had_b].map(|had| format!("late {}", had.1));
    let back = format!("back {}", at.1);
    again.read_until(&back, "").await;
    let expected =
        [("open true", ""), (&*late_a, "late a\n"), (&*late_b, "late b\n"), (&*back, "")];
    again.assert_told(&expected);
    // The new server also follows the rotated files and the log.
    a.write_all(b"later a\n").unwrap();
    again.read_until(&format!("late {}", had_a.1 + 7), "later a\n").await;
    again.read_until(&back, "").await;
    append(directory.path().join("a.log"), "and on\n");
    again.read_until(&back, "and on\n").await;
    // A viewer that has already received a part of the late bytes gets the rest.
    let some_of_a = (had_a.0.clone(), had_a.1 + 5);
    let all_of_b = (had_b.0.clone(), had_b.1 + 7);
    let mut third = Reader::resume(program.address, &log, &at, &[&some_of_a, &all_of_b]).await;
    third.read_until(&back, "and on\n").await;
    assert_eq!(
        third.told.iter().map(|(_, text)| text.as_str()).collect::<String>(),
        "a\nlater a\nand on\n"
    );
    // If a file is named twice, the last position counts.
    let twice = [&had_a, &all_of_b, &some_of_a];
    let mut fourth = Reader::resume(program.address, &log, &at, &twice).await;
    fourth.read_until(&back, "and on\n").await;
    assert_eq!(fourth.told, third.told);
}

#[tokio::test]
async fn a_missing_rotated_file_is_a_gap_and_the_others_are_sent() {
    let mut killed = Killed::after_two_rotations().await;
    for (writer, _) in &mut killed.before {
        writer.write_all(b"late\n").unwrap();
    }
    let Killed { directory, log, before: [(_, had_a), (_, had_b)], at } = killed;
    // Bytes that were written to the present file meanwhile follow all late bytes, once.
    append(directory.path().join("a.log"), "meanwhile\n");
    let back = format!("back {}", at.1);
    let unknown = ("of:another:making".to_owned(), 5);
    let gap = |at: u64| format!("gap {at} null");
    let [late_a, late_b] = [&had_a, &had_b].map(|had| format!("late {}", had.1));
    let open = ("open true", "");
    let home = (back.as_str(), "meanwhile\n");
    let program = serve(directory.path());
    let mut again = Reader::resume(program.address, &log, &at, &[&unknown, &had_b]).await;
    again.read_until(&back, "meanwhile\n").await;
    again.assert_told(&[open, (&gap(at.1), ""), (&late_b, "late\n"), home]);
    drop((again, program));

    std::fs::remove_file(directory.path().join("a.log.second")).unwrap();
    let program = serve(directory.path());
    let mut again = Reader::resume(program.address, &log, &at, &[&had_b, &had_a, &unknown]).await;
    again.read_until(&back, "meanwhile\n").await;
    again.assert_told(&[open, (&gap(had_b.1), ""), (&late_a, "late\n"), (&gap(at.1), ""), home]);
}

#[tokio::test]
async fn a_file_that_is_resumed_under_two_old_generations_sends_its_late_bytes_once() {
    let Served { directory, path, log, program, mut reader } = Served::begin().await;
    let before_the_cut = reader.at.clone();
    // The rest of the file is still covered by a whole signature, which proves both generations.
    let left = 300;
    let mut writer = File::options().append(true).open(&path).unwrap();
    writer.set_len(left).unwrap();
    writer.write_all(lines("more").as_bytes()).unwrap();
    let cut = lines("a")[..left as usize].to_owned() + &lines("more");
    reader.read_until("truncated 0", &cut).await;
    let after_the_cut = reader.at.clone();
    let old_path = directory.path().join("a.log.1");
    std::fs::rename(&path, &old_path).unwrap();
    put(&path, lines("b"));
    let old = std::fs::metadata(&old_path).unwrap();
    let renamed = UNIX_EPOCH + Duration::new(old.ctime() as u64, old.ctime_nsec() as u32);
    let born = std::fs::metadata(&path).unwrap().created().unwrap();
    let is_proved = born == renamed;
    reader.read_until("rotated 0", &lines("b")).await;
    program.signal(rustix::process::Signal::KILL);

    let server = serve(directory.path());
    let old_names = [before_the_cut.0, after_the_cut.0.clone()];
    let mut viewers = Vec::new();
    for at in [(old_names[0].clone(), left), after_the_cut] {
        let mut again = Reader::resume(server.address, &log, &at, &[]).await;
        again.read_until("rotated 0", &lines("b")).await;
        viewers.push(again);
    }
    let back = format!("back {}", lines("b").len());
    let [late, later] = [0, 5].map(|told| format!("late {}", cut.len() + told));
    for (head, text) in [(&late, "late\n"), (&later, "later\n")] {
        writer.write_all(text.as_bytes()).unwrap();
        for viewer in &mut viewers {
            viewer.read_until(head, text).await;
            assert!(!old_names.contains(&viewer.at.0), "{} was given before", viewer.at.0);
            viewer.read_until(&back, "").await;
        }
    }
    // Nothing proves that no file was between the two if the machine was busy while they changed.
    let missing = format!("gap {} null", cut.len());
    for viewer in &viewers {
        let mut heads: Vec<_> = viewer.told.iter().map(|(head, _)| head.as_str()).collect();
        if !is_proved && heads[1] == missing {
            heads.remove(1);
        }
        assert_eq!(heads, ["open true", "rotated 0", &late, &back, &later, &back]);
    }
}

#[tokio::test]
async fn the_position_decides_how_much_of_its_own_file_was_received() {
    let Served { directory: _directory, path, log, program, mut reader } = Served::begin().await;
    // The position's generation is gone when the viewer resumes, and the viewer also names it as a
    // rotated file at offset 0.
    let at = reader.at.clone();
    let had = (at.0.clone(), 0);
    std::fs::write(&path, lines("b")).unwrap();
    reader.read_until("truncated 0", &lines("b")).await;
    let mut again = Reader::resume(program.address, &log, &at, &[&had]).await;
    again.read_until("replaced 0", &lines("b")).await;
    again.assert_told(&[("open false", ""), ("replaced 0", &lines("b"))]);
}
