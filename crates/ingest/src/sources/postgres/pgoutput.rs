//! What does a slot's stream say? The messages of `pgoutput`, PostgreSQL's own plug-in, in version 1
//! of its protocol: whole transactions in the order of their commits, values as text.

use bytes::{Buf as _, Bytes};

/// Microseconds from 1970 to 2000, where PostgreSQL begins to count.
const EPOCH_US: i64 = 946_684_800_000_000;

/// A value as the server sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Text(Bytes),
    /// A large value that the change has not touched: it is not sent.
    Unchanged,
}

impl Cell {
    /// The bytes of a value that is there.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Text(bytes) => Some(bytes),
            Self::Null | Self::Unchanged => None,
        }
    }
}

/// A table as the stream describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) columns: Vec<RelationColumn>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RelationColumn {
    /// Whether it is one of those that name a row.
    pub(super) key: bool,
    pub(super) name: String,
    pub(super) type_oid: u32,
    pub(super) modifier: i32,
}

/// What a row was before a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Old {
    /// Whether all its values are there, or only those that name it.
    pub(super) whole: bool,
    pub(super) cells: Vec<Cell>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// Where the transaction was committed, and when.
    Begin {
        lsn: u64,
        at_us: i64,
    },
    /// The end of its commit.
    Commit {
        end: u64,
    },
    Relation(Relation),
    Insert {
        relation: u32,
        new: Vec<Cell>,
    },
    Update {
        relation: u32,
        old: Option<Old>,
        new: Vec<Cell>,
    },
    Delete {
        relation: u32,
        old: Old,
    },
    Truncate {
        relations: Vec<u32>,
    },
    /// Something that does not concern rows.
    Other,
}

/// Reads a message; `None` when it is not whole or not of this protocol.
pub(super) fn read(mut body: Bytes) -> Option<Message> {
    let message = match body.try_get_u8().ok()? {
        b'B' => {
            let lsn = body.try_get_u64().ok()?;
            let at_us = body.try_get_i64().ok()?.saturating_add(EPOCH_US);
            body.try_get_u32().ok()?;
            Message::Begin { lsn, at_us }
        }
        b'C' => {
            body.try_get_u8().ok()?;
            body.try_get_u64().ok()?;
            let end = body.try_get_u64().ok()?;
            body.try_get_i64().ok()?;
            Message::Commit { end }
        }
        b'R' => Message::Relation(relation(&mut body)?),
        b'I' => {
            let relation = body.try_get_u32().ok()?;
            expect(&mut body, b'N')?;
            Message::Insert { relation, new: tuple(&mut body)? }
        }
        b'U' => {
            let relation = body.try_get_u32().ok()?;
            let old = match body.first()? {
                b'N' => None,
                _ => Some(old(&mut body)?),
            };
            expect(&mut body, b'N')?;
            Message::Update { relation, old, new: tuple(&mut body)? }
        }
        b'D' => Message::Delete { relation: body.try_get_u32().ok()?, old: old(&mut body)? },
        b'T' => {
            let count = body.try_get_u32().ok()?;
            body.try_get_u8().ok()?;
            let relations = (0..count).map(|_| body.try_get_u32().ok()).collect::<Option<_>>()?;
            Message::Truncate { relations }
        }
        // Where a transaction comes from, the name of a type, a message of a program.
        b'O' | b'Y' | b'M' => return Some(Message::Other),
        _ => return None,
    };
    body.is_empty().then_some(message)
}

fn expect(body: &mut Bytes, tag: u8) -> Option<()> {
    (body.try_get_u8().ok()? == tag).then_some(())
}

fn old(body: &mut Bytes) -> Option<Old> {
    let whole = match body.try_get_u8().ok()? {
        b'O' => true,
        b'K' => false,
        _ => return None,
    };
    Some(Old { whole, cells: tuple(body)? })
}

