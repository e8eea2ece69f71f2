//! The configuration file: TOML, whose keys are the flags of `tailcast serve`.
//!
//! Nothing lists the keys. Each value is passed to the flag's own parser, so a flag that is added
//! is a key of the file, and both refuse the same values in the same words.

use std::fmt::{self, Display, Formatter};
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use clap::builder::Resettable;
use clap::{Arg, ArgAction, Args, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::cli::failure::Failure;
use crate::cli::serve::arguments::Arguments;
use crate::serve::Rule;

/// A larger file is no configuration.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The name of the tables with rules.
const RULES: &str = "allow";
/// The keys of such a table.
const RULE_KEYS: [&str; 2] = ["who", "read"];
/// How alike two keys must be for one to be a misspelling of the other, from 0 to 1.
const LIKENESS_MIN: f64 = 0.7;

/// What a configuration file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ConfigFile {
    /// The keys that it sets. Each is a flag, and its values have passed the flag's parser.
    pub(super) keys: Vec<Key>,
    pub(super) rules: Vec<Rule>,
}

/// A key and its values.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) values: Vec<String>,
}

/// What is wrong with a configuration file, and in which line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WrongLine {
    line: usize,
    what: String,
    hint: String,
}

impl Display for WrongLine {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// The content of a configuration file.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    #[expect(clippy::disallowed_methods, reason = "it is no log")]
    let file = std::fs::File::open(path)?;
    let mut content = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(content)
}

/// The flags of `serve` as a command of their own, without what the environment says.
pub(super) fn flags() -> Command {
    let command = Arguments::augment_args(Command::new("serve")).disable_help_flag(true);
    command.mut_args(|arg| arg.env(Resettable::Reset))
}

/// The flag that a key names, if it may stand in the file.
fn flag<'a>(flags: &'a Command, key: &str) -> Option<&'a Arg> {
    settable(flags).find(|flag| flag.get_long() == Some(key))
}

fn settable(flags: &Command) -> impl Iterator<Item = &Arg> {
    flags.get_arguments().filter(|flag| flag.get_long().is_some_and(|name| name != "config"))
}

impl ConfigFile {
    /// Parses the content of the file at `path`, which is named in the failure.
    pub(super) fn parse(path: &Path, content: &[u8]) -> Result<Self, Failure> {
        Self::of_bytes(content).map_err(|wrong| {
            let hint = wrong.hint.clone();
            let error = anyhow::anyhow!("`{}` is wrong in {wrong}", path.display());
            Failure::usage(error, hint)
        })
    }

    fn of_bytes(content: &[u8]) -> Result<Self, WrongLine> {
        let text = std::str::from_utf8(content).map_err(|error| {
            let line = line_of(&String::from_utf8_lossy(content), error.valid_up_to());
            let (what, hint) = ("it is not UTF-8", "save the file as UTF-8");
            WrongLine { line, what: what.to_owned(), hint: hint.to_owned() }
        })?;
        Parser { text, flags: flags() }.file()
    }
}

struct Parser<'a> {
    text: &'a str,
    flags: Command,
}

