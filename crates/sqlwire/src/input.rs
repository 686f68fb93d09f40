//! How are messages read from a client? Bounded before they are held, and watched for the client's
//! end while a statement runs.

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::{io::AsyncReadExt as _, net::tcp::OwnedReadHalf};

use crate::{error::WireError, limits};

/// What a client sends, as far as it was read.
pub(crate) struct Input {
    half: OwnedReadHalf,
    buffer: BytesMut,
}

impl Input {
    pub fn new(half: OwnedReadHalf) -> Self {
        Self { half, buffer: BytesMut::new() }
    }

    /// The first packet, which has no type; `None` when the client left.
    pub async fn packet(&mut self) -> Result<Option<Bytes>, WireError> {
        self.framed(0, limits::LOGIN_BYTES_MAX, "the start-up packet").await
    }

    /// The next message: its type and body; `None` when the client left. Nothing is lost when the
    /// future is dropped before it is ready.
    pub async fn message(&mut self, bytes_max: usize) -> Result<Option<(u8, Bytes)>, WireError> {
        let message = self.framed(1, bytes_max, "the message").await?;
        Ok(message.map(|mut message| (message.get_u8(), message)))
    }

    async fn framed(
        &mut self,
        head: usize,
        bytes_max: usize,
        what: &'static str,
    ) -> Result<Option<Bytes>, WireError> {
        loop {
            if let Some(field) = self.buffer.get(head..head + 4) {
                let mut field = field;
                let length = usize::try_from(field.get_i32()).unwrap_or(0);
                if length < 4 {
                    return Err(WireError::Protocol("invalid message length".to_owned()));
                }
                if length > bytes_max {
                    return Err(WireError::TooLarge { what, limit: format!("{bytes_max} bytes") });
                }
                if self.buffer.len() >= head + length {
                    let mut message = self.buffer.split_to(head + length);
                    let kind = message.split_to(head);
                    message.advance(4);
                    if head == 0 {
                        return Ok(Some(message.freeze()));
                    }
                    let mut whole = BytesMut::with_capacity(1 + message.len());
                    whole.extend_from_slice(&kind);
                    whole.extend_from_slice(&message);
                    return Ok(Some(whole.freeze()));
                }
            }
            if self.more().await == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads on, and ends when the client has left. While too much waits, nothing is read.
    pub async fn gone(&mut self) {
        while self.buffer.len() < limits::READ_AHEAD_BYTES_MAX {
            if self.more().await == 0 {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// How many bytes came; an error of the connection is its end.
    async fn more(&mut self) -> usize {
        self.half.read_buf(&mut self.buffer).await.unwrap_or(0)
    }
}

/// Reads the fields of one message.
pub(crate) struct Fields(pub Bytes);

impl Fields {
    /// A text that ends with a zero byte.
    pub fn text(&mut self) -> Result<String, WireError> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or_else(short)?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        String::from_utf8(text.to_vec())
            .map_err(|_| WireError::Protocol("text that is not UTF-8".to_owned()))
    }

    pub fn byte(&mut self) -> Result<u8, WireError> {
        self.0.try_get_u8().map_err(|_| short())
    }

    pub fn short(&mut self) -> Result<i16, WireError> {
        self.0.try_get_i16().map_err(|_| short())
    }

    pub fn int(&mut self) -> Result<i32, WireError> {
        self.0.try_get_i32().map_err(|_| short())
    }

    /// A number of things that follow.
    pub fn count(&mut self) -> Result<usize, WireError> {
        usize::try_from(self.short()?).map_err(|_| short())
    }

    /// A value with its length before it; `None` for null.
    pub fn value(&mut self) -> Result<Option<Bytes>, WireError> {
        let Ok(length) = usize::try_from(self.int()?) else { return Ok(None) };
        if length > self.0.len() { Err(short()) } else { Ok(Some(self.0.split_to(length))) }
    }
}

fn short() -> WireError {
    WireError::Protocol("a message ends too early".to_owned())
}
