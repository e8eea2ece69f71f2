//! Logs that the benches read.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// How much a log has.
pub struct Written {
    pub bytes: u64,
    pub lines: u64,
}

/// Writes lines until the log has this many bytes. `line` makes one, with its newline, from its
/// number.
pub fn write_lines(path: &Path, bytes: u64, mut line: impl FnMut(u64) -> String) -> Written {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    let mut written = Written { bytes: 0, lines: 0 };
    while written.bytes < bytes {
        let line = line(written.lines);
        file.write_all(line.as_bytes()).unwrap();
        written.bytes += line.len() as u64;
        written.lines += 1;
    }
    file.flush().unwrap();
    written
}

/// How many bytes a file has.
pub fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}
