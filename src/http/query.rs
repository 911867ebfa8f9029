//! The parameters behind the `?` of an API request. Unknown ones are ignored, wrong ones are told by name.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use serde::de::{DeserializeOwned, IntoDeserializer, value::Error as ValueError};

use crate::http::error::ApiError;

/// Name and value, decoded, in the order of the request.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// The first of that name.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A whole number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let wrong = |_| ApiError::bad_request(format!("`{name}` is a whole number, not {text:?}"));
        text.parse().map(Some).map_err(wrong)
    }

    /// `limit`, cut to `most`.
    pub(super) fn limit(&self, default: usize, most: usize) -> Result<usize, ApiError> {
        let limit = self.number("limit")?.map(|limit| usize::try_from(limit).unwrap_or(most));
        Ok(limit.unwrap_or(default).min(most))
    }

    /// One of the words that `T` knows.
    pub(super) fn word<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, ApiError> {
        let Some(text) = self.text(name) else { return Ok(T::default()) };
        T::deserialize(text.into_deserializer())
            .map_err(|error: ValueError| ApiError::bad_request(format!("`{name}`: {error}")))
    }
}

impl FromRequest for Query {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let parameters = serde_urlencoded::from_str(request.query_string());
        ready(parameters.map(Self).map_err(|error| ApiError::bad_request(format!("query: {error}"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Sort;

    fn query(text: &str) -> Query {
        Query(serde_urlencoded::from_str(text).expect("a query"))
    }

    fn message<T>(result: Result<T, ApiError>) -> String {
        result.err().map(|error| error.into_fault().message.into_owned()).unwrap_or_default()
    }

    #[test]
    fn a_limit_has_a_default_and_an_end() {
        assert_eq!(query("").limit(50, 1000).ok(), Some(50));
        assert_eq!(query("limit=7").limit(50, 1000).ok(), Some(7));
        assert_eq!(query("limit=99999999999").limit(50, 1000).ok(), Some(1000));
        assert_eq!(message(query("limit=-1").limit(50, 1000)), "`limit` is a whole number, not \"-1\"");
    }

    #[test]
    fn an_unknown_word_is_told_the_known_ones() {
        assert_eq!(query("sort=idle").word::<Sort>("sort").ok(), Some(Sort::Idle));
        assert_eq!(
            message(query("sort=beauty").word::<Sort>("sort")),
            "`sort`: unknown variant `beauty`, expected one of `mailbox`, `outbox`, `restarts`, `idle`"
        );
    }
}
