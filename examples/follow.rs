//! Follows a log with the library. `cargo run --example follow -- PATH` prints what is appended
//! from now on.

use std::error::Error;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use tailcast::log::registry::ROTATE_WAIT;
use tailcast::log::{Access, Event, Registry};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::path::absolute(std::env::args_os().nth(1).ok_or("which log?")?)?;
    let access = Arc::new(Access::new([&path])?);
    let log = access.locate(path.as_os_str().as_bytes())?;
    let registry = Registry::new(access, ROTATE_WAIT);
    let mut subscription = registry.join(&log, false).await?;
    loop {
        // `recv` fails if this program has fallen behind. A real program then reads the bytes that
        // it missed from the file, beginning at the end of the last chunk.
        if let Event::Chunk(chunk) = subscription.events.recv().await? {
            std::io::stdout().write_all(&chunk.bytes)?;
        }
    }
}
