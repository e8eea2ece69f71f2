//! The settings of a server from their three layers: the command line wins over the environment,
//! and that over the configuration file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::cli::failure::Failure;
use crate::cli::listen::ListenAddress;
use crate::cli::serve::accounts::{self, Accounts};
use crate::cli::serve::arguments::{Arguments, prefixes_of_environment};
use crate::cli::serve::config_file::{self, ConfigFile};
use crate::cli::serve::stdin::STDIN_PATH;
use crate::log::Access;
use crate::serve::{Rule, Sessions, Settings};

/// Flags that a running server cannot change.
const NEEDS_RESTART: &[&str] = &[
    "host",
    "port",
    "listen",
    "base-path",
    "heartbeat",
    "access-log",
    "rotate-wait",
    "spool-max",
    "journal",
    "nats",
    "nats-creds",
    "nats-tls-ca",
    "spool",
    "spool-bytes",
    "state-dir",
    "cache-dir",
    "cache-max",
];

/// What is said on the command line and in the environment. The file can be read again and again;
/// this stays.
#[derive(Debug)]
pub(super) struct Given {
    /// The arguments after `serve`.
    arguments: Vec<OsString>,
    /// The flags that these or the environment set, and which of the two.
    said: BTreeMap<String, Layer>,
    /// The configuration file.
    pub(super) file: Option<PathBuf>,
    /// The files and directories that sources write, if they are served, by their paths as logs.
    pub(super) sources: Vec<(PathBuf, PathBuf)>,
}

/// Where a flag is set. The later ones win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    File,
    Environment,
    CommandLine,
}

impl Layer {
    fn of(matches: &ArgMatches, id: &str) -> Option<Self> {
        match matches.value_source(id)? {
            ValueSource::CommandLine => Some(Self::CommandLine),
            ValueSource::EnvVariable => Some(Self::Environment),
            _ => None,
        }
    }
}

/// Everything that a server is told, complete and checked.
#[derive(Debug)]
pub(super) struct Configuration {
    pub(super) arguments: Arguments,
    /// The addresses to listen on. Never empty.
    pub(super) listen: Vec<ListenAddress>,
    rules: Vec<Rule>,
    /// The users and tokens, from their files.
    pub(super) accounts: Accounts,
    /// The values of all flags, as texts.
    values: BTreeMap<String, Vec<OsString>>,
}

impl Given {
    /// What this process was given.
    pub(super) fn on_command_line(arguments: Arguments, matches: &ArgMatches) -> Self {
        // Before the subcommand only the program's name can stand.
        let after_serve = std::env::args_os().skip(2).collect();
        Self::new(after_serve, arguments.config, matches)
    }

    fn new(arguments: Vec<OsString>, file: Option<PathBuf>, matches: &ArgMatches) -> Self {
        let command = serve_command();
        let layer = |flag: &clap::Arg| {
            Some((flag.get_long()?.to_owned(), Layer::of(matches, flag.get_id().as_str())?))
        };
        let mut said: BTreeMap<String, Layer> = command.get_arguments().filter_map(layer).collect();
        if Layer::of(matches, "prefixes").is_some() {
            said.insert("prefix".to_owned(), Layer::CommandLine);
        } else if !prefixes_of_environment().is_empty() {
            said.entry("prefix".to_owned()).or_insert(Layer::Environment);
        }
        Self { arguments, said, file, sources: Vec::new() }
    }

    /// Whether standard input is served.
    pub(super) fn has_stdin(&self) -> bool {
        self.sources.iter().any(|(path, _)| path == Path::new(STDIN_PATH))
    }

    /// All layers, with the file as it is now, and the content of the file.
    pub(super) fn configuration(&self) -> Result<(Configuration, Vec<u8>), Failure> {
        let Some(path) = &self.file else {
            return Ok((self.over(ConfigFile::default())?, Vec::new()));
        };
        let content = config_file::read(path).map_err(|error| {
            let hint = "name a file that this user may read";
            let context = format!("cannot read the configuration `{}`", path.display());
            Failure::usage(anyhow::Error::new(error).context(context), hint)
        })?;
        Ok((self.over(ConfigFile::parse(path, &content)?)?, content))
    }

