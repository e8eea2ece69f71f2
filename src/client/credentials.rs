//! What a client says to a server that needs to know who it is.

use std::fmt::{self, Debug, Formatter};

use headers::authorization::{Basic, Bearer, InvalidBearerToken};
use headers::{Authorization, HeaderMapExt};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue, header};

/// A password or a token, ready to be sent. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(HeaderValue);

impl Debug for Credentials {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl Credentials {
    /// The password of a user. A name has no `:`; what follows one would belong to the password.
    #[must_use]
    pub fn password(name: &str, password: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.typed_insert::<Authorization<Basic>>(Authorization::basic(name, password));
        Self::of(headers)
    }

    /// A token.
    ///
    /// # Errors
    /// For a token with characters that none can have.
    pub fn token(token: &str) -> Result<Self, InvalidBearerToken> {
        let mut headers = HeaderMap::new();
        headers.typed_insert::<Authorization<Bearer>>(Authorization::bearer(token)?);
        Ok(Self::of(headers))
    }

    fn of(mut headers: HeaderMap) -> Self {
        let mut value =
            headers.remove(header::AUTHORIZATION).unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        Self(value)
    }

    /// The value of `Authorization`.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_a_header_and_are_not_shown() {
        let password = Credentials::password("ann", "open:sesame");
        assert_eq!(password.header(), "Basic YW5uOm9wZW46c2VzYW1l");
        assert_eq!(Credentials::token("abc").unwrap().header(), "Bearer abc");
        assert!(Credentials::token("a\nb").is_err());
        assert_eq!(format!("{password:?} {:?}", password.header()), "Credentials(…) Sensitive");
    }
}
