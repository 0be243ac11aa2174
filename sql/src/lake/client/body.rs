//! The body of an answer that may take any time as long as it moves.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{HttpError, HttpErrorKind, HttpResponseBody};
use tokio::time::{Instant, Sleep};

use super::Transient;

/// A body that ends with an error once nothing has come of it for so long while somebody waited.
#[derive(Debug)]
pub(super) struct Moving {
    inner: HttpResponseBody,
    timeout: Duration,
    /// Runs while somebody waits.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Moving {
    pub(super) const fn new(inner: HttpResponseBody, timeout: Duration) -> Self {
        Self { inner, timeout, alarm: None }
    }
}

/// A request that got no answer, or no more of it.
pub(super) fn stood_still(timeout: Duration) -> HttpError {
    let what = format!("nothing came for {:.1} s", timeout.as_secs_f64());
    HttpError::new(HttpErrorKind::Timeout, Transient { what, after: None })
}

impl Body for Moving {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            this.alarm = None;
            return Poll::Ready(frame);
        }
        let timeout = this.timeout;
        let alarm = this.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + timeout)));
        match alarm.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err(stood_still(timeout)))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
