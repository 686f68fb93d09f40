//! How is the server told where to listen and whom to believe?

use std::{net::SocketAddr, path::PathBuf};

/// Who needs a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthMode {
    /// Everyone except connections over loopback that belong to the user who runs the server,
    /// where the kernel can tell (Linux).
    #[default]
    TrustedLoopback,
    /// Everyone.
    Required,
}

/// Where to listen and whom to believe.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The address; port 0 takes any free one.
    pub addr: SocketAddr,
    /// The data directory (`.sextant`), for keys and the discovery file.
    pub data_dir: PathBuf,
    /// Who needs a key.
    pub auth: AuthMode,
    /// Host names besides `localhost`, `127.0.0.1` and `[::1]` by which the server may be called.
    pub allowed_hosts: Vec<String>,
}
