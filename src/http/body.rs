//! The body of an API request: read up to a bound, taken for JSON whatever its content type says, and its mistakes told
//! with line and column.

use actix_web::{FromRequest, HttpRequest, dev::Payload, web::Bytes};
use futures_util::{StreamExt as _, future::LocalBoxFuture};
use serde::Deserialize;

use crate::{
    http::error::ApiError,
    protocol::error::{ErrorCode, Fault},
};

/// Largest body: a batch of a hundred of the largest events.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Of a body too large so much is read and thrown away: most clients look for the answer only when all is sent.
const MAX_IGNORED: usize = 64 * 1024 * 1024;

/// All of it, undecoded.
pub(super) struct Body(Bytes);

impl Body {
    /// Decodes it; the result may borrow from it.
    pub(super) fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ApiError> {
        if self.0.is_empty() {
            return Err(ApiError::bad_request("the body is empty, JSON is wanted"));
        }
        serde_json::from_slice(&self.0).map_err(|error| ApiError::bad_request(error.to_string()))
    }
}

impl FromRequest for Body {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(_: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let payload = payload.take();
        Box::pin(read(payload))
    }
}

async fn read(mut payload: Payload) -> Result<Body, ApiError> {
    let mut bytes = actix_web::web::BytesMut::new();
    let mut ignored = 0;
    while let Some(part) = payload.next().await {
        let part = part.map_err(|error| ApiError::bad_request(format!("the body did not arrive whole: {error}")))?;
        if ignored == 0 && bytes.len() + part.len() <= MAX_BYTES {
            bytes.extend_from_slice(&part);
            continue;
        }
        bytes = actix_web::web::BytesMut::new();
        ignored += part.len();
        if ignored > MAX_IGNORED {
            break;
        }
    }
    if ignored > 0 {
        return Err(Fault::new(ErrorCode::TooLarge, format!("a body may have {MAX_BYTES} bytes")).into());
    }
    Ok(Body(bytes.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Wanted {
        #[expect(dead_code, reason = "only its absence is looked at")]
        channel: String,
    }

    fn message(body: &'static str) -> String {
        let error = Body(Bytes::from_static(body.as_bytes())).parse::<Wanted>().expect_err("no such body");
        error.into_fault().message.into_owned()
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        assert_eq!(message("{\"data\":1}"), "missing field `channel` at line 1 column 10");
        assert_eq!(message("{\n \"channel\": 7}"), "invalid type: integer `7`, expected a string at line 2 column 13");
        assert_eq!(message(""), "the body is empty, JSON is wanted");
    }
}
