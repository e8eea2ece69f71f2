//! Takes fields out of an object of JSON without a general parser.
//!
//! Most objects of logs are written plainly: no escape sequences, and no arrays where a field is
//! wanted. Of these only the names are compared; all else is stepped over. Whatever else there is,
//! and whatever is no JSON, is left to the parser, so that a line has the same fields either way.

use super::json::Wanted;
use super::{Found, Value};

/// Deeper values are left to the parser.
const DEPTH_MAX: usize = 32;
/// A number with more bytes may be none for the parser.
const NUMBER_BYTES_MAX: usize = 20;

/// The same as [`super::json::fields`], or `None` if a parser has to say it. What was found before
/// that is right.
pub(super) fn fields<'l>(
    text: &'l [u8],
    wanted: &[Wanted<'l>],
    found: &mut [Option<Found<'l>>],
) -> Option<bool> {
    let mut skim = Skim { text, at: 0 };
    skim.object(wanted, found).map(|ended| match ended {
        Ended::Found => true,
        Ended::Whole { fields } => fields > 0,
    })
}

/// How the look at an object has ended.
enum Ended {
    /// All that is wanted was found.
    Found,
    /// At its end.
    Whole { fields: usize },
}

struct Skim<'l> {
    text: &'l [u8],
    at: usize,
}

