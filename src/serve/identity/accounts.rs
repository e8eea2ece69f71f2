//! The accounts that the operator makes: users with passwords, and tokens for scripts.
//!
//! Both are files of lines, `NAME:SECRET` or `NAME:SECRET:group,group`. A file holds hashes only. An
//! account never shows its secret, and neither does the message about a wrong line.

use std::fmt::{self, Debug, Display, Formatter};
use std::io;
use std::str::FromStr;

use bcrypt::HashParts;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use crate::serve::settings::Who;

/// The highest cost of a hash. One with cost 15 takes seconds to check.
const COST_MAX: u32 = 15;
/// The length of a bcrypt hash in bytes.
const HASH_BYTES: usize = 60;

/// A digest of SHA-256.
pub(super) type Digest = [u8; 32];

/// What is wrong with a file of accounts, and in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongAccount {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl Display for WrongAccount {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for WrongAccount {}

/// The people who may sign in with a password (`--users`).
#[derive(PartialEq, Eq)]
pub struct Users(Vec<User>);

/// The scripts that identify themselves with a token (`--tokens`).
#[derive(PartialEq, Eq)]
pub struct Tokens(Vec<Token>);

/// One user.
#[derive(PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    /// A bcrypt hash of the password.
    pub(super) hash: String,
    pub(super) cost: u32,
    pub(super) groups: Vec<String>,
    /// Changes with the name and the password. What was begun with another one has ended.
    pub(super) fingerprint: Digest,
}

/// One token.
#[derive(PartialEq, Eq)]
pub(super) struct Token {
    pub(super) name: String,
    pub(super) digest: Digest,
    pub(super) groups: Vec<String>,
}

impl Debug for Users {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|user| &user.name)).finish()
    }
}

impl Debug for Tokens {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|token| &token.name)).finish()
    }
}

impl Debug for User {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("User").field(&self.name).finish()
    }
}

impl Debug for Token {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Token").field(&self.name).finish()
    }
}

const LINE_HINT: &str =
    "a line is `NAME:HASH` or `NAME:HASH:group,group`, and `#` begins a comment";
const USER_HINT: &str = "make the line with `tailcast password NAME` or `htpasswd -nB NAME`";
const TOKEN_HINT: &str = "make the line with `tailcast token NAME`";

impl FromStr for Users {
    type Err = WrongAccount;

    fn from_str(text: &str) -> Result<Self, WrongAccount> {
        let mut users: Vec<User> = Vec::new();
        for line in Line::all(text) {
            let line = line?;
            let wrong = |what: String| line.wrong(what, USER_HINT);
            if users.iter().any(|user| user.name == line.name) {
                return Err(line.wrong(format!("{:?} is there twice", line.name), LINE_HINT));
            }
            let cost = cost_of(line.secret).map_err(wrong)?;
            let fingerprint = sha256(format!("{}:{}", line.name, line.secret).as_bytes());
            let (name, hash) = (line.name.to_owned(), line.secret.to_owned());
            users.push(User { name, hash, cost, groups: line.groups, fingerprint });
        }
        Ok(Self(users))
    }
}

impl FromStr for Tokens {
    type Err = WrongAccount;

    fn from_str(text: &str) -> Result<Self, WrongAccount> {
        let mut tokens: Vec<Token> = Vec::new();
        for line in Line::all(text) {
            let line = line?;
            let digest = digest_of_hex(line.secret).ok_or_else(|| {
                let what = "the token is not a SHA-256 digest of 64 hexadecimal digits";
                line.wrong(what.to_owned(), TOKEN_HINT)
            })?;
            // A name may have several tokens, so that one can be replaced by the next.
            if tokens.iter().any(|token| token.digest == digest) {
                return Err(line.wrong("the token is there twice".to_owned(), TOKEN_HINT));
            }
            tokens.push(Token { name: line.name.to_owned(), digest, groups: line.groups });
        }
        Ok(Self(tokens))
    }
}

