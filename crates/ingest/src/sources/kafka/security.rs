//! How do we sign in to Kafka? By names of environment variables: no secret is in a file of the
//! project, and none is stored.

use std::path::Path;

use krafka::auth::{AuthConfig, TlsConfig};
use schemars::JsonSchema;
use serde::Deserialize;

/// How to sign in, and whether the connection is encrypted.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaSecurity {
    /// Whether the connection is encrypted. The broker's certificate is checked.
    #[serde(default)]
    pub tls: bool,
    /// A file of certificates to trust, relative to the project; without it the usual public ones.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// The mechanism to sign in with; without it nobody signs in.
    #[serde(default)]
    pub sasl: Option<Sasl>,
    /// The environment variable with the user's name.
    #[serde(default)]
    pub username_env: Option<String>,
    /// The environment variable with the password.
    #[serde(default)]
    pub password_env: Option<String>,
}

/// A mechanism to sign in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sasl {
    /// The name and the password as they are.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
}

impl KafkaSecurity {
    /// Refuses what cannot go together: a message and what to write instead.
    pub(crate) fn check(&self) -> Result<(), (String, String)> {
        let refuse = |message: &str, fix: &str| Err((message.to_owned(), fix.to_owned()));
        let named = self.username_env.is_some() && self.password_env.is_some();
        let any = self.username_env.is_some() || self.password_env.is_some();
        if self.sasl.is_some() != named || any != named {
            return refuse(
                "sasl, username_env and password_env belong together",
                "write all three, or none",
            );
        }
        if self.ca_file.is_some() && !self.tls {
            return refuse("ca_file needs tls = true", "write tls = true, or take ca_file out");
        }
        Ok(())
    }
}

/// What the client needs to sign in; a message when a variable is not there.
pub(crate) fn auth(security: &KafkaSecurity, root: &Path) -> Result<Option<AuthConfig>, String> {
    let tls = security.tls.then(|| match &security.ca_file {
        Some(file) => TlsConfig::new().with_ca_cert(root.join(file).display().to_string()),
        None => TlsConfig::new(),
    });
    let Some(sasl) = security.sasl else { return Ok(tls.map(AuthConfig::ssl)) };
    let (user, password) = (variable(&security.username_env)?, variable(&security.password_env)?);
    let auth = match sasl {
        Sasl::Plain => AuthConfig::sasl_plain(user, password),
        Sasl::ScramSha256 => AuthConfig::sasl_scram_sha256(user, password),
        Sasl::ScramSha512 => AuthConfig::sasl_scram_sha512(user, password),
    };
    Ok(Some(match tls {
        Some(tls) => auth.with_tls(tls),
        None => auth,
    }))
}

fn variable(name: &Option<String>) -> Result<String, String> {
    let name = name.as_deref().unwrap_or_default();
    std::env::var(name).map_err(|_| format!("the environment variable `{name}` is not set"))
}
