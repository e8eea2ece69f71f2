//! Negotiates the WebSocket extension `permessage-deflate` (RFC 7692) in the handshake.

use hyper::HeaderMap;
use hyper::header::HeaderValue;

use crate::wire::deflate::WINDOW_BITS;

/// The only extension that the server knows.
const NAME: &str = "permessage-deflate";
/// Window sizes that an offer may name, as powers of two (RFC 7692, section 7.1.2).
const BITS: std::ops::RangeInclusive<u8> = 8..=15;

/// The answer to a viewer's offers: the first that the server can accept. None when there is none,
/// or a header is malformed.
///
/// Neither side keeps its window after a message (`no_context_takeover`): the server, because all
/// viewers get the same frames; the viewer, because it sends little and a window for each viewer
/// costs much.
pub(in crate::serve) fn agree(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut answer = None;
    for offers in headers.get_all("sec-websocket-extensions") {
        for offer in parse(offers.to_str().ok()?)? {
            answer = answer.or_else(|| accept(&offer));
        }
    }
    HeaderValue::from_str(&answer?).ok()
}

/// An offer: the extension's name, then its parameters, with or without a value.
type ExtensionOffer = Vec<(String, Option<String>)>;

/// The answer to an offer. None when the server declines it: for another extension, an unknown or
/// repeated parameter, an invalid value (section 7.1), or a window that is too small.
fn accept(offer: &ExtensionOffer) -> Option<String> {
    let ((name, None), parameters) = offer.split_first()? else { return None };
    if name != NAME {
        return None;
    }
    let mut answer = format!("{NAME}; server_no_context_takeover; client_no_context_takeover");
    for (at, (name, value)) in parameters.iter().enumerate() {
        if parameters.iter().take(at).any(|(other, _)| other == name) {
            return None;
        }
        match (name.as_str(), value) {
            ("server_no_context_takeover" | "client_no_context_takeover", None) => {}
            // The viewer's own window may have any size.
            ("client_max_window_bits", value) => {
                value.as_deref().map_or(Some(*BITS.end()), bits)?;
            }
            ("server_max_window_bits", Some(value)) => {
                if bits(value)? < WINDOW_BITS {
                    return None;
                }
                answer += &format!("; server_max_window_bits={WINDOW_BITS}");
            }
            _ => return None,
        }
    }
    Some(answer)
}

fn bits(value: &str) -> Option<u8> {
    let is_plain = value.bytes().all(|digit| digit.is_ascii_digit()) && !value.starts_with('0');
    value.parse().ok().filter(|bits| is_plain && BITS.contains(bits))
}

/// Reads the header (RFC 6455, section 9.1): `name; parameter; parameter=value, name…`, a value in
/// quotes or not. None when it is not well formed.
fn parse(header: &str) -> Option<Vec<ExtensionOffer>> {
    let mut offers = Vec::new();
    let mut rest = Rest(header);
    loop {
        // A list may have empty elements (RFC 9110, section 5.6.1).
        while rest.takes(',') {}
        if rest.0.is_empty() {
            return Some(offers);
        }
        let mut offer = vec![(rest.token()?, None)];
        while rest.takes(';') {
            let name = rest.token()?;
            let value = if rest.takes('=') { Some(rest.value()?) } else { None };
            offer.push((name, value));
        }
        offers.push(offer);
        if !rest.0.is_empty() && !rest.0.starts_with(',') {
            return None;
        }
    }
}

/// What has not been read of a header.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    /// Takes a sign with the blanks around it, if it comes next.
    fn takes(&mut self, sign: char) -> bool {
        self.skip_blanks();
        let rest = self.0.strip_prefix(sign);
        self.0 = rest.unwrap_or(self.0);
        self.skip_blanks();
        rest.is_some()
    }

    fn token(&mut self) -> Option<String> {
        let is_of_token =
            |letter: char| letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter);
        let end = self.0.find(|letter| !is_of_token(letter)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        self.skip_blanks();
        (!token.is_empty()).then(|| token.to_owned())
    }

    /// A token, with quotes around it or without.
    fn value(&mut self) -> Option<String> {
        let Some(quoted) = self.0.strip_prefix('"') else { return self.token() };
        let (value, rest) = quoted.split_once('"')?;
        self.0 = rest;
        self.skip_blanks();
        Some(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    const NARROW: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                          server_max_window_bits=12";

    fn answer(lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("sec-websocket-extensions", HeaderValue::from_str(line).unwrap());
        }
        agree(&headers).map(|answer| answer.to_str().unwrap().to_owned())
    }

    #[test]
    fn supported_offers_are_accepted() {
        for (offers, met) in [
            (&["permessage-deflate"][..], PLAIN),
            (&["permessage-deflate; client_max_window_bits"], PLAIN),
            (&["permessage-deflate; client_max_window_bits=8"], PLAIN),
            (&["permessage-deflate;server_no_context_takeover;client_no_context_takeover"], PLAIN),
            (&["permessage-deflate; server_max_window_bits=15"], NARROW),
            (&["permessage-deflate ; server_max_window_bits = \"12\""], NARROW),
            (&["permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"], NARROW),
            (&["x-webkit-deflate-frame, permessage-deflate"], PLAIN),
            (&["x; y=\"a\"; z", ", permessage-deflate,,"], PLAIN),
            (&["permessage-deflate; server_max_window_bits=9, permessage-deflate"], PLAIN),
            (
                &["permessage-deflate; mystery", "permessage-deflate; server_max_window_bits=13"],
                NARROW,
            ),
            (&["permessage-deflate, permessage-deflate; server_max_window_bits=12"], PLAIN),
        ] {
            assert_eq!(answer(offers).as_deref(), Some(met), "{offers:?}");
        }
    }

    #[test]
    fn unsupported_and_invalid_offers_are_declined() {
        for offers in [
            &[][..],
            &[""],
            &["permessage-bzip2"],
            &["permessage-deflate=1"],
            &["permessage-deflate; mystery"],
            &["permessage-deflate; server_no_context_takeover=1"],
            &["permessage-deflate; client_no_context_takeover; client_no_context_takeover"],
            &["permessage-deflate; server_max_window_bits"],
            &["permessage-deflate; server_max_window_bits=8"],
            &["permessage-deflate; server_max_window_bits=11"],
            &["permessage-deflate; server_max_window_bits=16"],
            &["permessage-deflate; server_max_window_bits=012"],
            &["permessage-deflate; server_max_window_bits=+12"],
            &["permessage-deflate; server_max_window_bits=12; server_max_window_bits=12"],
            &["permessage-deflate; client_max_window_bits=7"],
            &["permessage-deflate; client_max_window_bits=16"],
            &["permessage-deflate; client_max_window_bits="],
            &["permessage-deflate; client_max_window_bits=\"12"],
            &["permessage-deflate;"],
            &["permessage-deflate permessage-deflate"],
            &["permessage-deflate", "; nothing"],
            &["permessage-deflate", "ü"],
        ] {
            assert_eq!(answer(offers), None, "{offers:?}");
        }
    }
}