impl Users {
    /// The user of this name. The time does not depend on which users there are.
    pub(super) fn named(&self, name: &str) -> Option<&User> {
        let mut found = None;
        for user in &self.0 {
            if user.name == name {
                found = Some(user);
            }
        }
        found
    }

    /// The user at a place that `seed` chooses. None if there are no users.
    pub(super) fn any(&self, seed: usize) -> Option<&User> {
        self.0.get(seed.checked_rem(self.0.len())?)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl Tokens {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Token> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// One line of a file of accounts.
struct Line<'a> {
    number: usize,
    name: &'a str,
    secret: &'a str,
    groups: Vec<String>,
}

impl<'a> Line<'a> {
    /// The lines that hold something.
    fn all(text: &'a str) -> impl Iterator<Item = Result<Self, WrongAccount>> {
        let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
        let full = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        full.map(|(number, line)| Self::parse(number, line))
    }

    fn parse(number: usize, line: &'a str) -> Result<Self, WrongAccount> {
        let wrong = |what: String| WrongAccount { line: number, what, hint: LINE_HINT };
        let mut fields = line.split(':');
        let name = fields.next().unwrap_or_default();
        // The line may be a password alone, so it is not repeated.
        let secret = fields.next().ok_or_else(|| wrong("it has no `:`".to_owned()))?;
        if !is_name(name) {
            return Err(wrong(format!("{name:?} is not a name")));
        }
        let listed = fields.next().unwrap_or_default();
        if fields.next().is_some() {
            return Err(wrong("it has more than three fields".to_owned()));
        }
        let groups = listed.split(',').map(str::trim).filter(|group| !group.is_empty());
        let groups: Vec<String> = groups.map(str::to_owned).collect();
        if let Some(group) = groups.iter().find(|group| !is_name(group)) {
            return Err(wrong(format!("{group:?} is not the name of a group")));
        }
        Ok(Self { number, name, secret, groups })
    }

    fn wrong(&self, what: String, hint: &'static str) -> WrongAccount {
        WrongAccount { line: self.number, what, hint }
    }
}

/// Whether a text can be the name of a user, a token or a group.
#[must_use]
pub fn is_name(text: &str) -> bool {
    matches!(text.parse(), Ok(Who::Named(_)))
}

/// The cost of a bcrypt hash, or what the hash is instead.
fn cost_of(hash: &str) -> Result<u32, String> {
    let is_bcrypt = ["$2a$", "$2b$", "$2y$"].iter().any(|kind| hash.starts_with(kind));
    if !is_bcrypt {
        let kind = match hash {
            hash if hash.starts_with("$apr1$") || hash.starts_with("$1$") => "an MD5 hash",
            hash if hash.starts_with("{SHA}") => "a SHA-1 hash",
            hash if hash.starts_with("$5$") || hash.starts_with("$6$") => "a hash of crypt(3)",
            hash if hash.starts_with("$argon2") => "an Argon2 hash",
            hash if hash.starts_with("$2") => "an old kind of bcrypt hash",
            _ => "no bcrypt hash",
        };
        return Err(format!("the password is {kind}, and only bcrypt is accepted"));
    }
    let parts = hash.parse::<HashParts>().ok().filter(|_| hash.len() == HASH_BYTES);
    let cost = parts.ok_or_else(|| "the bcrypt hash is damaged".to_owned())?.get_cost();
    match cost {
        4..=COST_MAX => Ok(cost),
        _ => {
            Err(format!("the cost of the bcrypt hash is {cost}, and at most {COST_MAX} is useful"))
        }
    }
}

/// The digest of some bytes.
pub(super) fn sha256(bytes: &[u8]) -> Digest {
    let mut result = Digest::default();
    result.copy_from_slice(digest(&SHA256, bytes).as_ref());
    result
}

/// Bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hexadecimal digits stand for; None unless there are exactly `N`.
pub(super) fn of_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..text.len()).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn digest_of_hex(text: &str) -> Option<Digest> {
    of_hex(text)
}

/// The digest of a token in hexadecimal digits, as a tokens file has it.
#[must_use]
pub fn token_digest(token: &str) -> String {
    hex(&sha256(token.as_bytes()))
}

/// A new token, which nobody can guess.
///
/// # Errors
/// When the system has no random numbers.
pub fn new_token() -> io::Result<String> {
    let mut random = [0; 32];
    SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("no random numbers"))?;
    Ok(format!("tailcast_{}", hex(&random)))
}