impl Parser<'_> {
    fn file(&self) -> Result<ConfigFile, WrongLine> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let what = error.message().replace('\n', ", ");
            self.wrong(error.span().unwrap_or_default(), what, "the file is TOML: https://toml.io")
        })?;
        let mut file = ConfigFile::default();
        for (key, value) in table.get_ref() {
            let name = key.get_ref().as_ref();
            if name == RULES {
                file.rules = self.rules(value)?;
            } else {
                let values = self.values(name, key, value)?;
                file.keys.push(Key { name: name.to_owned(), values });
            }
        }
        Ok(file)
    }

    fn wrong(
        &self,
        span: Range<usize>,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> WrongLine {
        WrongLine { line: line_of(self.text, span.start), what: what.into(), hint: hint.into() }
    }

    /// The values of a flag, which its own parser has accepted.
    fn values<T>(
        &self,
        name: &str,
        key: &Spanned<T>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Vec<String>, WrongLine> {
        let Some(flag) = flag(&self.flags, name) else {
            return Err(self.wrong(
                key.span(),
                format!("there is no key `{name}`"),
                self.hint_for(name),
            ));
        };
        let several = matches!(flag.get_action(), ArgAction::Append);
        let values = match value.get_ref() {
            DeValue::Array(_) if !several => {
                let what = format!("`{name}` takes one value");
                return Err(self.wrong(value.span(), what, "write it without brackets"));
            }
            DeValue::Array(items) => {
                items.iter().map(|item| self.scalar(name, item)).collect::<Result<Vec<_>, _>>()?
            }
            _ => vec![self.scalar(name, value)?],
        };
        let arguments = values.iter().map(|value| format!("--{name}={value}"));
        let arguments = std::iter::once("serve".to_owned()).chain(arguments);
        if let Err(error) = self.flags.clone().try_get_matches_from(arguments) {
            let said = error.to_string();
            let first = said.lines().next().unwrap_or_default();
            let what = first.strip_prefix("error: ").unwrap_or(first);
            let hint = format!("`tailcast serve --help` describes `--{name}`");
            return Err(self.wrong(value.span(), what, hint));
        }
        Ok(values)
    }

    fn scalar(&self, name: &str, value: &Spanned<DeValue<'_>>) -> Result<String, WrongLine> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text.clone().into_owned()),
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
            DeValue::Float(number) => Ok(number.as_str().to_owned()),
            DeValue::Boolean(is_on) => Ok(is_on.to_string()),
            DeValue::Integer(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                let what = format!("`{name}` is a text or a number");
                Err(self.wrong(value.span(), what, "put texts in quotes"))
            }
        }
    }

    fn rules(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<Rule>, WrongLine> {
        let tables = value.get_ref().as_array().filter(|rules| !rules.is_empty());
        let shape = || {
            let what = "`allow` is a table for each rule";
            self.wrong(value.span(), what, "begin each rule with a line `[[allow]]`")
        };
        let tables = tables.ok_or_else(shape)?;
        tables.iter().map(|table| self.rule(table)).collect()
    }

    fn rule(&self, value: &Spanned<DeValue<'_>>) -> Result<Rule, WrongLine> {
        let Some(table) = value.get_ref().as_table() else {
            let hint = "begin each rule with a line `[[allow]]`";
            return Err(self.wrong(value.span(), "`allow` is a table for each rule", hint));
        };
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if !RULE_KEYS.contains(&name) {
                let hint = match flag(&self.flags, name) {
                    Some(_) => format!("put `{name}` above the first `[[allow]]`"),
                    None => "a rule has `who` and `read`".to_owned(),
                };
                let what = format!("a rule has no key `{name}`");
                return Err(self.wrong(key.span(), what, hint));
            }
        }
        let texts = |name: &str| -> Result<Vec<String>, WrongLine> {
            let Some(list) = table.get(name) else { return Ok(Vec::new()) };
            let items = list.get_ref().as_array().map_or(std::slice::from_ref(list), |all| all);
            let text = |item: &Spanned<DeValue<'_>>| {
                item.get_ref().as_str().map(str::to_owned).ok_or_else(|| {
                    let what = format!("`{name}` is a list of texts");
                    self.wrong(item.span(), what, format!("write `{name} = [\"…\"]`"))
                })
            };
            items.iter().map(text).collect()
        };
        Rule::new(&texts("who")?, &texts("read")?).map_err(|bad| {
            let hint = "such as `who = [\"ann\", \"@ops\"]` and `read = [\"/var/log\"]`";
            self.wrong(value.span(), bad.to_string(), hint)
        })
    }

    /// What somebody may have meant by a key that does not exist.
    fn hint_for(&self, key: &str) -> String {
        let names = settable(&self.flags).filter_map(Arg::get_long).chain([RULES]);
        let nearest = names
            .map(|name| (strsim::jaro_winkler(key, name), name))
            .max_by(|(one, _), (other, _)| one.total_cmp(other));
        match nearest {
            Some((likeness, name)) if likeness >= LIKENESS_MIN => {
                format!("the nearest key is `{name}`")
            }
            _ => "the keys are the flags of `tailcast serve --help`".to_owned(),
        }
    }
}