    /// All layers, with what a file says as the lowest.
    pub(super) fn over(&self, file: ConfigFile) -> Result<Configuration, Failure> {
        let mut all = vec![OsString::from("serve")];
        for key in file.keys.iter().filter(|key| !self.said.contains_key(&key.name)) {
            all.extend(key.values.iter().map(|value| format!("--{}={value}", key.name).into()));
        }
        all.extend(self.arguments.iter().cloned());
        let mut layers = self.said.clone();
        for key in &file.keys {
            layers.entry(key.name.clone()).or_insert(Layer::File);
        }
        Configuration::of(serve_command(), all, &layers, file.rules)
    }
}

impl Configuration {
    /// What a file says alone, without the command line and the environment.
    pub(super) fn of_file(path: PathBuf, file: ConfigFile) -> Result<Self, Failure> {
        let mut all = vec![OsString::from("serve"), OsString::from("--config"), path.into()];
        for key in &file.keys {
            all.extend(key.values.iter().map(|value| format!("--{}={value}", key.name).into()));
        }
        let layers = file.keys.iter().map(|key| (key.name.clone(), Layer::File)).collect();
        Self::of(config_file::flags(), all, &layers, file.rules)
    }

    fn of(
        command: Command,
        all: Vec<OsString>,
        layers: &BTreeMap<String, Layer>,
        rules: Vec<Rule>,
    ) -> Result<Self, Failure> {
        const HINT: &str = "`tailcast serve --help` describes the flags";
        let longs: Vec<(String, String)> = command
            .get_arguments()
            .filter_map(|flag| Some((flag.get_long()?.to_owned(), flag.get_id().to_string())))
            .collect();
        let wrong = |error: clap::Error| Failure::usage(error, HINT);
        let matches = command.try_get_matches_from(all).map_err(wrong)?;
        let values = longs
            .into_iter()
            .map(|(name, id)| {
                let raw = matches.get_raw(&id).into_iter().flatten();
                (name, raw.map(ToOwned::to_owned).collect())
            })
            .collect();
        let arguments = Arguments::from_arg_matches(&matches).map_err(wrong)?;
        let listen = addresses(&arguments, layers)?;
        check_certificate_flags(&arguments)?;
        check_broker_flags(&arguments)?;
        check_identity(&arguments, &rules)?;
        let accounts = Accounts::read(&arguments)?;
        Ok(Self { arguments, listen, rules, accounts, values })
    }

    /// The sessions of browsers, if there are users who could sign in.
    pub(super) fn sessions(&self) -> Result<Option<Sessions>, Failure> {
        match self.accounts.users {
            Some(_) => accounts::sessions(self.arguments.state_dir.as_deref()).map(Some),
            None => Ok(None),
        }
    }

    /// Opens the prefixes, and the sources as far as they are wanted: standard input where it is one
    /// of the prefixes, and the journal.
    pub(super) fn access(&self, sources: &[(PathBuf, PathBuf)]) -> Result<Access, Failure> {
        let Some(prefixes) = self.arguments.wanted_paths() else {
            let error = anyhow::anyhow!("the configuration names nothing to serve");
            return Err(Failure::usage(error, "add a line such as `prefix = [\"/var/log\"]`"));
        };
        let is_wanted = |path: &Path| path != Path::new(STDIN_PATH) || self.arguments.wants_stdin();
        let sources = sources.iter().filter(|(path, _)| is_wanted(path)).cloned();
        let access = Access::with_named(prefixes, sources).map_err(|error| {
            let hint = error.hint();
            Failure::usage(error, hint)
        })?;
        let Arguments { cache_dir, cache_max, .. } = &self.arguments;
        access.archives().configure(cache_dir.clone(), *cache_max).map_err(|error| {
            Failure::usage(error, "name a directory that this user may write to: `--cache-dir DIR`")
        })?;
        Ok(access)
    }

    /// The files with the certificates and with the key.
    pub(super) fn certificate_files(&self) -> Option<(&Path, &Path)> {
        #[cfg(feature = "tls")]
        let files = self.arguments.tls_cert.as_deref().zip(self.arguments.tls_key.as_deref());
        #[cfg(not(feature = "tls"))]
        let files = None;
        files
    }

