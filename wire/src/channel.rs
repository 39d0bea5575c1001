//! One client's socket: frames in, a buffer of messages out.
//!
//! A frame is a type byte, a length that counts itself, and a body. The input buffer grows with the
//! bytes that arrive, never with what a length promises; a length beyond the limit of its message
//! type ends the session before anything is read for it. Answers gather in [`Outgoing`] and leave on
//! [`Channel::flush`]: at Sync, at Flush, and whenever [`FLUSH_BYTES`] are waiting, which is also
//! what slows a query down to the pace of the client that reads it.

use crate::frontend;
use crate::outgoing::Outgoing;
use bytes::{Buf, Bytes, BytesMut};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// With this many bytes waiting, rows wait until they have left.
pub const FLUSH_BYTES: usize = 64 * 1024;
/// Buffers that grew beyond this are given back when they are empty.
const KEEP_BYTES: usize = 1024 * 1024;
const READ_BYTES: usize = 8 * 1024;
const READ_BYTES_MAX: usize = 512 * 1024;
/// PostgreSQL's limit for what arrives before anybody has authenticated.
const STARTUP_BYTES_MAX: usize = 10_000;

/// A typed message, its body not yet looked at.
#[derive(Debug)]
pub struct Frame {
    pub tag: u8,
    pub body: Bytes,
}

/// Why no frame came.
#[derive(Debug)]
pub enum ReadFailure {
    /// The stream no longer makes sense: FATAL 08P01 with this message.
    Garbage(String),
    /// The client went away, tidily or within a message.
    Gone(io::Error),
}

impl From<io::Error> for ReadFailure {
    fn from(error: io::Error) -> ReadFailure {
        ReadFailure::Gone(error)
    }
}

pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

pub struct Channel {
    stream: Stream,
    input: BytesMut,
    pub out: Outgoing,
    message_bytes_max: usize,
}

impl Channel {
    pub fn new(stream: Stream, message_bytes_max: usize) -> Channel {
        Channel {
            stream,
            input: BytesMut::with_capacity(READ_BYTES),
            out: Outgoing::default(),
            message_bytes_max,
        }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// The bare stream, to be wrapped in TLS. Bytes that arrived in clear after the request for TLS
    /// were not written by whoever asked (CVE-2021-23222).
    pub fn into_plain(self) -> Result<TcpStream, ReadFailure> {
        match self.stream {
            Stream::Plain(stream) if self.input.is_empty() => Ok(stream),
            Stream::Plain(_) => {
                Err(ReadFailure::Garbage("received unencrypted data after SSL request".into()))
            }
            Stream::Tls(_) => Err(ReadFailure::Garbage("invalid SSL request within TLS".into())),
        }
    }

    /// The next message. Cancel-safe: dropping the future loses nothing.
    pub async fn read_frame(&mut self) -> Result<Frame, ReadFailure> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(frame);
            }
            let wanted = self.frame_bytes().saturating_sub(self.input.len());
            self.fill(wanted).await?;
        }
    }

    /// The next start-up packet: a length and a body, no type. Cancel-safe.
    pub async fn read_startup(&mut self) -> Result<Bytes, ReadFailure> {
        loop {
            if let Some(length) = self.input.first_chunk::<4>() {
                let length = u32::from_be_bytes(*length) as usize;
                if !(8..=STARTUP_BYTES_MAX).contains(&length) {
                    return Err(ReadFailure::Garbage("invalid length of startup packet".into()));
                }
                if self.input.len() >= length {
                    let mut body = self.input.split_to(length);
                    body.advance(4);
                    return Ok(body.freeze());
                }
            }
            self.fill(0).await?;
        }
    }

    /// Whether a whole Sync has arrived already and comes next.
    pub fn sync_is_next(&self) -> bool {
        self.input.starts_with(b"S\0\0\0\x04")
    }

    /// Sends everything that waits in `out`.
    pub async fn flush(&mut self) -> io::Result<()> {
        if !self.out.bytes().is_empty() {
            self.stream.write_all(self.out.bytes()).await?;
            self.stream.flush().await?;
            self.out.clear(KEEP_BYTES);
        }
        Ok(())
    }

    /// Called between rows: makes the producer wait while the client is behind.
    #[inline]
    pub async fn relieve(&mut self) -> io::Result<()> {
        if self.out.bytes().len() >= FLUSH_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Says goodbye to the stream; errors no longer matter to anyone.
    pub async fn close(mut self) {
        let _ = self.flush().await;
        let _ = self.stream.shutdown().await;
    }

    fn take_frame(&mut self) -> Result<Option<Frame>, ReadFailure> {
        let Some(&tag) = self.input.first() else { return Ok(None) };
        let Some(body_bytes_max) = frontend::body_bytes_max(tag, self.message_bytes_max) else {
            return Err(ReadFailure::Garbage(format!("invalid frontend message type {tag}")));
        };
        if self.input.len() < 5 {
            return Ok(None);
        }
        let frame_bytes = self.frame_bytes();
        if frame_bytes < 5 || frame_bytes - 5 > body_bytes_max {
            return Err(ReadFailure::Garbage("invalid message length".into()));
        }
        if self.input.len() < frame_bytes {
            return Ok(None);
        }
        let mut body = self.input.split_to(frame_bytes);
        body.advance(5);
        if frame_bytes > KEEP_BYTES && self.input.is_empty() {
            self.input = BytesMut::with_capacity(READ_BYTES);
        }
        Ok(Some(Frame { tag, body: body.freeze() }))
    }

    /// Type byte, length and body of the frame that begins the input, as far as it says.
    fn frame_bytes(&self) -> usize {
        match self.input.get(1..5) {
            Some(length) => {
                1 + u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize
            }
            None => 5,
        }
    }

    async fn fill(&mut self, wanted: usize) -> Result<(), ReadFailure> {
        self.input.reserve(wanted.clamp(READ_BYTES / 2, READ_BYTES_MAX));
        if self.stream.read_buf(&mut self.input).await? == 0 {
            return Err(ReadFailure::Gone(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
