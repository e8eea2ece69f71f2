//! `tailcast password` and `tailcast token`: lines for the files of `--users` and `--tokens`.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;

use crate::cli::failure::{Failure, OrFail};
use crate::cli::{print, secret};
use crate::serve::{PASSWORD_BYTES_MAX, is_name, new_token, password_hash, token_digest};

/// Make a line for the file of `serve --users`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It asks for the password twice on a terminal, or reads it from standard input.\n\n\
                  tailcast password ann >> users\n\n\
                  Exit codes: 0 the line is on stdout, 2 wrong name or password"
)]
pub(super) struct PasswordArguments {
    /// The name with which the user signs in [default: it asks]
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// How long the password takes to check: each step doubles the time
    #[arg(long, default_value_t = 12, value_name = "N", value_parser = clap::value_parser!(u32).range(4..=15))]
    cost: u32,
}

/// Make a token, and a line for the file of `serve --tokens`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The token itself is shown once, on stderr. The file has only its digest.\n\n\
                        tailcast token ci >> tokens\n\n\
                        Exit codes: 0 the line is on stdout, 2 wrong name"
)]
pub(super) struct TokenArguments {
    /// What the token is for, as rules name it
    #[arg(value_name = "NAME")]
    name: String,
}

const HINT_NAME: &str = "a name has no spaces, `:`, `,` or `*`, and does not begin with `@`";
const HINT_STDIN: &str = "type the password on a terminal, or send it as one line on stdin";

fn check_name(name: &str) -> Result<(), Failure> {
    match is_name(name) {
        true => Ok(()),
        false => Err(Failure::usage(anyhow::anyhow!("{name:?} is not a name"), HINT_NAME)),
    }
}

/// Prints a line for a users file.
pub(super) fn password(arguments: &PasswordArguments) -> Result<(), Failure> {
    let is_terminal = io::stdin().is_terminal();
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None if is_terminal => {
            secret::read_open("Name: ").context("cannot read a name").or_usage(HINT_NAME)?
        }
        None => {
            let error = anyhow::anyhow!("there is no name");
            return Err(Failure::usage(error, "give it as an argument: `tailcast password NAME`"));
        }
    };
    check_name(&name)?;
    let read =
        |prompt: &str| secret::read(prompt).context("cannot read a password").or_usage(HINT_STDIN);
    let password = read("Password: ")?;
    if is_terminal && read("The same again: ")? != password {
        return Err(Failure::usage(anyhow::anyhow!("the two passwords differ"), "try again"));
    }
    if password.is_empty() {
        return Err(Failure::usage(anyhow::anyhow!("the password is empty"), HINT_STDIN));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        let error = anyhow::anyhow!(
            "the password has {} bytes, and bcrypt looks at {PASSWORD_BYTES_MAX} only",
            password.len()
        );
        return Err(Failure::usage(error, "take a shorter one"));
    }
    let hash = password_hash(&password, arguments.cost)
        .context("cannot hash the password")
        .or_usage("try another one")?;
    print(&format!("{name}:{hash}\n"))
}

/// Prints a new token on stderr, and a line for a tokens file on stdout.
pub(super) fn token(arguments: &TokenArguments) -> Result<(), Failure> {
    let name = &arguments.name;
    check_name(name)?;
    let token = new_token().context("cannot make a token").or_unavailable("try again")?;
    writeln!(
        io::stderr(),
        "The token, which is shown only now. Send it as `Authorization: Bearer TOKEN`, or put it \
         into a file for `tailcast tail --token-file FILE`:\n{token}\n\
         The line for the file of `--tokens`:"
    )
    .context("cannot write to stderr")
    .or_unavailable("check where stderr is redirected to")?;
    print(&format!("{name}:{}\n", token_digest(&token)))
}
