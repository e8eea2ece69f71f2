//! The libraries that unpack, behind one reader.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use crate::log::archive::{Compression, Shortfall};

/// How much of the compressed file is read at a time.
const INPUT_BYTES: usize = 128 * 1024;
/// A file in which so many bytes have no content, one after the other, is damaged: at its beginning,
/// where somebody waits for them, and later. Padding and frames without content are valid, and what
/// reads them returns only behind them.
const EMPTY_BYTES_FIRST: u64 = 4 << 20;
const EMPTY_BYTES_LATER: u64 = 64 << 20;
/// A file that needs more memory than this is not unpacked.
#[cfg(feature = "archives")]
const MEMORY_MAX_LOG: u32 = 27;

/// Unpacks one file, from its beginning.
pub(super) struct Decoder {
    content: Box<dyn Read + Send>,
    /// How many more bytes of the file may be read before there is content.
    empty_left: Arc<AtomicU64>,
    empty_later: u64,
}

impl Decoder {
    /// # Errors
    /// When this program was built without the library, or the file can't be unpacked at all.
    pub(super) fn new(compression: Compression, file: File) -> Result<Self, Shortfall> {
        Self::limited(compression, file, EMPTY_BYTES_FIRST, EMPTY_BYTES_LATER)
    }

    fn limited(
        compression: Compression,
        file: File,
        empty_first: u64,
        empty_later: u64,
    ) -> Result<Self, Shortfall> {
        let empty_left = Arc::new(AtomicU64::new(empty_first));
        let file = FromStart { file, at: 0, empty_left: Arc::clone(&empty_left) };
        let input = BufReader::with_capacity(INPUT_BYTES, file);
        let content: Box<dyn Read + Send> = match compression {
            // Logs are often several compressed files in one, written one after the other.
            Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
            #[cfg(feature = "archives")]
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(input);
                let mut decoder = decoder.map_err(|error| shortfall_of(&error))?;
                let limited = decoder.window_log_max(MEMORY_MAX_LOG);
                limited.map_err(|error| shortfall_of(&error))?;
                Box::new(decoder)
            }
            #[cfg(feature = "archives")]
            Compression::Xz => {
                let memory_kib = 1 << (MEMORY_MAX_LOG - 10);
                Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, memory_kib))
            }
            #[cfg(feature = "archives")]
            Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
            #[cfg(not(feature = "archives"))]
            Compression::Zstd | Compression::Xz | Compression::Bzip2 => {
                return Err(Shortfall::Unsupported);
            }
        };
        Ok(Self { content, empty_left, empty_later })
    }

    /// The next bytes; none at the end. A library that panics over foreign bytes has met a damaged
    /// file.
    ///
    /// # Errors
    /// Why there are no more, though the end was not reached.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Shortfall> {
        let reading = AssertUnwindSafe(|| self.read_content(buffer));
        catch_unwind(reading).unwrap_or(Err(Shortfall::Damaged))
    }

    /// Reads what is given as the content of a file.
    #[cfg(test)]
    pub(super) fn of(content: Box<dyn Read + Send>) -> Self {
        Self { content, empty_left: Arc::default(), empty_later: u64::MAX }
    }

    fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize, Shortfall> {
        loop {
            match self.content.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(read) if read > 0 => {
                    self.empty_left.store(self.empty_later, Ordering::Relaxed);
                    return Ok(read);
                }
                read => return read.map_err(|error| shortfall_of(&error)),
            }
        }
    }
}

fn shortfall_of(error: &io::Error) -> Shortfall {
    // The calls of the system have a number, the libraries have none.
    if error.raw_os_error().is_some() {
        return Shortfall::Unreadable;
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Shortfall::Truncated,
        io::ErrorKind::OutOfMemory => Shortfall::TooLarge,
        _ => Shortfall::Damaged,
    }
}

/// Reads a file from its start, wherever the handle's own position is: others share that.
struct FromStart {
    file: File,
    at: u64,
    empty_left: Arc<AtomicU64>,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.empty_left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a long part has no content"));
        }
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        self.empty_left.store(left.saturating_sub(read as u64), Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Several times as much as is read at once.
    const FIRST: u64 = 4 * INPUT_BYTES as u64;
    const LATER: u64 = 16 * INPUT_BYTES as u64;

    fn gzipped(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// What is unpacked of a file with these bytes, how it ends, and how much of the file was read.
    fn unpacked(compression: Compression, bytes: &[u8]) -> (Vec<u8>, Option<Shortfall>, u64) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let mut decoder = Decoder::limited(compression, file, FIRST, LATER).unwrap();
        let (mut content, mut buffer) = (vec![], [0; 100]);
        let end = loop {
            match decoder.read(&mut buffer) {
                Ok(0) => break None,
                Ok(read) => content.extend_from_slice(&buffer[..read]),
                Err(shortfall) => break Some(shortfall),
            }
        };
        let left = decoder.empty_left.load(Ordering::Relaxed);
        (content, end, left)
    }

    #[test]
    fn a_file_that_begins_with_much_of_nothing_is_read_no_further() {
        let text = b"a line\n".as_slice();
        let times = |part: &[u8], bytes: u64| part.repeat(bytes as usize / part.len() + 1);
        let mut kinds = vec![(Compression::Gzip, gzipped(b""), gzipped(text))];
        if cfg!(feature = "archives") {
            // A frame that decoders skip, with four bytes in it.
            let skipped = b"\x50\x2a\x4d\x18\x04\0\0\0abcd".to_vec();
            kinds.push((Compression::Zstd, skipped, zstd_of(text)));
        }
        for (compression, empty, full) in kinds {
            let short = [times(&empty, FIRST / 2), full.clone()].concat();
            let (content, end, _) = unpacked(compression, &short);
            assert_eq!((content.as_slice(), end), (text, None), "{compression:?}");
            let long = [times(&empty, 2 * FIRST), full.clone()].concat();
            let (content, end, left) = unpacked(compression, &long);
            assert_eq!((content.len(), end), (0, Some(Shortfall::Damaged)), "{compression:?}");
            assert_eq!(left, 0, "{compression:?}");
            // Behind content, archives of tapes have padding, and others have indexes.
            let behind = [full, times(&empty, 2 * FIRST)].concat();
            let (content, end, _) = unpacked(compression, &behind);
            assert_eq!((content.as_slice(), end), (text, None), "{compression:?}");
        }
    }

    #[cfg(feature = "archives")]
    fn zstd_of(content: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(content, 1).unwrap()
    }

    #[cfg(not(feature = "archives"))]
    fn zstd_of(_: &[u8]) -> Vec<u8> {
        vec![]
    }

    #[cfg(feature = "archives")]
    #[test]
    fn padding_of_xz_without_end_is_read_no_further() {
        let mut bytes = XZ_LINE.to_vec();
        bytes.resize(bytes.len() + 2 * LATER as usize, 0);
        let (content, end, left) = unpacked(Compression::Xz, &bytes);
        assert_eq!(content, b"a line\n");
        assert_eq!((end, left), (Some(Shortfall::Damaged), 0));
    }

    /// What xz makes of a line.
    #[cfg(feature = "archives")]
    const XZ_LINE: &[u8] =
        b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4F\x02\0!\x01\x16\0\0\0t/\xe5\xa3\x01\0\x06a line\n\0\0\
        \x0d\x13\xb8+e>\x08R\0\x01\x1f\x07\x16.\xb8s\x1f\xb6\xf3}\x01\0\0\0\0\x04YZ";
}