impl<'l> Skim<'l> {
    /// Looks at the fields of the object that begins here.
    fn object(&mut self, wanted: &[Wanted<'l>], found: &mut [Option<Found<'l>>]) -> Option<Ended> {
        self.sign(b'{')?;
        let mut fields = 0;
        if self.next()? == b'}' {
            self.at += 1;
            return Some(Ended::Whole { fields });
        }
        loop {
            self.next()?;
            let name = self.string()?;
            if !name.is_ascii() {
                std::str::from_utf8(name).ok()?;
            }
            self.next()?;
            self.sign(b':')?;
            self.next()?;
            fields += 1;
            if let Some(ended) = self.field(name, wanted, found)? {
                return Some(ended);
            }
            match self.next()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(Ended::Whole { fields });
                }
                _ => return None,
            }
        }
    }

    /// Takes the value of a field if it is wanted, and steps over it otherwise.
    fn field(
        &mut self,
        name: &[u8],
        wanted: &[Wanted<'l>],
        found: &mut [Option<Found<'l>>],
    ) -> Option<Option<Ended>> {
        let (mut is_wanted, mut is_above) = (false, false);
        for wanted in wanted {
            match wanted.name.as_bytes().strip_prefix(name) {
                Some([]) => is_wanted = true,
                Some([b'.', ..]) => is_above = true,
                _ => {}
            }
        }
        if is_wanted {
            if self.next()? == b'{' {
                let from = self.at;
                self.step_over(0)?;
                // The parser refuses such a value if it is no text.
                std::str::from_utf8(&self.text[from..self.at]).ok()?;
                return Some(None);
            }
            let value = self.scalar()?;
            for wanted in wanted.iter().filter(|wanted| wanted.name.as_bytes() == name) {
                found[wanted.key]
                    .get_or_insert_with(|| Found { name: wanted.full, value: value.clone() });
            }
            return Some(found.iter().all(Option::is_some).then_some(Ended::Found));
        }
        if !is_above {
            self.step_over(0)?;
            return Some(None);
        }
        if self.next()? == b'{' {
            let above = std::str::from_utf8(name).ok()?;
            let inner: Vec<Wanted<'l>> = wanted
                .iter()
                .filter_map(|wanted| {
                    let name = wanted.name.strip_prefix(above)?.strip_prefix('.')?;
                    Some(Wanted { name, ..*wanted })
                })
                .collect();
            let ended = self.object(&inner, found)?;
            return Some(matches!(ended, Ended::Found).then_some(ended));
        }
        // The parser reads this value, and may not like it.
        self.scalar()?;
        Some(None)
    }

    /// The next byte that is no white space.
    fn next(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.get(self.at)?;
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    fn sign(&mut self, sign: u8) -> Option<()> {
        (self.text.get(self.at) == Some(&sign)).then(|| self.at += 1)
    }

    /// The text between the quotes that begin here, if nothing in it is escaped.
    fn string(&mut self) -> Option<&'l [u8]> {
        self.sign(b'"')?;
        let rest = &self.text[self.at..];
        let len = end_of_string(rest)?;
        self.at += len + 1;
        (rest[len] == b'"').then(|| &rest[..len])
    }

    /// A value that is no object and no array.
    fn scalar(&mut self) -> Option<Value<'l>> {
        match self.next()? {
            b'"' => std::str::from_utf8(self.string()?).ok().map(|text| Value::Text(text.into())),
            b'n' => self.word(b"null").map(|()| Value::Null),
            b't' => self.word(b"true").map(|()| Value::Bool(true)),
            b'f' => self.word(b"false").map(|()| Value::Bool(false)),
            b'[' | b'{' => None,
            _ => {
                let number = self.number()?;
                (number.len() <= NUMBER_BYTES_MAX && !number.contains(&b'e')).then_some(())?;
                std::str::from_utf8(number).ok().map(Value::Number)
            }
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    /// A number in one of the usual forms.
    fn number(&mut self) -> Option<&'l [u8]> {
        let from = self.at;
        self.at += usize::from(self.text.get(self.at) == Some(&b'-'));
        let whole = self.digits()?;
        (whole == 1 || self.text[self.at - whole] != b'0').then_some(())?;
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        (!matches!(self.text.get(self.at), Some(b'e' | b'E'))).then_some(())?;
        Some(&self.text[from..self.at])
    }

    /// Steps over digits, and says how many there are.
    fn digits(&mut self) -> Option<usize> {
        let count = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(count)
    }

    fn step_over(&mut self, depth: usize) -> Option<()> {
        (depth < DEPTH_MAX).then_some(())?;
        match self.next()? {
            b'"' => self.string().map(drop),
            b'n' => self.word(b"null"),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            open @ (b'{' | b'[') => self.step_over_all(open, depth),
            _ => self.number().map(drop),
        }
    }

    /// Steps over the elements of an array, or over the fields of an object.
    fn step_over_all(&mut self, open: u8, depth: usize) -> Option<()> {
        let close = if open == b'{' { b'}' } else { b']' };
        self.at += 1;
        if self.next()? == close {
            return self.sign(close);
        }
        loop {
            if open == b'{' {
                self.next()?;
                self.string()?;
                self.next()?;
                self.sign(b':')?;
            }
            self.step_over(depth + 1)?;
            match self.next()? {
                b',' => self.at += 1,
                byte if byte == close => return self.sign(close),
                _ => return None,
            }
        }
    }
}

/// Where the first quote, backslash or control character is. Looks at eight bytes at once.
fn end_of_string(text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let (words, _) = text.as_chunks::<8>();
    for (nth, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The lowest byte that is marked is right; a borrow may mark those above it.
        let is = |byte: u8| {
            let other = word ^ (ONES * u64::from(byte));
            other.wrapping_sub(ONES) & !other
        };
        let is_control = word.wrapping_sub(ONES * 0x20) & !word;
        let marked = (is(b'"') | is(b'\\') | is_control) & HIGH;
        if marked != 0 {
            return Some(8 * nth + marked.trailing_zeros() as usize / 8);
        }
    }
    let done = 8 * words.len();
    let rest = text[done..].iter().position(|&byte| matches!(byte, b'"' | b'\\' | 0..0x20));
    rest.map(|at| done + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::json::parsed_fields;
    use super::*;

    const NAMES: [&str; 6] = ["status", "user.id", "user.name.first", "a.b", "level", "log.level"];

    type Outcome<'l> = (bool, Vec<Option<Found<'l>>>);

    /// What the skim and the parser say of a text.
    fn both(text: &[u8]) -> (Option<Outcome<'_>>, Outcome<'_>) {
        let wanted: Vec<Wanted<'_>> = NAMES
            .iter()
            .enumerate()
            // The last two are names of one key.
            .map(|(nth, &name)| Wanted { key: nth.min(4), full: name, name })
            .collect();
        let (mut skimmed, mut parsed) = (vec![None; 5], vec![None; 5]);
        let skim = fields(text, &wanted, &mut skimmed);
        let is_object = parsed_fields(text, &wanted, &mut parsed);
        (skim.map(|is_object| (is_object, skimmed)), (is_object, parsed))
    }

    #[test]
    fn plain_objects_need_no_parser_and_others_do() {
        for (text, is_plain) in [
            (
                r#"{"status":503,"user":{"id":7,"name":{"first":"Ada"}},"a.b":null,"level":"info"} x"#,
                true,
            ),
            (r#"{ "x" : [1, -2.5, {"y":[]}, {}, true], "status" : false }"#, true),
            (r#"{"user":{"id":{"inner":1}},"status":"é ☃"}"#, true),
            ("{}", true),
            (r#"{"status":50"#, false),
            (r#"{"x":"a \" quote","status":503}"#, false),
            (r#"{"x":01,"status":503}"#, false),
            (r#"{"x":1e5,"status":503}"#, false),
            (r#"{"status":[1,2]}"#, false),
            ("{\"x\":\"a\ttab\",\"status\":503}", false),
            (r#"{"x":1,}"#, false),
            (r#"{x:1,"status":503}"#, false),
            ("[1]", false),
            ("", false),
        ] {
            let (skimmed, parsed) = both(text.as_bytes());
            assert_eq!(skimmed.is_some(), is_plain, "{text}");
            if let Some(skimmed) = skimmed {
                assert_eq!(skimmed.1, parsed.1, "{text}");
                assert_eq!(skimmed.0, parsed.0 || parsed.1.iter().all(Option::is_some), "{text}");
            }
        }
    }

    #[test]
    fn a_wanted_object_that_is_no_text_is_left_to_the_parser() {
        for text in [
            b"{\"status\":{\"\xc3\":1},\"level\":5}",
            b"{\"status\":{\"x\":\"\xff\"},\"level\":5}".as_slice(),
        ] {
            let (skimmed, (is_object, parsed)) = both(text);
            assert_eq!(skimmed, None);
            assert!(!is_object && parsed.iter().all(Option::is_none));
        }
    }

    #[test]
    fn the_end_of_a_string_is_found_at_each_place() {
        for len in 0..20 {
            for end in [b'"', b'\\', b'\t', 0, 0x1f] {
                let text =
                    [&b"\x80\xff ~!#[]^_ \x7f\xa2\xdc \x81abcd"[..len], &[end], b"\"\\\n"].concat();
                assert_eq!(end_of_string(&text), Some(len), "{end}");
            }
            assert_eq!(end_of_string(&vec![b'a'; len]), None);
        }
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(|value| json!(value)),
            any::<i16>().prop_map(|value| json!(value)),
            any::<f32>().prop_map(|value| json!(value)),
            "[a-zé\"\\\\\t ]{0,12}".prop_map(|value| json!(value)),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                object(inner.clone()),
                prop::collection::vec(inner, 0..4).prop_map(serde_json::Value::Array)
            ]
        })
    }

    fn object(
        value: impl Strategy<Value = serde_json::Value> + 'static,
    ) -> impl Strategy<Value = serde_json::Value> {
        let names = ["status", "user", "id", "name", "first", "a.b", "a", "b", "level", "log", "é"];
        let name = prop::sample::select(names.to_vec()).prop_map(str::to_owned);
        prop::collection::vec((name, value), 0..6)
            .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect()))
    }

    proptest! {
        #![proptest_config(crate::testing::cases(3000))]
        #[test]
        fn what_is_skimmed_is_what_is_parsed(
            value in object(value()),
            is_pretty in any::<bool>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        ) {
            let text = if is_pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
            let mut text = text.unwrap();
            for (at, byte) in changes {
                let at = at.index(text.len());
                // Mostly signs that mean something.
                text[at] = if byte < 0x10 { byte } else { b"{}[],:\"\\0123-.neE \t"[usize::from(byte) % 19] };
            }
            if let Some(cut) = cut {
                text.truncate(cut.index(text.len()));
            }
            let (skimmed, (is_object, parsed)) = both(&text);
            if let Some((is_skimmed, skimmed)) = skimmed {
                prop_assert_eq!(&skimmed, &parsed);
                prop_assert_eq!(is_skimmed, is_object || parsed.iter().all(Option::is_some));
            }
        }
    }
}
