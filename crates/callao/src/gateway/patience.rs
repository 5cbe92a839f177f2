//! A connection whose client takes too little is ended: it would hold buffers that others wait for. Knows no HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// So long may a client make us wait for taking [`TAKEN_BYTES_MIN`].
const WAIT_MAX: Duration = Duration::from_secs(30);
/// About 17 KiB a second: slower than any link that an image is fetched over.
const TAKEN_BYTES_MIN: usize = 512 << 10;

/// A stream that is patient only so long. Time in which nothing waits to be written does not count.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    wait_max: Duration,
    /// Written since the count began.
    taken: usize,
    /// Waited since then, without the wait that is going on.
    waited: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S) -> Self {
        Patient {
            stream,
            wait_max: WAIT_MAX,
            taken: 0,
            waited: Duration::ZERO,
            waiting: None,
        }
    }

    /// Judges the outcome of a write.
    fn judge(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = outcome {
            if let Some((since, _)) = self.waiting.take() {
                self.waited += since.elapsed();
            }
            self.taken += result.as_ref().unwrap_or(&0);
            if self.taken >= TAKEN_BYTES_MIN {
                (self.taken, self.waited) = (0, Duration::ZERO);
            }
            return Poll::Ready(result);
        }
        let left = self.wait_max.saturating_sub(self.waited);
        let (_, alarm) = self
            .waiting
            .get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(left))));
        match alarm.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn on_runtime<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(work)
    }

    #[test]
    fn who_takes_nothing_is_given_up_and_who_takes_is_not() {
        on_runtime(async {
            let (near, mut far) = tokio::io::duplex(1000);
            let mut patient = Patient::new(near);
            patient.wait_max = Duration::from_millis(50);
            let given_up = patient
                .write_all(&[0; 2000])
                .await
                .expect_err("nobody reads");
            assert_eq!(given_up.kind(), io::ErrorKind::TimedOut);

            let mut bytes = vec![0; 1000];
            far.read_exact(&mut bytes).await.expect("what was written");
            let (near, mut far) = tokio::io::duplex(1000);
            let mut patient = Patient::new(near);
            let reader = tokio::spawn(async move {
                let mut all = Vec::new();
                far.read_to_end(&mut all).await.expect("all");
                all.len()
            });
            patient
                .write_all(&vec![0; TAKEN_BYTES_MIN + 5])
                .await
                .expect("taken");
            assert!(patient.taken < TAKEN_BYTES_MIN, "counted anew");
            drop(patient);
            assert_eq!(reader.await.expect("it ends"), TAKEN_BYTES_MIN + 5);
        });
    }
}