    /// The scheme of the TCP addresses.
    pub(super) fn scheme(&self) -> &'static str {
        if self.certificate_files().is_some() { "https" } else { "http" }
    }

    /// The settings of the server, without the certificate.
    pub(super) fn settings(&self) -> Settings {
        self.arguments.settings(&self.listen, self.rules.clone(), &self.accounts)
    }

    /// The flags that another configuration sets in another way: those that a running server can
    /// change, and those that need a restart.
    pub(super) fn changes(&self, other: &Self) -> (Vec<&str>, Vec<&str>) {
        let differs = |(name, values): &(&String, &Vec<OsString>)| {
            other.values.get(*name).is_none_or(|others| others != *values)
        };
        let changed = self.values.iter().filter(differs).map(|(name, _)| name.as_str());
        let switches_tls =
            self.certificate_files().is_some() != other.certificate_files().is_some();
        let (fixed, mut changed): (Vec<_>, Vec<_>) = changed.partition(|name| {
            NEEDS_RESTART.contains(name) || (switches_tls && name.starts_with("tls-"))
        });
        if self.rules != other.rules {
            changed.push("allow");
        }
        // The name of a file may be the same, and its content another one.
        let contents = [
            ("users", self.accounts.users == other.accounts.users),
            ("tokens", self.accounts.tokens == other.accounts.tokens),
        ];
        for (name, is_same) in contents {
            if !is_same && !changed.contains(&name) {
                changed.push(name);
            }
        }
        (changed, fixed)
    }

    /// Refuses to open to everybody what `present` does not. A file of which only the beginning was
    /// written yet, or that was cut off, looks like this.
    pub(super) fn check_instead_of(&self, present: &Self) -> Result<(), Failure> {
        let hint = "restart the server if that is wanted";
        if present.settings().needs_identity() && !self.settings().needs_identity() {
            let words = "it asks nobody any more who they are, so everybody would read the logs";
            return Err(Failure::usage(anyhow::anyhow!(words), hint));
        }
        if !present.rules.is_empty() && self.rules.is_empty() {
            let words =
                "it has no rules any more, so everybody who is signed in would read everything";
            return Err(Failure::usage(anyhow::anyhow!(words), hint));
        }
        Ok(())
    }

    /// Sets what a running server cannot change to what it was started with.
    pub(super) fn keep_fixed(&mut self, first: &Self) {
        let (now, then) = (&mut self.arguments, &first.arguments);
        self.listen.clone_from(&first.listen);
        now.base_path.clone_from(&then.base_path);
        now.heartbeat = then.heartbeat;
        now.rotate_wait = then.rotate_wait;
        now.spool_max = then.spool_max;
        now.journal = then.journal;
        now.state_dir.clone_from(&then.state_dir);
        now.cache_dir.clone_from(&then.cache_dir);
        now.cache_max = then.cache_max;
        #[cfg(feature = "nats")]
        {
            now.nats.clone_from(&then.nats);
            now.nats_creds.clone_from(&then.nats_creds);
            now.nats_tls_ca.clone_from(&then.nats_tls_ca);
            now.spool.clone_from(&then.spool);
            now.spool_bytes = then.spool_bytes;
        }
        #[cfg(feature = "tls")]
        if now.tls_cert.is_some() != then.tls_cert.is_some() {
            now.tls_cert.clone_from(&then.tls_cert);
            now.tls_key.clone_from(&then.tls_key);
        }
    }
}

/// Refuses what would protect nothing.
fn check_identity(arguments: &Arguments, rules: &[Rule]) -> Result<(), Failure> {
    let Arguments { users, tokens, user_header, group_header, trusted_proxies, .. } = arguments;
    let refused = |what: &'static str, hint| Err(Failure::usage(anyhow::anyhow!(what), hint));
    if user_header.is_some() && trusted_proxies.is_empty() {
        return refused(
            "`user-header` is believed from trusted proxies only, and there are none",
            "name the proxy: `--trusted-proxy 127.0.0.1`",
        );
    }
    if group_header.is_some() && user_header.is_none() {
        return refused(
            "`group-header` needs `user-header`",
            "name the header in which the proxy says who the visitor is",
        );
    }
    // Nobody may believe that a rule protects what everybody can read.
    if !rules.is_empty() && users.is_none() && tokens.is_none() && user_header.is_none() {
        return refused(
            "the rules in `[[allow]]` cannot be kept: this server does not know who its visitors are",
            "add `users`, `tokens` or `user-header`, or remove the rules",
        );
    }
    Ok(())
}

