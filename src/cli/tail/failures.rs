//! Why a log cannot be followed, with what to do about it.

use std::path::Path;

use anyhow::anyhow;

use crate::cli::failure::Failure;
use crate::cli::tail::Arguments;
#[cfg(feature = "tls")]
use crate::cli::trust;
use crate::client::{BadUrl, Disconnect, LogUrl, Refused};
use crate::log::pattern::RequestedPath;

/// What each message begins with.
fn cannot_follow(log: &str) -> String {
    format!("cannot follow `{log}`")
}

/// What is wrong with a URL as it was typed, and what to type.
pub(super) fn bad_url(typed: &str, error: BadUrl) -> Failure {
    let hint = match error {
        BadUrl::Tls => "give the http:// URL of the server itself, or reach it through `ssh -L`",
        BadUrl::Scheme(_) => "give a URL that begins with http:// or ws://, or the path of a file",
        BadUrl::Host => "give a URL such as http://127.0.0.1:8765/var/log/app.log",
        BadUrl::Password => "others can see it there: give the name alone, as in http://ann@host/…",
        BadUrl::NoLog => "add the log's absolute path, as in http://127.0.0.1:8765/var/log/app.log",
    };
    Failure::usage(anyhow::Error::new(error).context(cannot_follow(typed)), hint)
}

/// The server cannot be reached, and never was.
pub(super) fn unreachable(log: &str, reason: &Disconnect) -> Failure {
    let hint = match reason {
        Disconnect::Full => "try again later; `-F` keeps trying",
        _ => "is `tailcast serve` running there? `-F` keeps trying",
    };
    Failure::unavailable(anyhow!("{reason}").context(cannot_follow(log)), hint)
}

/// Why a server, or this machine, does not give the log.
pub(super) fn refusal(arguments: &Arguments, refused: Refused) -> Failure {
    let log = &arguments.log;
    let remote = LogUrl::looks_like_url(log);
    if let (Refused::NotFound, false, Err(bad)) =
        (&refused, remote, RequestedPath::of_path(Path::new(log)))
    {
        let error = anyhow::Error::new(refused).context(cannot_follow(log));
        return Failure::unavailable(error, bad.to_string());
    }
    let hint = match &refused {
        Refused::NotFound if arguments.no_follow => "check the path",
        Refused::NotFound if remote => {
            "the server lists its logs at `/`; `-F` waits until the log exists"
        }
        Refused::NotFound if log.rsplit_once('/').is_some_and(|(above, _)| above.contains('*')) => {
            "`*` stands for a part of the file's name only, not of a directory's"
        }
        Refused::NotFound => {
            "`-F` waits until the file exists; for a log on a server give its URL, http://host:port/path"
        }
        Refused::Forbidden if remote => {
            "the server serves other directories: it lists its logs at `/`"
        }
        Refused::Forbidden | Refused::Unreadable => "check its permissions with `ls -l`",
        Refused::Untailable => "give a regular file",
        #[cfg(feature = "tls")]
        Refused::Certificate(untrusted) => trust::hint_for(untrusted),
        #[cfg(feature = "tls")]
        Refused::NotTls => "begin the URL with http://, or give the port that speaks TLS",
        Refused::Foreign(_) => "give the address that `tailcast serve` printed",
        Refused::Status(401, _) if arguments.has_credentials() => {
            "check the name and the password, or the token"
        }
        Refused::Status(401, _) => {
            "sign in: give `--user NAME` and type the password, or `--token-file FILE`"
        }
        Refused::Closed(4401, _) => {
            "the user or the token was removed or changed on the server: sign in again"
        }
        Refused::Status(421, _) => {
            "start the server with `--allow-host NAME`, or use its IP address"
        }
        Refused::Status(..) | Refused::Closed(..) => {
            "check the URL, and the log output of the server"
        }
    };
    Failure::unavailable(anyhow::Error::new(refused).context(cannot_follow(log)), hint)
}
