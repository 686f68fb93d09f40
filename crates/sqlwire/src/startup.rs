//! Who is at the other end, and may they ask? The start-up packets, and the password when the
//! gatekeeper does not trust the connection without one.

use std::{net::SocketAddr, sync::Arc};

use bytes::BufMut as _;
use sextant_core::Gatekeeper;

use crate::{
    error::WireError,
    input::Fields,
    limits,
    output::put_text,
    run::{Link, Stop},
    session::Session,
};

const SSL: i32 = 80_877_103;
const GSS: i32 = 80_877_104;
const CANCEL: i32 = 80_877_102;
const VERSION_MAJOR: i32 = 3;

/// What the first packets ask for.
pub(crate) enum Wish {
    /// A session.
    Session(Session),
    /// That the statement of another connection be stopped.
    Cancel { id: i32, secret: i32 },
}

/// Reads what a new connection is for. Requests for encryption are declined: a client that insists
/// on it leaves.
pub(crate) async fn wish(link: &mut Link) -> Result<Wish, Stop> {
    // A client may ask for each kind of encryption once before it goes on without.
    for _ in 0..3 {
        let mut fields = Fields(link.input.packet().await.map_err(fatal)?.ok_or(Stop::Gone)?);
        let code = fields.int().map_err(fatal)?;
        if code == SSL || code == GSS {
            link.output.byte(b'N');
            link.output.flush().await?;
        } else if code == CANCEL {
            let (id, secret) = (fields.int().map_err(fatal)?, fields.int().map_err(fatal)?);
            return Ok(Wish::Cancel { id, secret });
        } else if code >> 16 == VERSION_MAJOR {
            return session(link, &mut fields, code & 0xffff).map(Wish::Session);
        } else {
            let version = format!("version {}.{} of the protocol", code >> 16, code & 0xffff);
            return Err(fatal(WireError::Unsupported(version)));
        }
    }
    Err(fatal(WireError::Protocol("no start-up packet".to_owned())))
}

fn fatal(error: WireError) -> Stop {
    Stop::Fatal(error.into())
}

fn session(link: &mut Link, fields: &mut Fields, minor: i32) -> Result<Session, Stop> {
    let mut given = Vec::new();
    let mut unknown = Vec::new();
    loop {
        let name = fields.text().map_err(fatal)?;
        if name.is_empty() {
            break;
        }
        let value = fields.text().map_err(fatal)?;
        if name.starts_with("_pq_.") { unknown.push(name) } else { given.push((name, value)) }
    }
    if minor > 0 || !unknown.is_empty() {
        link.output.message(b'v', |out| {
            out.put_i32(VERSION_MAJOR << 16);
            out.put_i32(i32::try_from(unknown.len()).unwrap_or(0));
            unknown.iter().for_each(|name| put_text(out, name));
        });
    }
    let user = given.iter().find(|(name, _)| name == "user").map(|(_, user)| user.clone());
    let user = user.ok_or_else(|| fatal(WireError::Protocol("no user name".to_owned())))?;
    let mut session = Session::new(user);
    for (name, value) in given {
        match name.as_str() {
            // There is one database, whatever a client calls it.
            "user" | "database" => {}
            "replication" if matches!(value.as_str(), "" | "0" | "false" | "off" | "no") => {}
            "replication" => return Err(fatal(WireError::Unsupported(name))),
            "options" => options(&mut session, &value).map_err(fatal)?,
            _ => session.set(&name, Some(value)).map_err(fatal)?,
        }
    }
    Ok(session)
}

/// `-c name=value`, as often as it stands there.
fn options(session: &mut Session, text: &str) -> Result<(), WireError> {
    for part in text.split_whitespace() {
        let setting = part.strip_prefix("-c").or_else(|| part.strip_prefix("--")).unwrap_or(part);
        match setting.split_once('=') {
            Some((name, value)) => session.set(&name.replace('-', "_"), Some(value.to_owned()))?,
            None if setting.is_empty() => {}
            None => return Err(WireError::Unsupported(format!("the option {part}"))),
        }
    }
    Ok(())
}

/// Lets the client in, or says why not.
pub(crate) async fn authenticate(
    link: &mut Link,
    gate: &Arc<dyn Gatekeeper>,
    user: &str,
    ends: (SocketAddr, SocketAddr),
) -> Result<(), Stop> {
    let asked = Arc::clone(gate);
    let trusted = tokio::task::spawn_blocking(move || asked.trusts(ends.0, ends.1)).await;
    if !trusted.unwrap_or(false) {
        link.output.message(b'R', |out| out.put_i32(3));
        link.output.flush().await?;
        let message = link.input.message(limits::LOGIN_BYTES_MAX).await.map_err(fatal)?;
        let (kind, body) = message.ok_or(Stop::Gone)?;
        if kind != b'p' {
            return Err(fatal(WireError::Protocol("a password was expected".to_owned())));
        }
        let key = Fields(body).text().map_err(fatal)?;
        let asked = Arc::clone(gate);
        let known = tokio::task::spawn_blocking(move || asked.may_read(&key)).await;
        if !known.unwrap_or(false) {
            return Err(fatal(WireError::Unauthenticated { user: user.to_owned() }));
        }
    }
    link.output.message(b'R', |out| out.put_i32(0));
    Ok(())
}
