//! `tailcast config`: checks a configuration file, and says what it means.

use std::fmt::Write;
use std::path::PathBuf;

use humansize::{BINARY, format_size};

use crate::cli::failure::Failure;
use crate::cli::serve::arguments::{Arguments, Compress};
use crate::cli::serve::certificate::Loaded;
use crate::cli::serve::config_file::{self, ConfigFile};
use crate::cli::serve::layers::Configuration;
use crate::cli::{AccessLogFormat, print};
use crate::render::Decode;
use crate::serve::{Heartbeat, Rule, Settings};

/// Check a configuration file of `serve`, and say what it means
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It says what the file means without flags and variables, which win over it.\n\n\
                        Exit codes: 0 the file is right, 2 it is wrong"
)]
pub(in crate::cli) struct ConfigArguments {
    /// The file (TOML), as for `tailcast serve --config`
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Checks a file, and prints what it means.
pub(in crate::cli) fn check(arguments: &ConfigArguments) -> Result<(), Failure> {
    let path = &arguments.file;
    let content = config_file::read(path).map_err(|error| {
        let context = format!("cannot read the configuration `{}`", path.display());
        let hint = "name a file that this user may read";
        Failure::usage(anyhow::Error::new(error).context(context), hint)
    })?;
    let configuration = Configuration::of_file(path.clone(), ConfigFile::parse(path, &content)?)?;
    let certificate = Loaded::of(&configuration)?;
    certificate.warn();
    let prefixes = configuration.access(&[])?.prefixes();
    let prefixes: Vec<String> =
        prefixes.iter().map(|prefix| prefix.display().to_string()).collect();
    let mut text = format!("`{}` is right. With it, the server\n", path.display());
    for sentence in meaning(&configuration, &certificate, &prefixes) {
        // Writing to a string does not fail.
        let _written = writeln!(text, "- {sentence}");
    }
    print(&text)
}

/// How visitors say who they are.
fn identity(configuration: &Configuration) -> String {
    let arguments = &configuration.arguments;
    let mut ways = Vec::new();
    if let Some(users) = &configuration.accounts.users {
        ways.push(format!("by the passwords of {} users", users.count()));
    }
    if let Some(tokens) = &configuration.accounts.tokens {
        ways.push(format!("by {} tokens", tokens.count()));
    }
    if let Some(header) = &arguments.user_header {
        ways.push(format!("by the header `{header}` of the proxies"));
    }
    match ways.as_slice() {
        [] => "asks nobody who they are".to_owned(),
        ways => format!("lets nobody read before it knows them: {}", ways.join(", or ")),
    }
}

/// Who may read what.
fn rights(settings: &Settings) -> String {
    let rule = |rule: &Rule| {
        let who: Vec<String> = rule.who.iter().map(ToString::to_string).collect();
        let read: Vec<String> = rule.read.iter().map(|path| path.display().to_string()).collect();
        format!("{} may read {}", who.join(", "), read.join(", "))
    };
    match settings.rules.as_slice() {
        [] => "lets everybody whom it admits read all of it".to_owned(),
        rules => {
            let rules: Vec<String> = rules.iter().map(rule).collect();
            format!("lets everybody read what a rule gives them: {}", rules.join("; "))
        }
    }
}

/// What a server does with a configuration, each thing as the rest of a sentence.
fn meaning(
    configuration: &Configuration,
    certificate: &Loaded,
    prefixes: &[String],
) -> Vec<String> {
    let arguments = &configuration.arguments;
    let Settings { heartbeat, heartbeat_interval, stall_timeout, rotate_wait, .. } =
        configuration.settings();
    let named = |names: &[String], none: &str| match names {
        [] => none.to_owned(),
        names => names.join(", "),
    };
    let seconds = heartbeat_interval.as_secs();
    vec![
        serves(prefixes, arguments),
        format!(
            "listens on {}",
            configuration.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ),
        certificate.meaning(),
        match arguments.base_path.as_str() {
            "" => "serves everything directly under its host name".to_owned(),
            base => format!("serves everything under the path {base}/"),
        },
        format!(
            "answers to IP addresses, localhost{}",
            arguments.allow_hosts.iter().map(|host| format!(", {host}")).collect::<String>()
        ),
        format!(
            "lets these pages of other servers read logs: {}",
            named(&arguments.allow_origins, "none")
        ),
        format!(
            "believes these proxies when they say for whom they ask: {}",
            named(
                &arguments.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "none"
            )
        ),
        identity(configuration),
        rights(&configuration.settings()),
        format!("takes at most {} viewers", arguments.max_viewers),
        format!("closes a viewer that takes nothing for {} s", stall_timeout.as_secs_f64()),
        match heartbeat {
            Heartbeat::Off => "does not notice viewers that vanish".to_owned(),
            Heartbeat::Ping => format!("notices viewers that vanish by a ping every {seconds} s"),
            Heartbeat::Text => {
                format!("notices viewers that vanish by the text `ping` every {seconds} s")
            }
        },
        match arguments.compress {
            Compress::Auto => "compresses messages for viewers that can read them so".to_owned(),
            Compress::Off => "compresses no messages".to_owned(),
        },
        match configuration.settings().decode {
            Decode::Auto => "shows what programs in containers wrote".to_owned(),
            Decode::Off => "shows the lines of container runtimes as they are".to_owned(),
        },
        format!("takes the time zone {} for times that say none", arguments.zone),
        match arguments.access_log {
            AccessLogFormat::Text => "writes a line for each viewer and refused request".to_owned(),
            AccessLogFormat::Json => {
                "writes an object of JSON for each viewer and refused request".to_owned()
            }
            AccessLogFormat::Off => "writes nothing about viewers and refused requests".to_owned(),
        },
        format!(
            "keeps at most {} of standard input and of each log of the journal",
            format_size(arguments.spool_max, BINARY)
        ),
        machines(arguments),
        format!("reads a rotated file for {} s more", rotate_wait.as_secs_f64()),
        format!(
            "keeps the content of compressed logs in {}, at most {} of it",
            arguments.cache_dir.as_deref().map_or_else(
                || "the cache directory of its user".to_owned(),
                |directory| directory.display().to_string()
            ),
            humansize::format_size(arguments.cache_max, humansize::BINARY)
        ),
    ]
}

/// What is served of other machines.
fn machines(arguments: &Arguments) -> String {
    let nothing = "serves no logs of other machines".to_owned();
    #[cfg(feature = "nats")]
    if arguments.brings_others() {
        return format!(
            "serves the logs of other machines over a NATS broker, and keeps at most {} of them in {}",
            format_size(arguments.spool_bytes, BINARY),
            arguments.spool.as_deref().map_or_else(
                || "the state directory".to_owned(),
                |directory| directory.display().to_string()
            )
        );
    }
    let _ = arguments;
    nothing
}

/// What is served.
fn serves(prefixes: &[String], arguments: &Arguments) -> String {
    let mut what = Vec::new();
    if arguments.wants_stdin() {
        what.push("standard input".to_owned());
    }
    if arguments.journal {
        what.push("the journal and its units".to_owned());
    }
    if !prefixes.is_empty() {
        what.push(format!("the logs under {}", prefixes.join(", ")));
    }
    format!("serves {}", what.join(", and "))
}
