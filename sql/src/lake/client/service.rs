//! One request, and what its answer means for whoever may send it again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::future::{Either, select};
use http::StatusCode;
use object_store::client::{
    HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};

use super::body::{Moving, stood_still};
use super::{Limits, Skew, Transient, retry_after};
use crate::lake::timer::Timer;
use crate::secret::redact;

/// Sends requests; notes the time of answers; ends what stands still.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) inner: HttpClient,
    pub(super) skew: Skew,
    pub(super) limits: Limits,
    pub(super) timer: Arc<dyn Timer>,
}

/// Slower than this, in bytes a second, an upload is taken to stand still.
const SLOWEST_UPLOAD: u64 = 64 << 10;
/// As much is read of the body of an answer that is an error.
const LONGEST_ERROR: usize = 64 << 10;

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // The answer comes when all that is sent has arrived.
        let sending = Duration::from_secs(request.body().content_length() as u64 / SLOWEST_UPLOAD);
        let patience = self.limits.timeout.saturating_add(sending);
        let answer = std::pin::pin!(self.inner.execute(request));
        let response = match select(answer, self.timer.sleep(patience)).await {
            Either::Left((answer, _)) => answer?,
            Either::Right(_) => return Err(stood_still(patience)),
        };
        self.skew.note(response.headers());
        let (parts, body) = response.into_parts();
        let body = HttpResponseBody::new(Moving::new(body, self.limits.timeout, Arc::clone(&self.timer)));
        if !may_pass(parts.status) {
            return Ok(HttpResponse::from_parts(parts, body));
        }
        let text = beginning(body).await;
        if passes(parts.status, &text) {
            let what =
                redact(&format!("Server returned non-2xx status code: {}: {}", parts.status, text.trim())).into_owned();
            return Err(HttpError::new(
                HttpErrorKind::Interrupted,
                Transient { what, after: retry_after(&parts.headers) },
            ));
        }
        Ok(HttpResponse::from_parts(parts, Bytes::from(text).into()))
    }
}

/// Statuses that pass, and those that do so for some reasons.
fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 408 | 409 | 429 | 500 | 502 | 503 | 504)
}

/// Whether the same request may succeed a moment later.
fn passes(status: StatusCode, text: &str) -> bool {
    match status.as_u16() {
        // S3: the request came too slowly.
        400 => text.contains("<Code>RequestTimeout</Code>"),
        // S3: another conditional write of the same name is under way, and which one wins is not known yet.
        409 => text.contains("ConditionalRequestConflict") || text.contains("OperationAborted"),
        _ => true,
    }
}

/// The first bytes of a body; what breaks off says no more.
async fn beginning(body: HttpResponseBody) -> String {
    let mut read = BytesMut::new();
    let mut stream = body.bytes_stream();
    while let Some(Ok(bytes)) = stream.next().await {
        let room = LONGEST_ERROR.saturating_sub(read.len());
        read.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if read.len() == LONGEST_ERROR {
            break;
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::lake::timer::Hand;
    use crate::lake::trouble::cause;

    /// Answers nothing.
    #[derive(Debug)]
    struct Silent;

    #[async_trait]
    impl HttpService for Silent {
        async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
            std::future::pending().await
        }
    }

    #[test]
    fn a_request_that_is_not_answered_ends_later_the_more_it_sends() {
        let limits = Limits::default();
        for (sent, seconds) in [(0, 30), (10 * SLOWEST_UPLOAD, 40)] {
            let timer = Arc::new(Hand::default());
            let inner = HttpClient::new(Silent);
            let service = Service { inner, skew: Skew::default(), limits, timer: Arc::clone(&timer) as _ };
            let body = vec![0; usize::try_from(sent).unwrap()];
            let mut call = service.call(http::Request::put("http://x/").body(body.into()).unwrap());
            assert!(call.as_mut().now_or_never().is_none());
            timer.turn(Duration::from_secs(seconds - 1));
            assert!(call.as_mut().now_or_never().is_none());
            timer.turn(Duration::from_secs(1));
            let error = call.as_mut().now_or_never().unwrap().unwrap_err();
            let what = format!("nothing came for {seconds}.0 s");
            assert_eq!(cause(&error), Some(&Transient { what, after: None }), "{error:?}");
        }
    }

    #[test]
    fn throttling_and_faults_of_the_service_pass_and_refusals_do_not() {
        let passing = |status: u16, text: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            may_pass(status) && passes(status, text)
        };
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(passing(status, ""), "{status}");
        }
        for status in [200, 206, 304, 401, 403, 404, 412, 416, 501] {
            assert!(!passing(status, ""), "{status}");
        }
        assert!(
            passing(400, "<Error><Code>RequestTimeout</Code></Error>") && !passing(400, "<Code>InvalidArgument</Code>")
        );
        assert!(
            passing(409, "<Code>ConditionalRequestConflict</Code>") && !passing(409, "<Code>BlobAlreadyExists</Code>")
        );
    }
}
