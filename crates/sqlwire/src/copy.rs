//! How does `COPY … TO STDOUT` write rows? As tab-separated text or CSV, by PostgreSQL's rules.

use bytes::BufMut as _;

use crate::{
    output::short,
    port::{Cell, Column},
    run::{Link, Run, Stop},
    statement::CopyFormat,
    value,
};

/// Sends all rows of a query. The answer's tag comes last.
pub(crate) async fn copy_out(
    link: &mut Link,
    run: &mut Run,
    format: &CopyFormat,
) -> Result<(), Stop> {
    let columns = run.columns(link).await?;
    link.output.message(b'H', |out| {
        out.put_u8(0);
        out.put_i16(short(columns.len()));
        (0..columns.len()).for_each(|_| out.put_i16(0));
    });
    if format.header {
        let names = columns.iter().map(|column| Some(column.name.clone().into_bytes()));
        send(link, &line(names, format));
    }
    while let Some(row) = run.row(link).await? {
        let values = columns.iter().zip(&row).map(|(column, cell)| text(column, cell));
        send(link, &line(values, format));
        link.output.relieve().await?;
    }
    link.output.empty(b'c');
    link.output.complete(&format!("COPY {}", run.count));
    Ok(())
}

fn send(link: &mut Link, line: &[u8]) {
    link.output.message(b'd', |out| out.put_slice(line));
}

fn text(column: &Column, cell: &Cell) -> Option<Vec<u8>> {
    if *cell == Cell::Null {
        return None;
    }
    let mut text = Vec::new();
    value::write_text(&mut text, column.kind, cell);
    Some(text)
}

fn line(values: impl Iterator<Item = Option<Vec<u8>>>, format: &CopyFormat) -> Vec<u8> {
    let mut line = Vec::new();
    for (index, value) in values.enumerate() {
        if index > 0 {
            line.push(format.delimiter);
        }
        match value {
            None => line.extend(format.null.bytes()),
            Some(value) if format.csv => quote(&mut line, &value, format),
            Some(value) => escape(&mut line, &value, format.delimiter),
        }
    }
    line.push(b'\n');
    line
}

fn quote(line: &mut Vec<u8>, value: &[u8], format: &CopyFormat) {
    let special = |byte: &u8| [format.delimiter, b'"', b'\n', b'\r'].contains(byte);
    // What reads as null without quotes is text: only the quotes tell the two apart.
    if !value.iter().any(special) && value != format.null.as_bytes() && value != b"\\." {
        line.extend(value);
        return;
    }
    line.push(b'"');
    for byte in value {
        if *byte == b'"' {
            line.push(b'"');
        }
        line.push(*byte);
    }
    line.push(b'"');
}

fn escape(line: &mut Vec<u8>, value: &[u8], delimiter: u8) {
    for &byte in value {
        let letter = match byte {
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0b => b'v',
            0x0c => b'f',
            byte if byte == delimiter => byte,
            byte => {
                line.push(byte);
                continue;
            }
        };
        line.extend([b'\\', letter]);
    }
}
