//! Reads the export format of systemd's journal: <https://systemd.io/JOURNAL_EXPORT_FORMATS/>.
//!
//! A field is `NAME=VALUE` and a newline; or, if its value may have newlines in it, `NAME`, a newline,
//! the value's length as eight bytes, the value, and a newline. An empty line ends an entry.

/// No value that is kept is longer. journald itself cuts off at 768 KiB by default.
const VALUE_MAX: usize = 1024 * 1024;
/// Names of fields have 64 bytes at most.
const NAME_MAX: usize = 256;

/// Takes pieces of the format as they come, and gives the fields.
#[derive(Debug, Default)]
pub(super) struct ExportReader {
    state: State,
    name: Vec<u8>,
    value: Vec<u8>,
    /// Whether a part of the value was left out.
    is_cut: bool,
}

/// What comes next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The name of a field, or the end of the entry.
    #[default]
    Name,
    /// The rest of a value that ends with its line.
    Text,
    /// The length of a binary value, of which so many bytes have come.
    Length { bytes: u8, value: u64 },
    /// So many bytes of a binary value.
    Binary(u64),
    /// The newline behind a binary value.
    Newline,
}

/// What a piece contained.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Exported<'a> {
    /// A field of the present entry. A value of more than 1 MiB is cut off.
    Field {
        /// Its name.
        name: &'a [u8],
        /// Its value, which may be any bytes.
        value: &'a [u8],
        /// Whether the value was longer.
        is_cut: bool,
    },
    /// The entry is complete.
    End,
}

/// The bytes are not of this format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl ExportReader {
    /// Reads a piece, which may begin and end anywhere.
    ///
    /// # Errors
    /// [`Malformed`], after which the reader is of no more use.
    pub(super) fn read(
        &mut self,
        mut piece: &[u8],
        mut on: impl FnMut(Exported<'_>),
    ) -> Result<(), Malformed> {
        while let Some((&byte, rest)) = piece.split_first() {
            match self.state {
                State::Name => match byte {
                    b'\n' if self.name.is_empty() => {
                        on(Exported::End);
                        piece = rest;
                    }
                    b'\n' => {
                        self.state = State::Length { bytes: 0, value: 0 };
                        piece = rest;
                    }
                    b'=' => {
                        self.state = State::Text;
                        piece = rest;
                    }
                    _ if self.name.len() == NAME_MAX => return Err(Malformed),
                    _ => {
                        self.name.push(byte);
                        piece = rest;
                    }
                },
                State::Text => {
                    let end = memchr::memchr(b'\n', piece);
                    self.keep(&piece[..end.unwrap_or(piece.len())]);
                    let Some(end) = end else { return Ok(()) };
                    piece = &piece[end + 1..];
                    self.finish(&mut on);
                }
                State::Length { bytes, value } => {
                    let value = value | u64::from(byte) << (8 * u32::from(bytes));
                    self.state = match bytes {
                        7 => State::Binary(value),
                        _ => State::Length { bytes: bytes + 1, value },
                    };
                    piece = rest;
                }
                State::Binary(0) => self.state = State::Newline,
                State::Binary(left) => {
                    let taken =
                        usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
                    self.keep(&piece[..taken]);
                    self.state = State::Binary(left - taken as u64);
                    piece = &piece[taken..];
                }
                State::Newline if byte == b'\n' => {
                    piece = rest;
                    self.finish(&mut on);
                }
                State::Newline => return Err(Malformed),
            }
        }
        Ok(())
    }

    fn keep(&mut self, part: &[u8]) {
        let room = VALUE_MAX - self.value.len();
        self.is_cut |= part.len() > room;
        self.value.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn finish(&mut self, on: &mut impl FnMut(Exported<'_>)) {
        on(Exported::Field { name: &self.name, value: &self.value, is_cut: self.is_cut });
        self.name.clear();
        self.value.clear();
        // One long value does not hold its memory for ever.
        self.value.shrink_to(64 * 1024);
        self.is_cut = false;
        self.state = State::Name;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Fields and ends, with `None` for the end of an entry.
    type Read = Vec<Option<(Vec<u8>, Vec<u8>)>>;

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Read, Malformed> {
        let (mut reader, mut read) = (ExportReader::default(), Vec::new());
        for piece in pieces {
            reader.read(piece, |exported| {
                read.push(match exported {
                    Exported::End => None,
                    Exported::Field { name, value, is_cut } => {
                        assert!(!is_cut);
                        Some((name.to_vec(), value.to_vec()))
                    }
                });
            })?;
        }
        Ok(read)
    }

    fn binary(name: &str, value: &[u8]) -> Vec<u8> {
        let length = (value.len() as u64).to_le_bytes();
        [name.as_bytes(), b"\n", &length, value, b"\n"].concat()
    }

    #[test]
    fn text_and_binary_fields_are_read_to_the_end_of_each_entry() {
        let bytes = [
            &b"__CURSOR=s=1;i=2\nMESSAGE=a=b\n"[..],
            &binary("DATA", b"two\nlines\n\n"),
            &binary("EMPTY", b""),
            b"NONE=\n\nMESSAGE=next\n\n",
        ];
        let field = |name: &str, value: &[u8]| Some((name.as_bytes().to_vec(), value.to_vec()));
        let expected = vec![
            field("__CURSOR", b"s=1;i=2"),
            field("MESSAGE", b"a=b"),
            field("DATA", b"two\nlines\n\n"),
            field("EMPTY", b""),
            field("NONE", b""),
            None,
            field("MESSAGE", b"next"),
            None,
        ];
        assert_eq!(read([&bytes.concat()[..]]), Ok(expected));
    }

    #[test]
    fn a_long_value_is_cut_and_what_follows_is_read() {
        let long = vec![b'x'; VALUE_MAX + 10];
        let mut lengths = Vec::new();
        let mut reader = ExportReader::default();
        for field in [binary("A", &long), [b"B=", &long[..], b"\nC=c\n\n"].concat()] {
            let on = |exported: Exported<'_>| {
                if let Exported::Field { value, is_cut, .. } = exported {
                    lengths.push((value.len(), is_cut));
                }
            };
            reader.read(&field, on).unwrap();
        }
        assert_eq!(lengths, [(VALUE_MAX, true), (VALUE_MAX, true), (1, false)]);
    }

    #[test]
    fn other_bytes_are_refused() {
        assert_eq!(read([&vec![b'A'; NAME_MAX + 1][..]]), Err(Malformed));
        let mut wrong = binary("A", b"abc");
        *wrong.last_mut().unwrap() = b'x';
        assert_eq!(read([&wrong[..]]), Err(Malformed));
    }

    proptest! {
        #[test]
        fn the_pieces_in_which_it_comes_make_no_difference(
            fields in prop::collection::vec(("[A-Z_]{1,8}", prop::collection::vec(any::<u8>(), 0..40), any::<bool>()), 1..8),
            cuts in prop::collection::vec(0.0..1.0f64, 0..6),
        ) {
            let mut bytes = Vec::new();
            let mut expected: Read = Vec::new();
            for (name, value, ends) in fields {
                if value.contains(&b'\n') || value.len().is_multiple_of(2) {
                    bytes.extend(binary(&name, &value));
                } else {
                    bytes.extend([name.as_bytes(), b"=", &value, b"\n"].concat());
                }
                expected.push(Some((name.into_bytes(), value)));
                if ends {
                    bytes.push(b'\n');
                    expected.push(None);
                }
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| (cut * bytes.len() as f64) as usize).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            prop_assert_eq!(read(pieces), Ok(expected));
        }
    }
}
