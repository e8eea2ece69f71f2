//! `tailcast completions` and `tailcast man`: what a shell and `man` know of the program.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::failure::{Failure, OrFail};
use crate::cli::print;

const HINT: &str = "name a directory that exists and that this user may write to";

/// Print the completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "bash: tailcast completions bash > \
                        ~/.local/share/bash-completion/completions/tailcast\n\
                        zsh:  tailcast completions zsh > a directory of $fpath, as _tailcast\n\
                        fish: tailcast completions fish > ~/.config/fish/completions/tailcast.fish")]
pub(super) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

/// Print the manual page, or write those of all commands
#[derive(Debug, clap::Args)]
#[command(after_help = "tailcast man | man -l -")]
pub(super) struct ManArguments {
    /// Write a page for each command into this directory: tailcast.1, tailcast-serve.1, …
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

/// Prints the completions of `command` for a shell.
pub(super) fn completions(
    arguments: &CompletionsArguments,
    mut command: Command,
) -> Result<(), Failure> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Prints the manual page of `command`, or writes those of its commands, too.
pub(super) fn man(arguments: &ManArguments, mut command: Command) -> Result<(), Failure> {
    command.build();
    match &arguments.directory {
        None => print(&String::from_utf8_lossy(&page(&command)?)),
        Some(directory) => {
            write(directory, &command)?;
            command
                .get_subcommands()
                .filter(|command| command.get_name() != "help")
                .try_for_each(|command| write(directory, command))
        }
    }
}

fn page(command: &Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page).context("cannot write to memory").or_usage(HINT)?;
    Ok(page)
}

fn write(directory: &Path, command: &Command) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let file = directory.join(format!("{name}.1"));
    fs::write(&file, page(command)?)
        .with_context(|| format!("cannot write `{}`", file.display()))
        .or_usage(HINT)
}
