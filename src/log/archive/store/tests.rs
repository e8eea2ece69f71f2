use std::io::{Read, Seek, Write};
use std::time::Duration;

use tempfile::TempDir;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn archive(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&gzipped(content)).unwrap();
    file
}

/// A store that keeps its files in a directory of its own.
fn store(bytes_max: u64) -> (Arc<Archives>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let archives = Arc::new(Archives::default());
    archives.configure(Some(directory.path().to_owned()), bytes_max).unwrap();
    (archives, directory)
}

/// Content that differs from any other.
fn content(of: usize, bytes: usize) -> Vec<u8> {
    let mut content = format!("{of} ").into_bytes().repeat(bytes / 2 + 1);
    content.truncate(bytes);
    content
}

fn wait_for(copy: &Unpacked) {
    let start = Instant::now();
    while !copy.has_ended() {
        assert!(start.elapsed() < DEADLINE, "it is still unpacked");
        thread::yield_now();
    }
}

fn unpacked(archives: &Arc<Archives>, file: &File) -> Arc<Unpacked> {
    let (_, copy) = archives.unpack(file).unwrap().unwrap();
    wait_for(&copy);
    copy
}

fn text(copy: &Unpacked) -> Vec<u8> {
    let mut text = vec![0; usize::try_from(copy.size()).unwrap()];
    copy.file().read_exact_at(&mut text, 0).unwrap();
    text
}

/// Waits until no file counts as begun.
fn wait_for_rest(archives: &Archives) {
    let start = Instant::now();
    while archives.jobs.lock().begun > 0 {
        assert!(start.elapsed() < DEADLINE, "{} are still begun", archives.jobs.lock().begun);
        thread::yield_now();
    }
}

#[test]
fn a_second_visit_finds_the_copy_of_the_first() {
    let (archives, _directory) = store(CACHE_BYTES);
    let file = archive(&content(1, 100_000));
    let first = unpacked(&archives, &file);
    assert_eq!(text(&first), content(1, 100_000));
    assert!(Arc::ptr_eq(&first, &unpacked(&archives, &file)));
    assert!(archives.unpack(&tempfile::tempfile().unwrap()).unwrap().is_none(), "a plain file");
}

#[test]
fn the_copies_that_were_used_least_recently_make_room() {
    let (archives, _directory) = store(CACHE_BYTES);
    let files: Vec<File> = (0..COPIES_MAX + 6).map(|of| archive(&content(of, 5_000))).collect();
    let held = unpacked(&archives, &files[0]);
    let second = Arc::downgrade(&unpacked(&archives, &files[1]));
    let third = Arc::downgrade(&unpacked(&archives, &files[2]));
    for (of, file) in files.iter().enumerate().skip(3) {
        // The third one is used again and again.
        unpacked(&archives, &files[2]);
        assert_eq!(text(&unpacked(&archives, file)), content(of, 5_000));
        wait_for_rest(&archives);
    }
    assert_eq!(archives.copies.lock().kept.len(), COPIES_MAX);
    assert!(second.upgrade().is_none(), "nobody has used it for the longest time");
    assert!(third.upgrade().is_some(), "somebody has used it lately");
    assert!(Arc::ptr_eq(&held, &unpacked(&archives, &files[0])), "one in use stays");
    assert_eq!(text(&unpacked(&archives, &files[1])), content(1, 5_000), "it is unpacked again");
}

#[test]
fn without_room_the_rest_is_left_out_and_tried_again_later() {
    let (archives, _directory) = store(1 << 20);
    let (one, other) = (archive(&content(1, 700_000)), archive(&content(2, 700_000)));
    let held = unpacked(&archives, &one);
    assert_eq!(held.notice(), None);
    let part = unpacked(&archives, &other);
    let notice = part.notice().unwrap();
    assert_eq!((notice.shortfall, notice.readable), (Shortfall::NoRoom, part.size()));
    assert!(content(2, 700_000).starts_with(&text(&part)) && part.size() > 0);
    assert!(archives.copies.lock().bytes() <= 1 << 20);
    drop(held);
    assert!(Arc::ptr_eq(&part, &unpacked(&archives, &other)), "it is not tried at once again");
    drop(part);
    let mut copies = archives.copies.lock();
    for kept in &mut copies.kept {
        kept.failed_at = kept.failed_at.map(|at| at.checked_sub(FAILED_TIME).unwrap());
    }
    drop(copies);
    let whole = unpacked(&archives, &other);
    assert_eq!((whole.notice(), text(&whole)), (None, content(2, 700_000)));
}

