//! The password or the token for a server: from a file, or as somebody types it.

use std::path::Path;

use anyhow::Context;

use crate::cli::failure::{Failure, OrFail};
use crate::cli::secret;
use crate::cli::tail::Arguments;
use crate::client::{Credentials, LogUrl};

/// What the arguments and the URL say; `None` if they say nothing.
pub(super) fn of(arguments: &Arguments, url: &LogUrl) -> Result<Option<Credentials>, Failure> {
    if let Some(file) = &arguments.token_file {
        let token = first_line(file)?;
        let credentials = Credentials::token(token.trim())
            .with_context(|| format!("`{}` holds no token", file.display()))
            .or_usage("put the token, as `tailcast token` shows it, into the first line")?;
        return Ok(Some(credentials));
    }
    let Some(user) = arguments.user.as_deref().or(url.user()) else {
        return match &arguments.password_file {
            Some(_) => {
                let error = anyhow::anyhow!("there is a password, but no name");
                Err(Failure::usage(error, "give `--user NAME`"))
            }
            None => Ok(None),
        };
    };
    if user.contains(':') {
        return Err(Failure::usage(anyhow::anyhow!("a name has no `:`"), "give the name alone"));
    }
    let password = match &arguments.password_file {
        Some(file) => first_line(file)?,
        None => secret::read(&format!("Password of {user}: "))
            .context("cannot read a password")
            .or_usage("type it on a terminal, or give `--password-file FILE`")?,
    };
    Ok(Some(Credentials::password(user, &password)))
}

fn first_line(file: &Path) -> Result<String, Failure> {
    let failed = || format!("cannot read `{}`", file.display());
    secret::first_line(file).with_context(failed).or_usage("name a file that this user may read")
}
