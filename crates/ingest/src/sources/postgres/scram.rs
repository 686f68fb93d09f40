//! How does one sign in without sending the password? SCRAM-SHA-256 (RFC 7677): both sides prove that
//! they know it. A password that is not ASCII is taken as it is written, without normalising it.

use std::num::NonZeroU32;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    digest::{SHA256, SHA256_OUTPUT_LEN, digest},
    hmac,
    pbkdf2::{PBKDF2_HMAC_SHA256, derive},
    rand::{SecureRandom as _, SystemRandom},
};

/// Its name in the protocol.
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";
/// Most rounds that a server may ask for: more would keep us busy for long.
const ROUNDS_MAX: u32 = 1_000_000;
const NONCE_BYTES: usize = 18;
/// No channel binding, and the same in base64.
const HEADER: &str = "n,,";
const HEADER_BASE64: &str = "biws";

type Words<T> = Result<T, &'static str>;

/// One side of the exchange: ours.
pub(super) struct Scram {
    user: &'static str,
    nonce: String,
    /// What our proof says that the server's must be.
    expected: Option<hmac::Tag>,
}

impl Scram {
    pub(super) fn new() -> Words<Self> {
        let mut bytes = [0; NONCE_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| "the system gives no random numbers")?;
        // The server takes the name from the beginning of the connection.
        Ok(Self { user: "", nonce: STANDARD.encode(bytes), expected: None })
    }

    /// The first message.
    pub(super) fn first(&self) -> String {
        format!("{HEADER}{}", self.bare())
    }

    fn bare(&self) -> String {
        format!("n={},r={}", self.user, self.nonce)
    }

    /// The answer to the server's first message: our proof.
    pub(super) fn answer(&mut self, password: &[u8], challenge: &[u8]) -> Words<String> {
        let odd = "the server's challenge is not understood";
        let challenge = std::str::from_utf8(challenge).map_err(|_| odd)?;
        let mut parts = challenge.split(',');
        let mut part =
            |name: &str| parts.next().and_then(|part| part.strip_prefix(name)).ok_or(odd);
        let (nonce, salt, rounds) = (part("r=")?, part("s=")?, part("i=")?);
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the server answers to another question");
        }
        let salt = STANDARD.decode(salt).map_err(|_| odd)?;
        let rounds: u32 = rounds.parse().map_err(|_| odd)?;
        let rounds = NonZeroU32::new(rounds).filter(|it| it.get() <= ROUNDS_MAX).ok_or(odd)?;
        let mut salted = [0; SHA256_OUTPUT_LEN];
        derive(PBKDF2_HMAC_SHA256, rounds, &salt, password, &mut salted);
        let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        let unproven = format!("c={HEADER_BASE64},r={nonce}");
        let all = format!("{},{challenge},{unproven}", self.bare());
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored = digest(&SHA256, client_key.as_ref());
        let stored = hmac::Key::new(hmac::HMAC_SHA256, stored.as_ref());
        let signature = hmac::sign(&stored, all.as_bytes());
        let both = client_key.as_ref().iter().zip(signature.as_ref());
        let proof: Vec<u8> = both.map(|(key, signature)| key ^ signature).collect();
        let server_key = hmac::sign(&salted, b"Server Key");
        let server_key = hmac::Key::new(hmac::HMAC_SHA256, server_key.as_ref());
        self.expected = Some(hmac::sign(&server_key, all.as_bytes()));
        Ok(format!("{unproven},p={}", STANDARD.encode(proof)))
    }

    /// Checks the server's proof: that it knows the password, too.
    pub(super) fn finish(&self, last: &[u8]) -> Words<()> {
        let odd = "the server does not prove that it knows the password";
        let proof = last.strip_prefix(b"v=").ok_or(odd)?;
        let proof = STANDARD.decode(proof).map_err(|_| odd)?;
        let expected = self.expected.as_ref().ok_or(odd)?;
        (expected.as_ref() == proof).then_some(()).ok_or(odd)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_exchange_is_that_of_rfc_7677() {
        let nonce = "rOprNGfwEbeRWgbNEkqO".to_owned();
        let mut scram = Scram { user: "user", nonce, expected: None };
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let whole = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let challenge = format!("r={whole},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let answer = scram.answer(b"pencil", challenge.as_bytes()).unwrap();
        let proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(answer, format!("c=biws,r={whole},p={proof}"));
        assert!(scram.finish(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").is_ok());
        assert!(scram.finish(b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").is_err());
        assert!(scram.finish(b"e=other-error").is_err());
        for other in ["r=x,s=W22Z,i=1", "r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=1", "i=1"] {
            assert!(scram.answer(b"pencil", other.as_bytes()).is_err(), "{other}");
        }
        let slow = challenge.replace("4096", "2000000");
        assert!(scram.answer(b"pencil", slow.as_bytes()).is_err());
    }
}
