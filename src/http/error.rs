//! How the API says no: `{"error":{code,message,retry}}` with the status that goes with the code (CONTRACT §2).
//!
//! Every failure of a handler ends here, so that no other file builds the body of an error.

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use serde::Serialize;

use crate::{
    protocol::error::{ErrorCode, Fault},
    shard::ShardsGone,
};

/// A [`Fault`] on its way to an HTTP client.
#[derive(Debug)]
pub(super) struct ApiError {
    fault: Fault,
    status: StatusCode,
    /// Behind a pointer: few errors have one, and every result of the API would carry its size.
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a Fault,
}

impl ApiError {
    /// A field, parameter or body that cannot be used, and what would be right.
    pub(super) fn bad_request(message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Fault::new(ErrorCode::BadRequest, message).into()
    }

    /// Nothing of that name.
    pub(super) fn not_found(message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Fault::new(ErrorCode::NotFound, message).into()
    }

    /// A part of the node answered something else than it was asked: a defect.
    pub(super) fn unexpected_answer() -> Self {
        Fault::new(ErrorCode::Internal, "an answer nobody asked for").into()
    }

    /// The key is missing or wrong.
    pub(super) fn unauthorized(message: &'static str) -> Self {
        let challenge = HeaderValue::from_static("Bearer realm=\"dormouse\"");
        Self::from(Fault::new(ErrorCode::AuthFailed, message)).with(header::WWW_AUTHENTICATE, challenge)
    }

    /// The path exists, the method does not; `allowed` as the `Allow` header lists them.
    pub(super) fn method_not_allowed(method: &str, path: &str, allowed: &str) -> Self {
        let error = Self::bad_request(format!("{method} is not known at {path}, allowed: {allowed}"));
        let allowed = HeaderValue::from_str(allowed).unwrap_or(HeaderValue::from_static("GET"));
        Self { status: StatusCode::METHOD_NOT_ALLOWED, ..error }.with(header::ALLOW, allowed)
    }

    /// The path is for WebSockets.
    pub(super) fn upgrade_required() -> Self {
        let message = "this path is for WebSockets: send `Upgrade: websocket` and `Connection: Upgrade`";
        let error = Self::bad_request(message);
        Self { status: StatusCode::UPGRADE_REQUIRED, ..error }
            .with(header::UPGRADE, HeaderValue::from_static("websocket"))
    }

    /// What the client is told, for answers that list many.
    pub(super) fn into_fault(self) -> Fault {
        self.fault
    }

    fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { header: Some(Box::new((name, value))), ..self }
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        let status = StatusCode::from_u16(fault.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { fault, status, header: None }
    }
}

impl From<ShardsGone> for ApiError {
    fn from(gone: ShardsGone) -> Self {
        Fault::new(ErrorCode::Unavailable, gone.to_string()).into()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fault.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if let Some(header) = &self.header {
            response.insert_header((**header).clone());
        }
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            let seconds = self.fault.retry_after_ms.map_or(1, |ms| ms.div_ceil(1000).max(1));
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        response.json(Body { error: &self.fault })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_keeps_its_code_and_gets_its_status() {
        let cases = [
            (ErrorCode::BadRequest, 400),
            (ErrorCode::AuthFailed, 401),
            (ErrorCode::Forbidden, 403),
            (ErrorCode::NotFound, 404),
            (ErrorCode::TooLarge, 413),
            (ErrorCode::Unavailable, 503),
            (ErrorCode::Timeout, 504),
        ];
        for (code, status) in cases {
            let error = ApiError::from(Fault::new(code, "no"));
            assert_eq!((error.error_response().status().as_u16(), error.into_fault().code), (status, code));
        }
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        let response = ApiError::method_not_allowed("PUT", "/v1/node", "GET, HEAD").error_response();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers().get(header::ALLOW).map(HeaderValue::as_bytes), Some(&b"GET, HEAD"[..]));
    }

    #[test]
    fn a_busy_node_says_when_to_come_back() {
        let fault = Fault::new(ErrorCode::Overloaded, "busy").after_ms(1500);
        let response = ApiError::from(fault).error_response();
        assert_eq!(response.headers().get(header::RETRY_AFTER).map(HeaderValue::as_bytes), Some(&b"2"[..]));
    }
}
