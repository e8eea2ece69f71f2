//! The headers of a message, by name.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// Names and values in the order in which they were set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

/// A field that is missing or says nothing that is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadField {
    /// Its name.
    pub name: &'static str,
    /// What it says; None where it is missing.
    pub value: Option<String>,
}

impl Display for BadField {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "the header `{}` says `{value}`", self.name),
            None => write!(f, "the header `{}` is missing", self.name),
        }
    }
}

impl std::error::Error for BadField {}

impl Fields {
    /// The same with one more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        self.0.push((name.to_owned(), value.to_string()));
        self
    }

    /// The same with one more, if there is a value.
    #[must_use]
    pub fn with_some(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The value of a field, if it is there.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a field that has to be there.
    ///
    /// # Errors
    /// When it is missing.
    pub fn text(&self, name: &'static str) -> Result<&str, BadField> {
        self.get(name).ok_or(BadField { name, value: None })
    }

    /// A field that has to be there, as what it says.
    ///
    /// # Errors
    /// When it is missing, or says something else.
    pub fn parse<T: FromStr>(&self, name: &'static str) -> Result<T, BadField> {
        let text = self.text(name)?;
        text.parse().map_err(|_| BadField { name, value: Some(text.to_owned()) })
    }

    /// The same for a field that may be missing.
    ///
    /// # Errors
    /// When it says something else.
    pub fn parse_some<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, BadField> {
        match self.get(name) {
            Some(_) => self.parse(name).map(Some),
            None => Ok(None),
        }
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Fields {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}
