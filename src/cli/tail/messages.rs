//! Messages on stderr about what happens to the log.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use humansize::{DECIMAL, format_size};

use crate::client::{FollowEvent, Reason, WaitReason};
use crate::render::Exit;
use crate::source::span::Span;

/// Prints messages, unless `--quiet` is given.
pub(super) struct Messages {
    quiet: bool,
    /// stdout and stderr are both a terminal, and most likely the same one.
    is_same_screen: bool,
}

impl Messages {
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, is_same_screen: io::stdout().is_terminal() && io::stderr().is_terminal() }
    }

    pub(super) fn print(&self, message: &str, mid_line: bool) {
        if self.quiet {
            return;
        }
        let newline = if self.is_same_screen && mid_line { "\n" } else { "" };
        // If stderr is closed nobody reads the messages.
        let _printed = writeln!(io::stderr(), "{newline}tailcast: {message}");
    }
}

/// What an event comes after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// The log was followed, or nothing has happened yet.
    Following,
    /// The connection was lost.
    Lost,
    /// There was no log that could be read.
    Waiting,
}

/// The message for an event, if there is one.
pub(super) fn message_for(event: &FollowEvent, before: Before) -> Option<String> {
    let message = match event {
        FollowEvent::Opened { recovered: false, .. } => {
            "connected again, but the last position no longer exists".to_owned()
        }
        FollowEvent::Opened { .. } if before == Before::Lost => "connected again".to_owned(),
        FollowEvent::Reset { reason, from, .. } => match reason {
            Reason::Rotated => "rotated".to_owned(),
            Reason::Truncated => "truncated".to_owned(),
            Reason::Replaced => format!("replaced by another file, continuing at offset {from}"),
            Reason::Late => "late lines of the rotated file".to_owned(),
            Reason::Back if before == Before::Waiting => "the log can be read again".to_owned(),
            Reason::Back => "back to the present file".to_owned(),
            Reason::Other => format!("continuing at offset {from}"),
        },
        FollowEvent::Gap { from, to: Some(to), .. } => {
            let size = format_size(to.saturating_sub(*from), DECIMAL.decimal_places(1));
            format!("{size} were left out (offsets {from} to {to})")
        }
        FollowEvent::Gap { from, to: None, .. } => {
            format!("lines may be missing here, after offset {from}")
        }
        FollowEvent::Notice { message } => message.clone(),
        FollowEvent::Waiting { reason } => match reason {
            WaitReason::Missing | WaitReason::Other => "waiting for the file".to_owned(),
            WaitReason::Untailable => "waiting: the path is not a regular file".to_owned(),
            WaitReason::Unreadable => "waiting: the file cannot be read".to_owned(),
            WaitReason::Unreachable => "waiting: the machine of the log does not answer".to_owned(),
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
    Some(message)
}

/// The message for the end of the command whose output the log is.
pub(super) fn finished(exit: Exit) -> String {
    let status = exit.status.map_or_else(String::new, |status| format!(" with {status}"));
    let took = exit.duration.map(|took| format!(" after {}", Span(Duration::from_millis(took))));
    format!("the command finished{status}{}", took.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Disconnect;

    #[test]
    fn messages_have_sizes_offsets_and_times() {
        let gap = |from, to| {
            message_for(
                &FollowEvent::Gap { generation: String::new(), from, to },
                Before::Following,
            )
            .unwrap()
        };
        assert_eq!(gap(7, Some(3_100_007)), "3.1 MB were left out (offsets 7 to 3100007)");
        assert_eq!(gap(0, Some(999)), "999 B were left out (offsets 0 to 999)");
        assert!(gap(9, None).contains("offset 9"));
        let back = FollowEvent::Reset {
            generation: String::new(),
            from: 0,
            reason: Reason::Back,
            encoding: None,
            container: false,
        };
        let after = |before| message_for(&back, before).unwrap();
        assert_eq!(after(Before::Waiting), "the log can be read again");
        assert_eq!(after(Before::Following), "back to the present file");
        let exit = |status, duration| finished(Exit { status, duration });
        assert_eq!(exit(Some(1), Some(182_400)), "the command finished with 1 after 3 min 2 s");
        assert_eq!(exit(None, None), "the command finished");
        let lost =
            FollowEvent::Lost { why: Disconnect::GoingAway, retry_in: Duration::from_millis(1234) };
        assert_eq!(
            message_for(&lost, Before::Following).unwrap(),
            "connection lost (the server is shutting down), trying again in 1.2 s"
        );
    }
}
