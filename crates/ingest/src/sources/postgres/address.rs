//! Where is the server, and how is it signed in to? A connection URL, as the clients of PostgreSQL
//! write it: `postgres://user:password@host:port/database?sslmode=verify-full`.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

/// The port when none is written.
const PORT: u16 = 5432;

/// A URL that holds a secret: never printed.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PostgresUrl(String);

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresUrl(…)")
    }
}

/// A server, a database and a user.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// A name, an address, or the folder of a socket.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) database: String,
    /// Whether the connection is encrypted and the server's certificate checked.
    pub(super) tls: bool,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl PostgresUrl {
    /// The parts; a message when it is not such a URL. No part of the URL is in the message.
    pub(super) fn parse(&self) -> Result<Address, String> {
        let rest = ["postgres://", "postgresql://"]
            .iter()
            .find_map(|scheme| self.0.strip_prefix(scheme))
            .ok_or("url must begin with postgres://")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, place) = place.rsplit_once('@').unwrap_or(("", place));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(decode(password)?)),
            None => (login, None),
        };
        let user = decode(user)?;
        if user.is_empty() {
            return Err("url names no user".to_owned());
        }
        let (host, port) = host_and_port(place)?;
        let database = match decode(database)? {
            none if none.is_empty() => user.clone(),
            named => named,
        };
        let mut address = Self::at(host, port, user, password, database);
        let mut encrypted = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            address.set(key, &decode(value)?, &mut encrypted)?;
        }
        if address.host.is_empty() {
            return Err("url names no host".to_owned());
        }
        // The host may have come with the parameters: who is near is only known now.
        address.tls = address.socket().is_none() && encrypted.unwrap_or(!near(&address.host));
        Ok(address)
    }

    /// Whether the password stands in this text.
    pub(super) fn holds_a_secret(&self, text: &str) -> bool {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let login = rest.split(['/', '?']).next().and_then(|place| place.rsplit_once('@'));
        let password = login.and_then(|(login, _)| login.split_once(':'));
        password.is_some_and(|(_, password)| {
            !password.is_empty() && text.contains(&format!(":{password}@"))
        })
    }

    fn at(
        host: String,
        port: u16,
        user: String,
        password: Option<String>,
        database: String,
    ) -> Address {
        Address { tls: !near(&host), host, port, user, password, database }
    }
}

impl Address {
    fn set(&mut self, key: &str, value: &str, encrypted: &mut Option<bool>) -> Result<(), String> {
        match (key, value) {
            ("sslmode", "disable") => *encrypted = Some(false),
            // All of these check the certificate and the name: stricter than libpq for the first two.
            ("sslmode", "require" | "verify-ca" | "verify-full") => *encrypted = Some(true),
            ("sslmode", _) => {
                return Err("sslmode must be disable or verify-full".to_owned());
            }
            ("host", host) => host.clone_into(&mut self.host),
            ("port", port) => self.port = port.parse().map_err(|_| "port is not a number")?,
            ("application_name" | "connect_timeout" | "channel_binding", _) => {}
            _ => return Err(format!("url has the parameter `{key}`, which is not known")),
        }
        Ok(())
    }

    /// Whether it is a socket in a folder.
    pub(super) fn socket(&self) -> Option<String> {
        self.host.starts_with('/').then(|| format!("{}/.s.PGSQL.{}", self.host, self.port))
    }
}

/// Whether what is sent there stays on this machine.
fn near(host: &str) -> bool {
    host.starts_with('/') || ["localhost", "127.0.0.1", "::1"].contains(&host)
}

fn host_and_port(place: &str) -> Result<(String, u16), String> {
    let parse = |port: &str| port.parse().map_err(|_| "url has a port that is not a number");
    if let Some(rest) = place.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or("url has a [ without a ]")?;
        let port = port.strip_prefix(':').map_or(Ok(PORT), parse)?;
        return Ok((host.to_owned(), port));
    }
    if place.contains(',') {
        return Err("url names several hosts; name one".to_owned());
    }
    match place.rsplit_once(':') {
        Some((host, port)) => Ok((decode(host)?, parse(port)?)),
        None => Ok((decode(place)?, PORT)),
    }
}

/// Replaces `%41` by what it stands for.
fn decode(text: &str) -> Result<String, String> {
    let wrong = || "url has a % that is not followed by two hexadecimal digits".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = tail.get(..2).ok_or_else(wrong)?;
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| "url is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(url: &str) -> Result<Address, String> {
        PostgresUrl(url.to_owned()).parse()
    }

    #[test]
    fn urls_are_read_as_other_clients_read_them() {
        for (url, expected) in [
            ("postgres://u@h/d", ("h", 5432, "u", None, "d", true)),
            ("postgresql://u:p%40@h:1/d?sslmode=disable", ("h", 1, "u", Some("p@"), "d", false)),
            ("postgres://u:a:b@[::1]:7", ("::1", 7, "u", Some("a:b"), "u", false)),
            ("postgres://u@/d?host=/run/p&port=9", ("/run/p", 9, "u", None, "d", false)),
            ("postgres://u@127.0.0.1?sslmode=require", ("127.0.0.1", 5432, "u", None, "u", true)),
            ("postgres://u@/d?host=far", ("far", 5432, "u", None, "d", true)),
            ("postgres://u@localhost/d?host=far", ("far", 5432, "u", None, "d", true)),
            ("postgres://u@far/d?host=localhost", ("localhost", 5432, "u", None, "d", false)),
        ] {
            let address = parse(url).unwrap();
            let (host, port, user, password, database, tls) = expected;
            assert_eq!((&*address.host, address.port, &*address.user), (host, port, user), "{url}");
            assert_eq!((address.password.as_deref(), &*address.database), (password, database));
            assert_eq!(address.tls, tls, "{url}");
        }
    }

    #[test]
    fn urls_that_are_none_are_refused_without_their_password() {
        for url in [
            "mysql://u:secret@h/d",
            "postgres://:secret@h/d",
            "postgres://u:secret@/d",
            "postgres://u:secret@h:port/d",
            "postgres://u:secret%@h/d",
            "postgres://u:secret@a,b/d",
            "postgres://u:secret@h/d?sslmode=prefer",
            "postgres://u:secret@h/d?options=-c",
        ] {
            let message = parse(url).map(drop).unwrap_err();
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
