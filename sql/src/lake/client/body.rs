//! The body of an answer that may take any time as long as it moves.

use std::fmt::{self, Debug, Formatter};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{HttpError, HttpErrorKind, HttpResponseBody};

use super::Transient;
use crate::lake::timer::Timer;

/// A body that ends with an error once nothing has come of it for so long while somebody waited.
pub(super) struct Moving {
    inner: HttpResponseBody,
    timeout: Duration,
    timer: Arc<dyn Timer>,
    /// Runs while somebody waits. Nobody locks it: a body must be `Sync`, which no future is.
    alarm: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Moving {
    pub(super) fn new(inner: HttpResponseBody, timeout: Duration, timer: Arc<dyn Timer>) -> Self {
        Self { inner, timeout, timer, alarm: Mutex::default() }
    }
}

impl Debug for Moving {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moving").field("inner", &self.inner).field("timeout", &self.timeout).finish_non_exhaustive()
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
        let alarm = this.alarm.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            *alarm = None;
            return Poll::Ready(frame);
        }
        let (timeout, timer) = (this.timeout, &this.timer);
        let alarm = alarm.get_or_insert_with(|| {
            let timer = Arc::clone(timer);
            async move { timer.sleep(timeout).await }.boxed()
        });
        alarm.poll_unpin(context).map(|()| Some(Err(stood_still(timeout))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use futures::channel::mpsc;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;
    use crate::lake::timer::Hand;
    use crate::lake::trouble::cause;

    const TIMEOUT: Duration = Duration::from_secs(30);
    const SOON: Duration = Duration::from_secs(29);

    /// A body, what comes of it, and the time.
    fn body() -> (Moving, mpsc::UnboundedSender<&'static str>, Arc<Hand>) {
        let (sender, receiver) = mpsc::unbounded();
        let frames = receiver.map(|text| Ok(Frame::data(Bytes::from(text))));
        let timer = Arc::new(Hand::default());
        let inner = HttpResponseBody::new(StreamBody::new(frames));
        (Moving::new(inner, TIMEOUT, Arc::clone(&timer) as _), sender, timer)
    }

    /// What has come by now; `None` if nothing has.
    fn come(body: &mut Moving) -> Option<Option<Result<Bytes, HttpError>>> {
        let frame = body.frame().now_or_never()?;
        Some(frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default())))
    }

    #[test]
    fn a_body_that_stands_still_ends_with_an_error_that_is_worth_another_try() {
        let (mut body, sender, timer) = body();
        sender.unbounded_send("some").unwrap();
        assert_eq!(come(&mut body).unwrap().unwrap().unwrap(), "some");
        assert!(come(&mut body).is_none());
        timer.turn(SOON);
        assert!(come(&mut body).is_none());
        timer.turn(TIMEOUT - SOON);
        let error = come(&mut body).unwrap().unwrap().unwrap_err();
        let what = "nothing came for 30.0 s".to_owned();
        assert_eq!(cause(&error), Some(&Transient { what, after: None }), "{error:?}");
        assert_eq!(error.kind(), HttpErrorKind::Timeout);
    }

    #[test]
    fn a_body_that_moves_may_take_any_time_and_so_may_its_reader() {
        let (mut body, sender, timer) = body();
        for _ in 0..10 {
            assert!(come(&mut body).is_none());
            timer.turn(SOON);
            sender.unbounded_send("some").unwrap();
            assert_eq!(come(&mut body).unwrap().unwrap().unwrap(), "some");
            // The reader does something else.
            timer.turn(2 * TIMEOUT);
        }
        drop(sender);
        assert!(come(&mut body).unwrap().is_none(), "it ends as it should");
    }
}
