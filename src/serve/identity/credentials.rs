//! What a request says in `Authorization` (RFC 7617, RFC 6750).

use headers::authorization::{Basic, Bearer};
use headers::{Authorization, HeaderMapExt};
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};

use crate::serve::refusal::Refused;

/// A secret with which a request identifies its sender.
#[derive(PartialEq, Eq)]
pub(super) enum Credentials {
    Password { name: String, password: String },
    Token(String),
}

impl Credentials {
    /// The credentials of a request; `None` if it has none.
    ///
    /// # Errors
    /// 400 for more than one header, 401 for a header that is neither `Basic` nor `Bearer`.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Refused> {
        match headers.get_all(AUTHORIZATION).iter().count() {
            0 => return Ok(None),
            1 => {}
            _ => {
                return Err(Refused::new(
                    StatusCode::BAD_REQUEST,
                    "the request has more than one `Authorization` header",
                    "send one",
                ));
            }
        }
        if let Ok(Some(Authorization(basic))) = headers.typed_try_get::<Authorization<Basic>>() {
            let (name, password) = (basic.username().to_owned(), basic.password().to_owned());
            return Ok(Some(Self::Password { name, password }));
        }
        if let Ok(Some(Authorization(bearer))) = headers.typed_try_get::<Authorization<Bearer>>() {
            return Ok(Some(Self::Token(bearer.token().to_owned())));
        }
        Err(Refused::wrong_identity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn of(values: &[&str]) -> Result<Option<Credentials>, u16> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        Credentials::of(&headers).map_err(|refused| refused.status.as_u16())
    }

    #[test]
    fn a_header_is_basic_or_bearer() {
        let password = |name: &str, password: &str| {
            let (name, password) = (name.to_owned(), password.to_owned());
            Ok(Some(Credentials::Password { name, password }))
        };
        assert!(of(&["Basic YW5uOm9wZW46c2VzYW1l"]) == password("ann", "open:sesame"));
        assert!(of(&["basic YW5uOg=="]) == password("ann", ""));
        assert!(of(&["Basic w6k6w7w="]) == password("é", "ü"));
        assert!(of(&["Bearer abc-123"]) == Ok(Some(Credentials::Token("abc-123".to_owned()))));
        assert!(of(&[]) == Ok(None));
        for wrong in ["Basic", "Basic !", "Basic YW5u", "Digest a=b", "", "Bearer", "Basic /zr/"] {
            assert!(of(&[wrong]).is_err(), "{wrong}");
        }
        assert!(of(&["Bearer a", "Bearer b"]) == Err(400));
    }
}
