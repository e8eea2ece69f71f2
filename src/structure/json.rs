//! The fields of a line that is an object of JSON.

use std::borrow::Cow;
use std::fmt::{self, Formatter};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Found, Value, skim};

/// The most elements of an array that are values.
const ELEMENTS_MAX: usize = 100;

/// A name that is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'w> {
    /// The number of its key.
    pub(super) key: usize,
    /// The whole name.
    pub(super) full: &'w str,
    /// The name, or what is left of it inside of an inner object.
    pub(super) name: &'w str,
}

/// Finds the first value of each key in the object with which the text begins. Text behind it is
/// ignored, and what is behind the last value that is missing. False if there is no object, or none
/// with a field.
pub(super) fn fields<'l>(
    text: &'l [u8],
    wanted: &[Wanted<'l>],
    found: &mut [Option<Found<'l>>],
) -> bool {
    skim::fields(text, wanted, found).unwrap_or_else(|| parsed_fields(text, wanted, found))
}

/// The same by a parser that knows all of JSON.
pub(super) fn parsed_fields<'l>(
    text: &'l [u8],
    wanted: &[Wanted<'l>],
    found: &mut [Option<Found<'l>>],
) -> bool {
    let mut parser = serde_json::Deserializer::from_slice(text);
    // `{}` is more often the value of something before it.
    parser.deserialize_map(Fields { wanted, found }).is_ok_and(|fields| fields > 0)
}

/// Takes the wanted fields out of an object.
struct Fields<'w, 'f, 'l> {
    wanted: &'w [Wanted<'l>],
    found: &'f mut [Option<Found<'l>>],
}

impl<'l> Visitor<'l> for Fields<'_, '_, 'l> {
    /// How many fields it has.
    type Value = usize;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'l>>(self, mut object: A) -> Result<usize, A::Error> {
        let mut fields = 0;
        while let Some(Name(name)) = object.next_key()? {
            fields += 1;
            let mut is_wanted = false;
            let mut inner = Vec::new();
            for wanted in self.wanted {
                let Some(rest) = wanted.name.strip_prefix(&*name) else { continue };
                match rest.strip_prefix('.') {
                    Some(rest) => inner.push(Wanted { name: rest, ..*wanted }),
                    None => is_wanted |= rest.is_empty(),
                }
            }
            if is_wanted {
                let Some(value) = value_of(object.next_value::<&'l RawValue>()?) else { continue };
                for wanted in self.wanted.iter().filter(|wanted| wanted.name == name) {
                    self.found[wanted.key]
                        .get_or_insert_with(|| Found { name: wanted.full, value: value.clone() });
                }
                if self.found.iter().all(Option::is_some) {
                    break;
                }
            } else if inner.is_empty() {
                object.next_value::<IgnoredAny>()?;
            } else {
                object.next_value_seed(Inner(Fields { wanted: &inner, found: self.found }))?;
            }
        }
        Ok(fields)
    }
}

/// The value of a field, which may be an object with wanted fields.
struct Inner<'w, 'f, 'l>(Fields<'w, 'f, 'l>);

impl<'l> DeserializeSeed<'l> for Inner<'_, '_, 'l> {
    type Value = ();

    fn deserialize<D: Deserializer<'l>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

/// Ignores all values but objects.
impl<'l> Visitor<'l> for Inner<'_, '_, 'l> {
    type Value = ();

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'l>>(self, object: A) -> Result<(), A::Error> {
        self.0.visit_map(object).map(drop)
    }

    fn visit_seq<A: SeqAccess<'l>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// A text, borrowed from the line unless it has escapes.
struct Name<'l>(Cow<'l, str>);

impl<'l> serde::Deserialize<'l> for Name<'l> {
    fn deserialize<D: Deserializer<'l>>(text: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'l> Visitor<'l> for Texts {
            type Value = Name<'l>;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'l str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        text.deserialize_str(Texts)
    }
}

/// The value with which a text begins, if it is one that can be told without a parser: no object, no
/// array, and no text with escape sequences.
pub(super) fn scalar(text: &[u8]) -> Option<Value<'_>> {
    let until = |end: Option<usize>| std::str::from_utf8(&text[..end.unwrap_or(text.len())]).ok();
    match text.first()? {
        b'"' => {
            let text = &text[1..];
            let end = memchr::memchr2(b'"', b'\\', text).filter(|&end| text[end] == b'"')?;
            std::str::from_utf8(&text[..end]).ok().map(|text| Value::Text(text.into()))
        }
        b'-' | b'0'..=b'9' => {
            let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
            until(text.iter().position(|byte| !is_part(byte))).map(Value::Number)
        }
        b'n' => Some(Value::Null),
        b't' => Some(Value::Bool(true)),
        b'f' => Some(Value::Bool(false)),
        _ => None,
    }
}

/// The value of a field; none for an object.
fn value_of(raw: &RawValue) -> Option<Value<'_>> {
    let text = raw.get();
    match text.as_bytes().first()? {
        b'"' => serde_json::from_str(text).ok().map(|Name(text)| Value::Text(text)),
        b'n' => Some(Value::Null),
        b't' | b'f' => Some(Value::Bool(text == "true")),
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let values = elements.into_iter().take(ELEMENTS_MAX).filter_map(value_of);
            Some(Value::List(values.collect()))
        }
        b'{' => None,
        _ => Some(Value::Number(text)),
    }
}