#[test]
fn another_file_with_the_number_size_and_time_of_one_that_is_gone_is_not_taken_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gz");
    let time = SystemTime::now() - Duration::from_secs(1_000);
    let make = |content: &[u8]| {
        let file = File::options().write(true).read(true).create_new(true).open(&path).unwrap();
        (&file).write_all(&gzipped(content)).unwrap();
        file.set_modified(time).unwrap();
        file
    };
    let (archives, _directory) = store(CACHE_BYTES);
    let (before, after) = (content(1, 5_000), content(2, 5_000));
    let first = make(&before);
    let key = Key::of(&first).unwrap();
    assert_eq!(text(&unpacked(&archives, &first)), before);
    drop(first);
    for _ in 0..1_000 {
        std::fs::remove_file(&path).unwrap();
        let second = make(&after);
        let now = Key::of(&second).unwrap();
        assert_eq!((now.size, now.modified), (key.size, key.modified));
        assert_ne!(now, key);
        assert_eq!(text(&unpacked(&archives, &second)), after);
        // Not every file system gives a number again.
        if now.identity == key.identity {
            return;
        }
    }
}

/// Content that ends with a panic, as that of a decoder may that meets foreign bytes.
struct Panics(io::Cursor<Vec<u8>>);

impl Read for Panics {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        assert!(read > 0, "foreign bytes");
        Ok(read)
    }
}

#[test]
fn a_decoder_that_panics_has_met_a_damaged_file_and_others_are_unpacked() {
    let (archives, _directory) = store(CACHE_BYTES);
    for round in 0..2 * BEGUN_MAX {
        let bytes = content(round, if round % 2 == 0 { 0 } else { 300_000 });
        let decoder = Decoder::of(Box::new(Panics(io::Cursor::new(bytes.clone()))));
        let copy = Unpacked::new(archives.new_file().unwrap(), Compression::Gzip);
        assert!(archives.jobs.lock().admit(), "{round}");
        archives.start(Job { copy: Arc::clone(&copy), decoder, limit: u64::MAX });
        wait_for(&copy);
        assert_eq!(copy.notice().map(|notice| notice.shortfall), Some(Shortfall::Damaged));
        assert_eq!(text(&copy), bytes, "what came before is shown");
        wait_for_rest(&archives);
    }
    let file = archive(b"fine\n");
    assert_eq!(text(&unpacked(&archives, &file)), b"fine\n");
    wait_for_rest(&archives);
}

#[test]
fn damaged_files_are_shown_as_far_as_they_are_whole_and_occupy_nothing() {
    let (archives, _directory) = store(CACHE_BYTES);
    for round in 0..2 * BEGUN_MAX {
        let mut file = tempfile::tempfile().unwrap();
        let whole = gzipped(&content(round, 200_000));
        file.write_all(&whole).unwrap();
        let at = whole.len() as u64 / 2;
        file.seek(io::SeekFrom::Start(at)).unwrap();
        file.write_all(&[0xff; 64]).unwrap();
        let copy = unpacked(&archives, &file);
        let notice = copy.notice().unwrap();
        assert!(matches!(notice.shortfall, Shortfall::Damaged), "{notice:?}");
        assert!(content(round, 200_000).starts_with(&text(&copy)[..1_000]));
        wait_for_rest(&archives);
    }
}

#[test]
fn no_more_files_are_begun_than_may_be() {
    let (archives, _directory) = store(CACHE_BYTES);
    archives.jobs.lock().begun = BEGUN_MAX;
    let file = archive(&content(1, 100_000));
    let refused = archives.unpack(&file).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
    archives.jobs.lock().begun = 0;
    assert_eq!(text(&unpacked(&archives, &file)), content(1, 100_000));
}