/// The number of the line with this byte, from 1.
fn line_of(text: &str, byte: usize) -> usize {
    1 + text.bytes().take(byte).filter(|&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> (usize, String, String) {
        let WrongLine { line, what, hint } = ConfigFile::of_bytes(text.as_bytes()).unwrap_err();
        (line, what, hint)
    }

    #[test]
    fn every_key_is_a_flag_with_the_values_of_the_flag() {
        let text = "port = 80\nprefix = ['/var/log', '/srv']\nstall-timeout = 1.5\n\
                    compress = \"off\"\nallow-host = \"a\"\n\n[[allow]]\nwho = ['*']\nread = ['/a']\n";
        let file = ConfigFile::of_bytes(text.as_bytes()).unwrap();
        let values = |name: &str| {
            let key = file.keys.iter().find(|key| key.name == name).unwrap();
            key.values.join(" ")
        };
        assert_eq!(values("port"), "80");
        assert_eq!(values("prefix"), "/var/log /srv");
        assert_eq!(values("stall-timeout"), "1.5");
        assert_eq!(values("compress"), "off");
        assert_eq!(values("allow-host"), "a");
        assert_eq!(file.rules, [Rule::new(&["*".to_owned()], &["/a".to_owned()]).unwrap()]);
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line_and_the_nearest_key() {
        let (line, what, hint) = wrong("port = 1\n\nallow-hosts = ['a']\n");
        assert_eq!((line, what.as_str()), (3, "there is no key `allow-hosts`"));
        assert_eq!(hint, "the nearest key is `allow-host`");
        assert!(wrong("max_viewers = 1").2.contains("`max-viewers`"));
        assert!(wrong("zzzz = 1").2.contains("--help"));
        for key in ["config", "help", "version"] {
            assert_eq!(wrong(&format!("{key} = 'x'")).1, format!("there is no key `{key}`"));
        }
    }

    #[test]
    fn a_wrong_value_is_told_with_its_line_in_the_words_of_the_flag() {
        for (text, line, named) in [
            ("host = 'a'\nport = 70000", 2, "70000"),
            ("\nheartbeat = 'sometimes'", 2, "expected `ping`"),
            ("port = [1]", 1, "one value"),
            ("port = 0x50", 1, "a text or a number"),
            ("allow-host = [\n'a',\n['b']]", 3, "a text or a number"),
            ("port = ", 1, ""),
            ("port = 1\nport = 2", 2, "duplicate key"),
            ("[server]\nport = 1", 1, "no key `server`"),
        ] {
            let (told, what, _) = wrong(text);
            assert!(told == line && what.contains(named), "{text}: line {told}: {what}");
            assert!(!what.contains('\n'), "{what}");
        }
        let not_utf8 = ConfigFile::of_bytes(b"a = 1\n\xff").unwrap_err();
        assert_eq!((not_utf8.line, not_utf8.what.as_str()), (2, "it is not UTF-8"));
    }

    #[test]
    fn a_wrong_rule_is_told_with_its_line() {
        for (text, line, named) in [
            ("allow = 'ann'", 1, "a table for each rule"),
            ("allow = []", 1, "a table for each rule"),
            ("port = 1\n[[allow]]\nread = ['/a']", 2, "no `who`"),
            ("[[allow]]\nwho = ['ann']\n", 1, "no `read`"),
            ("[[allow]]\nwho = ['ann']\nread = ['a']", 1, "absolute path"),
            ("[[allow]]\nwho = ['ann']\nread = ['/a']\nwhen = 'now'", 4, "no key `when`"),
            ("[[allow]]\nwho = [1]\nread = ['/a']", 2, "a list of texts"),
        ] {
            let (told, what, _) = wrong(text);
            assert!(told == line && what.contains(named), "{text}: line {told}: {what}");
        }
        let (line, _, hint) = wrong("[[allow]]\nwho = ['ann']\nread = ['/a']\nport = 1");
        assert_eq!((line, hint.as_str()), (4, "put `port` above the first `[[allow]]`"));
    }
}
