//! stderr: what happens to the log, in words.

use std::io::{self, IsTerminal, Write};

use crate::client::{FollowEvent, Reason, WaitReason};

/// Who talks.
pub(super) struct Messages {
    quiet: bool,
    /// stdout and stderr are the same screen, as far as can be told.
    shared: bool,
}

impl Messages {
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, shared: io::stdout().is_terminal() && io::stderr().is_terminal() }
    }

    pub(super) fn say(&self, words: &str, mid_line: bool) {
        if self.quiet {
            return;
        }
        let newline = if self.shared && mid_line { "\n" } else { "" };
        // With stderr closed there is nobody to tell.
        let _told = writeln!(io::stderr(), "{newline}tailcast: {words}");
    }
}

/// What to say of it, if anything. `back` is whether the connection was lost before.
pub(super) fn notice(heard: &FollowEvent, back: bool) -> Option<String> {
    let words = match heard {
        FollowEvent::Opened { recovered: false, .. } => {
            "connected again, but the place is not to be found any more".to_owned()
        }
        FollowEvent::Opened { .. } if back => "connected again".to_owned(),
        FollowEvent::Reset { reason, from, .. } => match reason {
            Reason::Rotated => "rotated".to_owned(),
            Reason::Truncated => "truncated".to_owned(),
            Reason::Replaced => format!("replaced by another file, which starts at offset {from}"),
            Reason::Late => "the file that was rotated away was written to once more".to_owned(),
            Reason::Back => "back to the present file".to_owned(),
            Reason::Other => format!("on at offset {from}"),
        },
        FollowEvent::Gap { from, to: Some(to), .. } => {
            let size = size(to.saturating_sub(*from));
            format!("{size} were left out (offsets {from} to {to})")
        }
        FollowEvent::Gap { from, to: None, .. } => {
            format!("an unknown number of bytes was left out, from offset {from}")
        }
        FollowEvent::Waiting { reason } => match reason {
            WaitReason::Missing | WaitReason::Other => "waiting for the file".to_owned(),
            WaitReason::Untailable => "waiting: what has the name is no regular file".to_owned(),
            WaitReason::Unreadable => "waiting: the file can't be read".to_owned(),
        },
        FollowEvent::Lost { why, retry_in } => {
            format!("connection lost ({why}), trying again in {:.1} s", retry_in.as_secs_f64())
        }
        FollowEvent::Opened { .. }
        | FollowEvent::Bytes { .. }
        | FollowEvent::Rows { .. }
        | FollowEvent::End => {
            return None;
        }
    };
    Some(words)
}

fn size(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::Disconnect;

    #[test]
    fn notices_have_sizes_places_and_times() {
        let gap = |from, to| {
            notice(&FollowEvent::Gap { generation: String::new(), from, to }, false).unwrap()
        };
        assert_eq!(gap(7, Some(3_100_007)), "3.1 MB were left out (offsets 7 to 3100007)");
        assert_eq!(gap(0, Some(999)), "999 bytes were left out (offsets 0 to 999)");
        assert!(gap(9, None).contains("offset 9"));
        let lost =
            FollowEvent::Lost { why: Disconnect::GoingAway, retry_in: Duration::from_millis(1234) };
        assert_eq!(
            notice(&lost, false).unwrap(),
            "connection lost (the server is going away), trying again in 1.2 s"
        );
    }
}
