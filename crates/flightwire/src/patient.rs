//! How long is a message of a client waited for? A call that was begun and then says nothing would be
//! waited for without end: its body breaks off after so long without a byte.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;

use crate::error::FlightError;

/// The body of a request, with a bound on each silence within it.
pub(crate) struct Patient<B> {
    body: B,
    limit: Duration,
    silence: Pin<Box<Sleep>>,
}

impl<B> Patient<B> {
    /// A body that may be silent for as long as `limit`.
    pub(crate) fn new(body: B, limit: Duration) -> Self {
        Self { body, limit, silence: Box::pin(sleep(limit)) }
    }
}

impl<B> Body for Patient<B>
where
    B: Body + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = B::Data;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Status>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(frame) => {
                let next = Instant::now() + this.limit;
                this.silence.as_mut().reset(next);
                Poll::Ready(
                    frame.map(|frame| frame.map_err(|error| Status::from_error(error.into()))),
                )
            }
            Poll::Pending => this
                .silence
                .as_mut()
                .poll(context)
                .map(|()| Some(Err(Status::from(FlightError::Silent(this.limit))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::future::poll_fn;

    use bytes::Bytes;
    use tonic::Code;

    use super::*;

    /// Sends so many frames and is silent then.
    struct Script(usize);

    impl Body for Script {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            let Some(left) = self.0.checked_sub(1) else { return Poll::Pending };
            self.0 = left;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    #[tokio::test]
    async fn what_is_sent_is_passed_on_and_silence_breaks_off() {
        let mut body = Patient::new(Script(2), Duration::from_millis(20));
        let mut next = async || poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        for _ in 0..2 {
            assert_eq!(next().await.unwrap().unwrap().into_data().unwrap(), "x");
        }
        assert_eq!(next().await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    }
}
