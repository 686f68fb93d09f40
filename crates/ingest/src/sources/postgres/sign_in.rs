//! How does a connection begin? With who asks, for which database, and how values are to be written; the
//! server then asks for a proof.

use bytes::{Buf as _, Bytes};

use super::{
    address::Address,
    fault::PostgresFault,
    scram::{MECHANISM, Scram},
    wire::{Connection, Result, framed, length_of, server_error},
};

/// The version of the protocol.
const VERSION: u32 = 3 << 16;

/// How values are written as text, whatever the server's own settings are.
const SETTINGS: [(&str, &str); 8] = [
    ("application_name", "sextant"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("TimeZone", "UTC"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "3"),
    // Rows that a policy hides would be missing in silence: then the server refuses.
    ("row_security", "off"),
];

impl Connection {
    /// Signs in on a new connection; one for replication takes its commands besides SQL.
    pub(super) async fn sign_in(&mut self, address: &Address, replication: bool) -> Result<()> {
        let mut parameters = vec![("user", &*address.user), ("database", &*address.database)];
        parameters.extend(SETTINGS);
        if replication {
            // A slot's reader may be silent while it writes a table.
            parameters.extend([("replication", "database"), ("wal_sender_timeout", "600000")]);
        }
        let mut body = VERSION.to_be_bytes().to_vec();
        for (name, value) in parameters {
            for text in [name, value] {
                body.extend(self.text(text)?);
            }
        }
        body.push(0);
        self.send(&framed(None, &body)?).await?;
        let mut scram = None;
        loop {
            let message = self.message().await?;
            match message.tag {
                b'R' => self.authenticate(address, message.body, &mut scram).await?,
                b'E' => return Err(PostgresFault::of_server(&server_error(&message.body))),
                b'Z' => return Ok(()),
                b'v' => return Err(self.odd(&"it speaks another version of the protocol")),
                _ => {}
            }
        }
    }

    async fn authenticate(
        &mut self,
        address: &Address,
        mut body: Bytes,
        scram: &mut Option<Scram>,
    ) -> Result<()> {
        let refuse = |reason: &str| PostgresFault::Refused { reason: reason.to_owned() };
        let password = || {
            let password = address.password.as_deref();
            password.ok_or_else(|| refuse("the server asks for a password, and the url has none"))
        };
        let kind = body.try_get_i32().map_err(|error| self.odd(&error))?;
        let answer = match kind {
            0 => return Ok(()),
            3 if !address.tls && address.socket().is_none() => {
                return Err(refuse(
                    "the server asks for the password as it is, without encryption",
                ));
            }
            3 => self.text(password()?)?,
            10 => {
                if !body.split(|byte| *byte == 0).any(|offered| offered == MECHANISM.as_bytes()) {
                    return Err(refuse("the server wants a way of signing in that is not known"));
                }
                password()?;
                let begun = scram.insert(Scram::new().map_err(refuse)?);
                let first = begun.first();
                let mut answer = self.text(MECHANISM)?;
                answer.extend(length_of(&first)?.to_be_bytes());
                answer.extend(first.bytes());
                answer
            }
            11 => {
                let begun = scram.as_mut().ok_or_else(|| self.short())?;
                begun.answer(password()?.as_bytes(), &body).map_err(refuse)?.into_bytes()
            }
            12 => {
                let begun = scram.as_ref().ok_or_else(|| self.short())?;
                return begun.finish(&body).map_err(refuse);
            }
            5 => {
                return Err(refuse(
                    "the server has the password as MD5; store it as SCRAM-SHA-256",
                ));
            }
            _ => return Err(refuse("the server wants a way of signing in that is not known")),
        };
        self.send(&framed(Some(b'p'), &answer)?).await
    }
}
