//! Stands between encryption and multiplexing, and makes few large writes of many small ones. yamux sends frames of 16 KiB
//! and flushes after each of them, which would cost an encrypted frame, a system call and a wake-up on the other side
//! every time. Must not know what is written.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};

use crate::limits::GATHER_BYTES_MAX;

/// Puts a flush off until nothing more was written since the last one: at once, if nobody has more to say.
#[derive(Debug)]
pub(crate) struct Gather<S> {
    inner: S,
    /// Bytes that were written and not flushed.
    held_bytes: usize,
    /// Something was written since the last flush was asked for.
    is_growing: bool,
}

impl<S> Gather<S> {
    pub(crate) fn new(inner: S) -> Self {
        Gather {
            inner,
            held_bytes: 0,
            is_growing: false,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.held_bytes += written;
        self.is_growing = true;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_growing && self.held_bytes < GATHER_BYTES_MAX {
            self.is_growing = false;
            // Whoever asked looks for more to write first, and is then called once more.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.held_bytes = 0;
        self.is_growing = false;
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::io::AsyncWriteExt as _;

    use super::*;

    /// What was written between two flushes.
    #[derive(Default)]
    struct Flushes {
        open: usize,
        done: Vec<usize>,
    }

    impl AsyncWrite for Flushes {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.open += bytes.len();
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            let open = std::mem::take(&mut self.open);
            self.done.push(open);
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(cx)
        }
    }

    /// Writes and asks for a flush without waiting for it, as yamux does.
    fn write(gather: &mut Gather<Flushes>, length: usize) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let written = Pin::new(&mut *gather).poll_write(&mut cx, &vec![0; length]);
        assert!(matches!(written, Poll::Ready(Ok(all)) if all == length));
        Pin::new(gather).poll_flush(&mut cx).is_ready()
    }

    #[test]
    fn frames_that_follow_each_other_leave_together() {
        let mut gather = Gather::new(Flushes::default());
        for _ in 0..3 {
            assert!(!write(&mut gather, 1000));
        }
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut gather).poll_flush(&mut cx).is_ready());
        assert_eq!(gather.inner.done, [3000]);
    }

    #[test]
    fn enough_is_enough() {
        let mut gather = Gather::new(Flushes::default());
        assert!(!write(&mut gather, GATHER_BYTES_MAX - 1));
        assert!(write(&mut gather, 1));
        assert_eq!(gather.inner.done, [GATHER_BYTES_MAX]);
    }

    #[tokio::test]
    async fn whoever_waits_for_a_flush_gets_it() {
        let mut gather = Gather::new(Flushes::default());
        gather.write_all(b"hello").await.expect("written");
        gather.flush().await.expect("flushed");
        assert_eq!(gather.inner.done, [5]);
        gather.write_all(b"bye").await.expect("written");
        gather.close().await.expect("closed");
        assert_eq!(gather.inner.done, [5, 3]);
    }
}
