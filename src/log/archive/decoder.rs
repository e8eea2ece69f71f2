//! The libraries that unpack, behind one reader.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use flate2::bufread::MultiGzDecoder;

use crate::log::archive::{Compression, Shortfall};

/// How much of the compressed file is read at a time.
const INPUT_BYTES: usize = 128 * 1024;
/// A file that needs more memory than this is not unpacked.
#[cfg(feature = "archives")]
const MEMORY_MAX_LOG: u32 = 27;

/// Unpacks one file, from its beginning.
pub(super) struct Decoder(Box<dyn Read + Send>);

impl Decoder {
    /// # Errors
    /// When this program was built without the library, or the file can't be unpacked at all.
    pub(super) fn new(compression: Compression, file: File) -> Result<Self, Shortfall> {
        let input = BufReader::with_capacity(INPUT_BYTES, FromStart { file, at: 0 });
        Ok(Self(match compression {
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
        }))
    }

    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// Why there are no more, though the end was not reached.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Shortfall> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
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
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
