//! The flags of a client that say whose certificates it trusts.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::cli::failure::Failure;
use crate::client::{Trust, Untrusted};

/// Whose certificates are trusted.
#[derive(Debug, clap::Args)]
pub(super) struct TrustArguments {
    /// With https://: trust only the certificate authorities in this file (PEM) instead of those
    /// that this machine trusts
    #[arg(long, value_name = "FILE", env = "TAILCAST_CA")]
    ca: Option<PathBuf>,

    /// With https://: accept any certificate. Whoever is on the way to the server can then read and
    /// change everything
    #[arg(long)]
    insecure: bool,
}

impl TrustArguments {
    /// What the flags say. None for what this machine trusts.
    pub(super) fn trust(&self) -> Result<Option<Trust>, Failure> {
        if self.insecure {
            // If stderr is closed there is no place left to warn at.
            let _printed = writeln!(
                io::stderr(),
                "tailcast: warning: `--insecure` accepts any certificate, so this may not be the \
                 server that it seems to be"
            );
            return Ok(Some(Trust::anybody()));
        }
        let Some(file) = &self.ca else { return Ok(None) };
        let context = format!("cannot use the certificates in `{}`", file.display());
        let hint = "name a PEM file with `-----BEGIN CERTIFICATE-----`";
        #[expect(clippy::disallowed_methods, reason = "it is no log")]
        let pem = std::fs::read(file).map_err(|error| {
            Failure::usage(anyhow::Error::new(error).context(context.clone()), hint)
        })?;
        let trust = Trust::in_authorities(&pem);
        trust
            .map(Some)
            .map_err(|error| Failure::usage(anyhow::anyhow!(error).context(context), hint))
    }
}

/// What to do about a certificate that is not trusted.
pub(super) fn hint_for(untrusted: &Untrusted) -> &'static str {
    match untrusted {
        Untrusted::Issuer => {
            "give the certificate of the authority with `--ca FILE`; if there is one between it and \
             the server, the server's file must have that, too"
        }
        Untrusted::Authority => {
            "make the server's with `openssl req -x509 … -addext basicConstraints=critical,CA:FALSE`, \
             and give it with `--ca FILE`"
        }
        Untrusted::Time(_) => "renew the certificate of the server, or check the clock here",
        Untrusted::Name(_) => "write the URL with a name that the certificate has",
        Untrusted::Other(_) => "let the server have another certificate",
    }
}
