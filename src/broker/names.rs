//! The names of machines, and the subjects that are made of them.
//!
//! A subject is a list of tokens between dots, and permissions are given by them. So the token of a
//! machine is its name, as far as possible, and that of a log is short, whatever its path.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

/// The stream that keeps what agents publish.
pub const STREAM: &str = "TAILCAST";
/// The subjects of the stream: `tailcast.log.HOST.LOG`.
pub const STREAM_SUBJECTS: &str = "tailcast.log.>";
/// Edges ask here which machines there are. Each agent answers on its [`here`].
pub const HELLO: &str = "tailcast.hello";
/// All subjects on which agents say that they are there.
pub const ALL_HERE: &str = "tailcast.here.*";
/// Below this an edge gets its answers.
pub const EDGE_INBOX: &str = "tailcast.inbox.edge";

/// Linux allows host names of as many bytes.
const HOST_BYTES_MAX: usize = 64;
/// How many bytes of the hash of a path are in its token.
const HASH_BYTES: usize = 16;
/// What is encoded in a path besides controls and what is not ASCII: the space, which separates the
/// fields of a list, and the escape itself.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// The name of a machine: letters, digits, `.`, `-` and `_`, at most 64 of them, and not `.` first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Arc<str>);

/// A text that names no machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAHostName;

impl Display for NotAHostName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the name of a machine has 1 to {HOST_BYTES_MAX} letters, digits, `.`, `-` and `_`, and \
             begins with a letter or a digit"
        )
    }
}

impl std::error::Error for NotAHostName {}

impl FromStr for HostName {
    type Err = NotAHostName;

    fn from_str(name: &str) -> Result<Self, NotAHostName> {
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let begins_well = name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
        if begins_well && name.len() <= HOST_BYTES_MAX && name.bytes().all(is_plain) {
            Ok(Self(name.into()))
        } else {
            Err(NotAHostName)
        }
    }
}

impl Display for HostName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HostName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &Arc<str> {
        &self.0
    }

    /// Its token: the name with `=` for each `.`, which separates tokens.
    #[must_use]
    pub fn token(&self) -> String {
        self.0.replace('.', "=")
    }

    /// The machine of a token.
    #[must_use]
    pub fn of_token(token: &str) -> Option<Self> {
        if token.contains('.') { None } else { token.replace('=', ".").parse().ok() }
    }

    /// The machine of a subject that one of the functions here has made.
    #[must_use]
    pub fn of_subject(subject: &str) -> Option<Self> {
        Self::of_token(subject.split('.').nth(2)?)
    }
}

/// The subject on which the agent of a machine says that it is there.
#[must_use]
pub fn here(host: &HostName) -> String {
    format!("tailcast.here.{}", host.token())
}

/// The subject on which the agent of a machine is asked.
#[must_use]
pub fn ask(host: &HostName) -> String {
    format!("tailcast.ask.{}", host.token())
}

/// Below this the agent of a machine gets its answers.
#[must_use]
pub fn agent_inbox(host: &HostName) -> String {
    format!("tailcast.inbox.agent.{}", host.token())
}

/// The subject of a log of a machine. It does not say the path: that is in each message.
#[must_use]
pub fn log(host: &HostName, path: &[u8]) -> String {
    format!("tailcast.log.{}.{}", host.token(), log_token(path))
}

/// The beginning of the hash of a path (SHA-256), in hexadecimal.
fn log_token(path: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, path);
    hash.as_ref().iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// A path as the value of a header and in lists. It has no space and no newline.
#[must_use]
pub fn encode_path(path: &[u8]) -> String {
    percent_encode(path, ENCODED).to_string()
}

/// The path of such a text.
#[must_use]
pub fn decode_path(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_name_of_a_machine_is_its_token_where_it_has_no_dot() {
        for (name, token) in
            [("web-1", "web-1"), ("db_2.example.com", "db_2=example=com"), ("A", "A")]
        {
            let host: HostName = name.parse().unwrap();
            assert_eq!(host.token(), token);
            assert_eq!(HostName::of_token(token).unwrap().to_string(), name);
            assert_eq!(HostName::of_subject(&log(&host, b"/x")).unwrap(), host);
        }
    }

    #[test]
    fn a_name_that_could_reach_further_than_its_machine_is_refused() {
        let long = "x".repeat(65);
        for name in ["", ".", "*", ">", "a.>", "a b", "a/b", "@a", "a=b", "é", "-a", "a\n", &long]
        {
            assert_eq!(name.parse::<HostName>(), Err(NotAHostName), "{name:?}");
        }
        assert!("x".repeat(64).parse::<HostName>().is_ok());
        assert_eq!(HostName::of_token("a.b"), None);
    }

    proptest! {
        #[test]
        fn two_machines_never_have_one_token(one in "[A-Za-z0-9][A-Za-z0-9._-]{0,20}",
                                             other in "[A-Za-z0-9][A-Za-z0-9._-]{0,20}") {
            let token = |name: &str| name.parse::<HostName>().unwrap().token();
            prop_assert_eq!(token(&one) == token(&other), one == other);
            prop_assert!(!token(&one).contains(['.', '*', '>', ' ']));
        }

        #[test]
        fn a_subject_is_short_whatever_the_path(path: Vec<u8>) {
            let host = "x".repeat(64).parse().unwrap();
            let subject = log(&host, &path);
            prop_assert!(subject.len() < 200);
            prop_assert_eq!(subject.split('.').count(), 4);
        }

        #[test]
        fn a_path_survives_its_text(path: Vec<u8>) {
            let text = encode_path(&path);
            let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
            prop_assert!(is_plain, "{}", text);
            prop_assert_eq!(decode_path(&text), path);
        }
    }
}