/// The hash of a password, as a users file has it.
///
/// # Errors
/// For a password of more than [`PASSWORD_BYTES_MAX`](super::PASSWORD_BYTES_MAX) bytes.
pub fn password_hash(password: &str, cost: u32) -> io::Result<String> {
    let parts =
        bcrypt::non_truncating_hash_with_result(password, cost).map_err(io::Error::other)?;
    Ok(parts.format_for_version(bcrypt::Version::TwoY))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The password `open sesame`, with the lowest cost.
    const HASH: &str = "$2y$04$snw.ZbTb2lDvV81UfXWzR.z0hLAugoLmvMq3FFkt1RggR80px.6hG";

    #[test]
    fn a_users_file_has_names_bcrypt_hashes_and_groups() {
        let text = format!("# people\n\nann:{HASH}\r\n  bob:{HASH}:ops, dev\n");
        let users: Users = text.parse().unwrap();
        assert_eq!(users.count(), 2);
        assert_eq!(users.named("bob").unwrap().groups, ["ops", "dev"]);
        let ann = users.named("ann").unwrap();
        assert_eq!((ann.cost, ann.hash.as_str()), (4, HASH));
        assert_ne!(ann.fingerprint, users.named("bob").unwrap().fingerprint);
        assert!(users.named("eve").is_none());
        assert_eq!(format!("{users:?}"), r#"["ann", "bob"]"#, "it shows no hash");
    }

    #[test]
    fn another_kind_of_hash_is_refused_by_line_with_what_to_do() {
        for (secret, named) in [
            ("$apr1$x$y", "MD5"),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"),
            ("$6$salt$hash", "crypt(3)"),
            ("$argon2id$v=19$m", "Argon2"),
            ("$2x$04$abcdefghijklmnopqrstuu", "old kind"),
            ("hunter2", "no bcrypt"),
            ("", "no bcrypt"),
            ("$2y$04$short", "damaged"),
            (&HASH.replace("$04$", "$31$"), "cost"),
        ] {
            let text = format!("ann:{HASH}\nbob:{secret}\n");
            let WrongAccount { line, what, hint } = text.parse::<Users>().unwrap_err();
            assert_eq!(line, 2, "{secret}");
            assert!(what.contains(named), "{secret}: {what}");
            assert!(hint.contains("tailcast password"), "{hint}");
            assert!(!what.contains("hunter2"), "it repeats no secret: {what}");
        }
    }

    #[test]
    fn a_line_that_makes_no_sense_is_refused_without_its_content() {
        for (line, named) in [
            ("hunter2", "no `:`"),
            (":hash", "not a name"),
            ("@ops:hash", "not a name"),
            ("a b:hash", "not a name"),
            (&format!("ann:{HASH}:ops:more"), "three fields"),
            (&format!("ann:{HASH}:@ops"), "name of a group"),
            (&format!("ann:{HASH}\nann:{HASH}"), "twice"),
        ] {
            let wrong = line.parse::<Users>().unwrap_err();
            assert!(wrong.what.contains(named), "{line}: {wrong}");
            assert!(!wrong.what.contains("hunter2"), "{wrong}");
        }
    }

    #[test]
    fn a_tokens_file_has_digests() {
        let digest = token_digest("secret");
        assert_eq!(digest.len(), 64);
        let text = format!("ci:{digest}:robots\nci:{}\n", token_digest("next"));
        let tokens: Tokens = text.parse().unwrap();
        assert_eq!(
            tokens.iter().map(|token| token.name.as_str()).collect::<Vec<_>>(),
            ["ci", "ci"]
        );
        for wrong in ["ci:secret", "ci:", &format!("ci:{digest}\nb:{digest}"), "ci:00"] {
            assert!(wrong.parse::<Tokens>().is_err(), "{wrong}");
        }
    }
}