/// The addresses to listen on: those of `--listen`, or that of `--host` and `--port`, whichever
/// stands in the higher layer.
fn addresses(
    arguments: &Arguments,
    layers: &BTreeMap<String, Layer>,
) -> Result<Vec<ListenAddress>, Failure> {
    let listen = layers.get("listen").filter(|_| !arguments.listen.is_empty());
    let host_or_port = layers.get("host").max(layers.get("port"));
    if listen.is_some() && listen == host_or_port {
        let error = anyhow::anyhow!("`listen` stands instead of `host` and `port`");
        return Err(Failure::usage(error, "give `--listen HOST:PORT` alone"));
    }
    if listen > host_or_port {
        return Ok(arguments.listen.clone());
    }
    Ok(vec![ListenAddress::Tcp { host: arguments.host.clone(), port: arguments.port }])
}

/// Refuses a certificate without a key, and a key without a certificate.
fn check_certificate_flags(arguments: &Arguments) -> Result<(), Failure> {
    #[cfg(feature = "tls")]
    if arguments.tls_cert.is_some() != arguments.tls_key.is_some() {
        let error = anyhow::anyhow!("`tls-cert` and `tls-key` need each other");
        return Err(Failure::usage(error, "give `--tls-cert FILE` and `--tls-key FILE`"));
    }
    let _ = arguments;
    Ok(())
}

/// Refuses what is for a broker where there is none.
fn check_broker_flags(arguments: &Arguments) -> Result<(), Failure> {
    #[cfg(feature = "nats")]
    if arguments.nats.is_none()
        && (arguments.nats_creds.is_some() || arguments.nats_tls_ca.is_some())
    {
        let error = anyhow::anyhow!("`nats-creds` and `nats-tls-ca` need `nats`");
        return Err(Failure::usage(error, "name the broker: `--nats nats://HOST:4222`"));
    }
    let _ = arguments;
    Ok(())
}