fn relation(body: &mut Bytes) -> Option<Relation> {
    let oid = body.try_get_u32().ok()?;
    let (schema, name) = (text(body)?, text(body)?);
    body.try_get_u8().ok()?;
    let count = body.try_get_u16().ok()?;
    let column = |_| {
        Some(RelationColumn {
            key: body.try_get_u8().ok()? & 1 == 1,
            name: text(body)?,
            type_oid: body.try_get_u32().ok()?,
            modifier: body.try_get_i32().ok()?,
        })
    };
    let columns = (0..count).map(column).collect::<Option<_>>()?;
    Some(Relation { oid, schema, name, columns })
}

fn text(body: &mut Bytes) -> Option<String> {
    let end = body.iter().position(|byte| *byte == 0)?;
    let text = String::from_utf8(body.split_to(end).to_vec()).ok()?;
    body.advance(1);
    Some(text)
}

fn tuple(body: &mut Bytes) -> Option<Vec<Cell>> {
    let count = body.try_get_u16().ok()?;
    let cell = |_| {
        Some(match body.try_get_u8().ok()? {
            b'n' => Cell::Null,
            b'u' => Cell::Unchanged,
            b't' => {
                let length = body.try_get_u32().ok()? as usize;
                if body.len() < length {
                    return None;
                }
                Cell::Text(body.split_to(length))
            }
            _ => return None,
        })
    };
    (0..count).map(cell).collect()
}

/// One row of a COPY, as text: fields between tabs, with escapes.
pub(super) fn copied_row(line: &Bytes) -> Option<Vec<Cell>> {
    let line = line.strip_suffix(b"\n").map_or(line.clone(), |text| line.slice_ref(text));
    let mut cells = Vec::new();
    for field in line.split(|byte| *byte == b'\t') {
        cells.push(match field {
            b"\\N" => Cell::Null,
            plain if !plain.contains(&b'\\') => Cell::Text(line.slice_ref(plain)),
            escaped => Cell::Text(unescape(escaped)?.into()),
        });
    }
    Some(cells)
}

fn unescape(field: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next()? {
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 11,
                other => *other,
            },
            plain => *plain,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::{BufMut as _, BytesMut};

    use super::*;

    fn cells(cells: &[Option<&str>]) -> Vec<Cell> {
        let cell = |text: &Option<&str>| {
            text.map_or(Cell::Null, |text| Cell::Text(Bytes::copy_from_slice(text.as_bytes())))
        };
        cells.iter().map(cell).collect()
    }

    #[test]
    fn copied_rows_are_unescaped() {
        for (line, expected) in [
            ("1\ta b\t\\N\n", vec![Some("1"), Some("a b"), None]),
            ("a\\tb\\nc\\\\\t\n", vec![Some("a\tb\nc\\"), Some("")]),
            ("\\\\N\n", vec![Some("\\N")]),
            ("ü\n", vec![Some("ü")]),
        ] {
            let line = Bytes::copy_from_slice(line.as_bytes());
            assert_eq!(copied_row(&line).unwrap(), cells(&expected), "{line:?}");
        }
        assert_eq!(copied_row(&Bytes::from_static(b"a\\\n")), None);
    }

    /// An update with the key as it was, a large value that is not sent and a null.
    fn update() -> Vec<u8> {
        let mut body = BytesMut::new();
        body.put_slice(b"U\0\0\0\x07K\0\x02t\0\0\0\x011nN\0\x03t\0\0\0\x012un");
        body.to_vec()
    }

    #[test]
    fn an_update_has_its_old_key_and_its_new_values() {
        let Some(Message::Update { relation: 7, old: Some(old), new }) = read(update().into())
        else {
            unreachable!("not an update")
        };
        assert_eq!((old.whole, old.cells), (false, cells(&[Some("1"), None])));
        assert_eq!(new, [cells(&[Some("2")])[0].clone(), Cell::Unchanged, Cell::Null]);
    }

    #[test]
    fn a_message_that_is_cut_off_or_too_long_is_refused() {
        let whole = update();
        for length in 0..whole.len() {
            assert_eq!(read(whole[..length].to_vec().into()), None, "{length}");
        }
        assert_eq!(read([whole, vec![0]].concat().into()), None);
        assert_eq!(read(Bytes::from_static(b"?")), None);
    }
}
