//! The real logrotate, in the ways in which people configure it: whatever it does with the files,
//! all bytes that were ever written are there, once and in order.

use std::path::Path;
use std::process::Command;

use crate::archives::{numbered, streamed};
use crate::clients::get;
use crate::servers::{TestServer, append, eventually, not_run, output_of};

/// How often the log is rotated.
const ROTATIONS: usize = 4;

/// Rotates once, as of now. None where this machine has no logrotate.
fn rotate(directory: &Path, configuration: &str) -> Option<()> {
    let file = directory.join("logrotate.conf");
    let log = directory.join("logs/a.log");
    // logrotate refuses a directory that others may write to, unless it is told a user.
    let text = format!("{} {{\n{configuration}\nrotate 20\n}}\n", log.display());
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("/usr/sbin/logrotate");
    if !Path::new("/usr/sbin/logrotate").exists() {
        return None;
    }
    let output =
        output_of(command.args(["--force", "--state"]).arg(directory.join("state")).arg(&file));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{configuration}: {said}");
    Some(())
}

#[tokio::test]
async fn all_bytes_are_there_whatever_logrotate_is_told() {
    for configuration in [
        "create",
        "create\ncompress\ndelaycompress",
        "create\ndateext\ndateformat -%Y%m%d-%s",
        "create\ndateext\ndateformat -%Y%m%d-%s\ncompress",
        "copytruncate",
        "copytruncate\ncompress",
        "create\ncompress\ncompresscmd /usr/bin/zstd\ncompressoptions -q --rm\ncompressext .zst",
        "create\ncompress\ncompresscmd /usr/bin/xz\ncompressext .xz\ndelaycompress",
        "create\nolddir old\ncreateolddir\ncompress\ndelaycompress",
        "create\nextension .log",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let logs = directory.path().join("logs");
        std::fs::create_dir(&logs).unwrap();
        let access = tailcast::log::Access::new([&logs]).unwrap();
        let server =
            TestServer::over(tempfile::tempdir().unwrap(), access, Default::default()).await;
        let path = logs.join("a.log");
        let log = crate::servers::target(&path);
        let mut expected = String::new();
        for turn in 0..=ROTATIONS {
            if turn > 0 {
                if turn > 1 && configuration.contains("%s") {
                    // Two rotations in one second have one name.
                    crate::servers::pace(std::time::Duration::from_millis(1100)).await;
                }
                if rotate(directory.path(), configuration).is_none() {
                    return not_run(
                        "all_bytes_are_there_whatever_logrotate_is_told",
                        "no logrotate",
                    );
                }
            }
            let lines = numbered(&format!("turn {turn}"), 0..300);
            append(&path, &lines);
            expected += &lines;
            let target = format!("/_/text{log}?history=1");
            eventually(&format!("{configuration}: all of it is there"), async || {
                let text = get(server.address, &target, &[]).await;
                if text.body == expected.as_bytes() { Ok(()) } else { Err(text.body.len()) }
            })
            .await;
        }
        let (bytes, told) = streamed(&server, &log, "history=1&lines=all").await;
        assert!(bytes == expected.as_bytes(), "{configuration}: {told:?}");
        // A server that knows nothing of this finds the same.
        let access = tailcast::log::Access::new([&logs]).unwrap();
        let other =
            TestServer::over(tempfile::tempdir().unwrap(), access, Default::default()).await;
        let (bytes, told) = streamed(&other, &log, "history=1&lines=all").await;
        assert!(bytes == expected.as_bytes(), "{configuration}: {told:?}");
        let resets = told.iter().filter(|message| message["type"] == "reset").count();
        assert_eq!(resets, ROTATIONS, "{configuration}: {told:?}");
    }
}
