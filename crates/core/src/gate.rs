//! Who may come in? What every door asks before it opens: the answer is given once, by the server
//! that knows the keys, so that no door can have rules of its own.

use std::net::SocketAddr;

/// Knows who may ask. Both methods may block.
pub trait Gatekeeper: Send + Sync + 'static {
    /// Whether the other end of this connection needs no key.
    fn trusts(&self, peer: SocketAddr, local: SocketAddr) -> bool;

    /// Whether the key may read.
    fn may_read(&self, key: &str) -> bool;
}