fn serve_command() -> Command {
    Arguments::augment_args(Command::new("serve"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(arguments: &[&str]) -> Given {
        let all = std::iter::once("serve").chain(arguments.iter().copied());
        let matches = config_file::flags().try_get_matches_from(all).unwrap();
        let arguments = arguments.iter().map(OsString::from).collect();
        let file = matches.get_one::<PathBuf>("config").cloned();
        Given::new(arguments, file, &matches)
    }

    fn file(text: &str) -> ConfigFile {
        ConfigFile::parse(Path::new("a.toml"), text.as_bytes()).unwrap()
    }

    #[test]
    fn a_flag_wins_over_the_file_even_if_it_repeats_the_default() {
        let text = "port = 1\nmax-viewers = 5\nprefix = ['/usr']\nallow-host = ['a', 'b']\n";
        let over = |arguments: &[&str]| given(arguments).over(file(text)).unwrap().arguments;
        let from_file = over(&["--config", "a.toml"]);
        assert_eq!((from_file.port, from_file.max_viewers), (1, 5));
        assert_eq!(from_file.allow_hosts, ["a", "b"]);
        assert_eq!(from_file.wanted_prefixes(), Some(vec!["/usr".into()]));
        let said = ["--config=a.toml", "--port", "8765", "/etc", "--allow-host", "c"];
        let both = over(&said);
        assert_eq!((both.port, both.max_viewers), (8765, 5));
        assert_eq!(both.allow_hosts, ["c"], "a list is replaced, not joined");
        assert_eq!(both.wanted_prefixes(), Some(vec!["/etc".into()]));
        assert_eq!(over(&["--prefix", "/etc"]).wanted_prefixes(), Some(vec!["/etc".into()]));
    }

    #[test]
    fn a_file_that_names_no_prefix_opens_none_by_chance() {
        let none = given(&["--config", "a.toml"]).over(file("port = 1")).unwrap();
        assert_eq!(none.arguments.wanted_prefixes(), None);
        assert!(none.access(&[]).unwrap_err().causes().contains("nothing to serve"));
        let without_file = given(&[]).over(ConfigFile::default()).unwrap();
        assert_eq!(without_file.arguments.wanted_prefixes(), Some(vec![".".into()]));
    }

    #[test]
    fn changes_are_told_apart_by_whether_they_need_a_restart() {
        let of = |text: &str| given(&["--config", "a.toml"]).over(file(text)).unwrap();
        let first = of("port = 1\nhost = 'a'\nallow-host = ['x']");
        let mut second = of("port = 2\nhost = 'a'\nallow-host = ['x', 'y']\nheartbeat = 20");
        assert_eq!(second.changes(&first), (vec!["allow-host"], vec!["heartbeat", "port"]));
        assert_eq!(first.changes(&first), (vec![], vec![]));
        second.keep_fixed(&first);
        assert_eq!(second.listen, [ListenAddress::Tcp { host: "a".into(), port: 1 }]);
        assert_eq!(second.settings().heartbeat_interval, first.settings().heartbeat_interval);
        assert_eq!(second.settings().allow_hosts, ["x", "y", "a"]);
    }

    #[test]
    fn the_address_is_that_of_the_highest_layer() {
        let over = |arguments: &[&str], text: &str| {
            let configuration = given(arguments).over(file(text));
            configuration.map(|configuration| {
                configuration.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            })
        };
        let listen = "listen = ['unix:/a', '[::1]:80']";
        for (arguments, text, expected) in [
            (&[][..], "", "127.0.0.1:8765"),
            (&[], "port = 1", "127.0.0.1:1"),
            (&[], listen, "unix:/a [::1]:80"),
            (&["--port", "8765"], listen, "127.0.0.1:8765"),
            (&["--listen", "b:2"], "host = 'a'\nport = 1", "b:2"),
            (&["--listen", "b:2", "--listen=unix:/c"], listen, "b:2 unix:/c"),
            (&[], "listen = []\nport = 1", "127.0.0.1:1"),
        ] {
            assert_eq!(over(arguments, text).unwrap(), expected, "{arguments:?} {text}");
        }
        assert!(over(&["--listen", "b:2", "--port", "1"], "").is_err());
        assert!(over(&[], "listen = ['b:2']\nhost = 'a'").is_err());
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_certificate_and_its_key_need_each_other_and_may_change_but_not_come_or_go() {
        let of = |text: &str| given(&["--config", "a.toml"]).over(file(text));
        for one in ["tls-cert = 'a'", "tls-key = 'a'"] {
            let refused = of(one).unwrap_err();
            assert!(refused.causes().contains("need each other"), "{}", refused.causes());
        }
        let without = of("").unwrap();
        let first = of("tls-cert = 'a'\ntls-key = 'b'").unwrap();
        let mut second = of("tls-cert = 'c'\ntls-key = 'd'").unwrap();
        assert_eq!(second.changes(&first), (vec!["tls-cert", "tls-key"], vec![]));
        second.keep_fixed(&first);
        assert_eq!(second.certificate_files(), Some((Path::new("c"), Path::new("d"))));
        assert_eq!(second.changes(&without), (vec![], vec!["tls-cert", "tls-key"]));
        second.keep_fixed(&without);
        assert_eq!(second.certificate_files(), None);
        assert_eq!((without.scheme(), first.scheme()), ("http", "https"));
    }

    #[test]
    fn what_needs_a_restart_are_flags() {
        let command = serve_command();
        for name in NEEDS_RESTART {
            let is_flag = |flag: &clap::Arg| flag.get_long() == Some(name);
            assert!(command.get_arguments().any(is_flag), "{name}");
        }
    }

    #[test]
    fn rules_that_cannot_be_kept_are_refused() {
        let rules = file("[[allow]]\nwho = ['ann']\nread = ['/var/log']");
        assert_eq!(rules.rules.len(), 1);
        let refused = given(&[]).over(rules).unwrap_err();
        assert!(refused.causes().contains("cannot be kept"), "{}", refused.causes());
        let rules = "[[allow]]\nwho = ['ann']\nread = ['/var/log']";
        let known = ["--user-header", "x-user", "--trusted-proxy", "unix"];
        assert_eq!(given(&known).over(file(rules)).unwrap().settings().rules.len(), 1);
    }

    #[test]
    fn a_header_is_believed_from_named_proxies_only() {
        for (text, named) in [
            ("user-header = 'x-user'", "trusted proxies only"),
            ("group-header = 'x-groups'", "needs `user-header`"),
        ] {
            let refused = given(&[]).over(file(text)).unwrap_err();
            assert!(refused.causes().contains(named), "{}", refused.causes());
        }
        for header in ["cookie", "authorization", "x-forwarded-for", "a b"] {
            let text = format!("user-header = {header:?}");
            assert!(ConfigFile::parse(Path::new("a.toml"), text.as_bytes()).is_err(), "{header}");
        }
    }
}
