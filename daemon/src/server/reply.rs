//! Answers: JSON, or an error as `{"error": ..., "message": ...}` with its status. Path, query and body are read here as well,
//! since what is wrong with them is an error of the same shape.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use crate::api::{ErrorBody, ErrorCode};
use crate::command::CommandError;
use crate::server::{LARGEST_BODY, push};
use crate::store::StoreError;

/// What a handler gives.
pub(super) type Reply<T> = Result<Json<T>, ApiError>;

/// An answer that is not 2xx.
#[derive(Debug)]
pub(super) struct ApiError {
    body: ErrorBody,
    /// Seconds after which it may be tried again.
    retry_after: Option<u64>,
}

impl ApiError {
    pub(super) fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self { body: ErrorBody { error, message: message.into() }, retry_after: None }
    }

    /// May be tried again after so many seconds.
    pub(super) fn after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self { body, retry_after } = self;
        let status = StatusCode::from_u16(body.error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::warn!(status = status.as_u16(), "a request was not answered: {}", body.message);
        }
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        Self::new(ErrorCode::from(&error), error.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::new(ErrorCode::Journal, error.to_string())
    }
}

/// A query string. Unknown keys are refused by the type itself.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let read: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        match read {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(ApiError::new(ErrorCode::BadRequest, rejection.body_text())),
        }
    }
}

/// What a body has too much of.
fn too_large(is_message: bool) -> String {
    if is_message {
        let (most, message) = (push::LARGEST_BODY, push::LARGEST);
        return format!(
            "the body has more than {most} bytes, and a message may have {message} with all its texts; shorten it, or send a link"
        );
    }
    format!("the body has more than {LARGEST_BODY} bytes")
}

/// What the path names: a task or a run.
pub(super) struct Named(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(rejection) => Err(ApiError::new(ErrorCode::BadRequest, rejection.body_text())),
        }
    }
}

/// A body of JSON; no body at all stands for the defaults. What it may take is a matter of the router (`DefaultBodyLimit`).
pub(super) struct Told<T>(pub(super) T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for Told<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let is_message = request.uri().path().ends_with("/push");
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(ErrorCode::TooLarge, too_large(is_message)),
            _ => ApiError::new(ErrorCode::BadRequest, rejection.body_text()),
        })?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| ApiError::new(ErrorCode::BadRequest, format!("the body cannot be used: {error}")))
    }
}
