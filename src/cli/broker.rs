//! How a command reaches the broker.

use std::path::{Path, PathBuf};

use crate::broker::address::NotAnAddress;
use crate::broker::{BrokerAddress, ConnectFailure, Login, Options, Secret};
use crate::cli::failure::Failure;
use crate::cli::secret;

/// The line that a credentials file with a JWT has.
const JWT: &str = "BEGIN NATS USER JWT";

/// Where the broker is, and what proves to it who this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The text of the address, which may have a password.
    pub(super) url: String,
    /// The credentials file.
    pub(super) credentials: Option<PathBuf>,
    /// The file with certificates of authorities.
    pub(super) authorities: Option<PathBuf>,
}

/// The same without the password.
pub(super) fn address(url: &str) -> Result<BrokerAddress, Failure> {
    url.parse().map_err(|error: NotAnAddress| {
        let error = anyhow::Error::new(error).context("`--nats` has no address of a broker");
        Failure::usage(error, "`--nats nats://127.0.0.1:4222` is the broker of this machine")
    })
}

impl Place {
    /// How to connect, as a connection of this name with its answers below this subject.
    ///
    /// # Errors
    /// When the address is none, or a file can't be used.
    pub(super) fn options(&self, name: String, inbox: String) -> Result<Options, Failure> {
        let mut address = address(&self.url)?;
        let in_url = address.take_login();
        let login = match &self.credentials {
            Some(file) => Some(login(file)?),
            None => in_url,
        };
        if let Some(file) = &self.authorities {
            content(file, "BEGIN CERTIFICATE", "--nats-tls-ca")?;
        }
        Ok(Options { address, login, authorities: self.authorities.clone(), name, inbox })
    }
}

/// What a credentials file proves: a JWT with its key as `nsc` makes it, or a key alone.
fn login(file: &Path) -> Result<Login, Failure> {
    const FLAG: &str = "--nats-creds";
    if let Ok(text) = secret::content(file)
        && !text.contains(JWT)
        && let Some(seed) = text.lines().map(str::trim).find(|line| is_seed(line))
    {
        return Ok(Login::Key(Secret::new(seed)));
    }
    Ok(Login::Credentials(Secret::new(content(file, JWT, FLAG)?)))
}

/// Whether this is the seed of a user's key: 32 bytes with their kind and checksum, in base 32.
fn is_seed(text: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'A'..=b'Z' | b'2'..=b'7');
    text.len() == 58 && text.starts_with("SU") && text.bytes().all(is_digit)
}

/// What is in a file that has to have this in it.
fn content(file: &Path, needed: &str, flag: &str) -> Result<String, Failure> {
    let context = format!("cannot use `{}`, which `{flag}` names", file.display());
    let hint =
        format!("name a file that this user may read and that has a line `-----{needed}-----`");
    match secret::content(file) {
        Ok(text) if text.contains(needed) => Ok(text),
        Ok(_) => Err(Failure::usage(
            anyhow::anyhow!("it is another kind of file").context(context),
            hint,
        )),
        Err(error) => Err(Failure::usage(anyhow::Error::new(error).context(context), hint)),
    }
}

/// Why the broker refuses, and what to do about it.
pub(super) fn refused(failure: ConnectFailure, address: &BrokerAddress) -> Failure {
    let hint = match &failure {
        ConnectFailure::Login(_) => {
            "check the user and the password in the URL (`%40` is an `@` in a password), or the file of \
             `--nats-creds`"
        }
        ConnectFailure::Tls(_) => {
            "name the authority of the broker's certificate with `--nats-tls-ca FILE`, and the broker as \
             its certificate does"
        }
        ConnectFailure::Credentials(_) => {
            "let `nsc` or your provider make the file of `--nats-creds` again"
        }
        ConnectFailure::Away(_) => "start the broker: `nats-server -js`",
    };
    let error = anyhow::Error::new(failure).context(format!("cannot use the broker at {address}"));
    Failure::unavailable(error, hint)
}
