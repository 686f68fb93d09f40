//! How are answers written to a client? Gathered into larger writes, each with a bound on the time
//! that the client may take.

use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use tokio::{io::AsyncWriteExt as _, net::tcp::OwnedWriteHalf};

use crate::{
    limits,
    port::{Cell, Column, SqlFault},
    value,
};

/// The client cannot be written to any more.
#[derive(Debug)]
pub(crate) struct Gone;

/// What is to be sent.
pub(crate) struct Output {
    half: OwnedWriteHalf,
    buffer: BytesMut,
    cell: Vec<u8>,
}

impl Output {
    pub fn new(half: OwnedWriteHalf) -> Self {
        Self { half, buffer: BytesMut::new(), cell: Vec::new() }
    }

    /// Appends one message; `body` writes what follows its length.
    pub fn message(&mut self, kind: u8, body: impl FnOnce(&mut BytesMut)) {
        self.buffer.put_u8(kind);
        let at = self.buffer.len();
        self.buffer.put_i32(0);
        body(&mut self.buffer);
        let length = i32::try_from(self.buffer.len() - at).unwrap_or(i32::MAX);
        self.buffer[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// A message without a body.
    pub fn empty(&mut self, kind: u8) {
        self.message(kind, |_| {});
    }

    /// One byte outside of any message.
    pub fn byte(&mut self, byte: u8) {
        self.buffer.put_u8(byte);
    }

    pub fn setting(&mut self, name: &str, value: &str) {
        self.message(b'S', |out| {
            put_text(out, name);
            put_text(out, value);
        });
    }

    pub fn complete(&mut self, tag: &str) {
        self.message(b'C', |out| put_text(out, tag));
    }

    /// The columns of a result, each with the form that its values will have.
    pub fn columns(&mut self, columns: &[Column], binary: impl Fn(usize) -> bool) {
        self.message(b'T', |out| {
            out.put_i16(short(columns.len()));
            for (index, column) in columns.iter().enumerate() {
                let (oid, bytes) = column.kind.oid();
                put_text(out, &column.name);
                out.put_i32(0); // of no table
                out.put_i16(0);
                out.put_i32(oid);
                out.put_i16(bytes);
                out.put_i32(-1);
                out.put_i16(i16::from(binary(index)));
            }
        });
    }

    pub fn row(&mut self, columns: &[Column], row: &[Cell], binary: impl Fn(usize) -> bool) {
        let mut cell_bytes = std::mem::take(&mut self.cell);
        self.message(b'D', |out| {
            out.put_i16(short(columns.len()));
            for (index, (column, cell)) in columns.iter().zip(row).enumerate() {
                if *cell == Cell::Null {
                    out.put_i32(-1);
                    continue;
                }
                cell_bytes.clear();
                if binary(index) {
                    value::write_binary(&mut cell_bytes, column.kind, cell);
                } else {
                    value::write_text(&mut cell_bytes, column.kind, cell);
                }
                out.put_i32(i32::try_from(cell_bytes.len()).unwrap_or(i32::MAX));
                out.put_slice(&cell_bytes);
            }
        });
        self.cell = cell_bytes;
    }

    /// An error; `sql` turns its line and column into a position, `before` characters further on.
    pub fn fault(&mut self, fault: &SqlFault, severity: &str, sql: &str, before: usize) {
        let code = fault.failure.code().to_string();
        let text = format!("{code}: {}", fault.failure.chain());
        self.message(b'E', |out| {
            let mut field = |kind: u8, text: &str| {
                out.put_u8(kind);
                put_text(out, text);
            };
            field(b'S', severity);
            field(b'V', severity);
            field(b'C', fault.state);
            field(b'M', &text);
            if let Some(hint) = fault.failure.hint() {
                field(b'H', &hint);
            }
            if let Some(position) = fault.at.and_then(|at| position(sql, at)) {
                field(b'P', &(before + position).to_string());
            }
            out.put_u8(0);
        });
    }

    /// Writes when much is waiting.
    pub async fn relieve(&mut self) -> Result<(), Gone> {
        if self.buffer.len() >= limits::WRITE_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Writes all that is waiting.
    pub async fn flush(&mut self) -> Result<(), Gone> {
        let limit = Duration::from_secs(limits::WRITE_SECONDS);
        let written = tokio::time::timeout(limit, self.half.write_all(&self.buffer)).await;
        self.buffer.clear();
        if matches!(written, Ok(Ok(()))) { Ok(()) } else { Err(Gone) }
    }
}

/// Text of the protocol ends with a zero byte, so it holds none.
pub(crate) fn put_text(out: &mut BytesMut, text: &str) {
    out.extend(text.bytes().filter(|byte| *byte != 0));
    out.put_u8(0);
}

/// A count as the protocol writes it.
pub(crate) fn short(count: usize) -> i16 {
    i16::try_from(count).unwrap_or(i16::MAX)
}

/// The character at a line and column, counted from 1 as all three.
fn position(sql: &str, (line, column): (usize, usize)) -> Option<usize> {
    let before: usize =
        sql.split_inclusive('\n').take(line.checked_sub(1)?).map(|line| line.chars().count()).sum();
    let position = before + column;
    (position <= sql.chars().count() + 1).then_some(position)
}
