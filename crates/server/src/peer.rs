//! Which user of this machine is at the other end of a loopback connection? The kernel's socket
//! table knows, so that user needs no key.
//!
//! Only Linux has the table; elsewhere the answer is always "unknown" and a key is needed. A socket
//! that is not plainly established (closing, orphaned) is unknown as well, because the kernel then
//! reports owner 0.

use std::net::{IpAddr, SocketAddr};

/// What is known of the other end of a connection; travels with each of its requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// Whether it is a process of the user who runs this server, on this machine.
    pub same_user: bool,
}

/// Looks the connection up. Reads a file of the kernel: call it where blocking is allowed.
pub(crate) fn identify(peer: SocketAddr, local: SocketAddr) -> Peer {
    let loopback =
        peer.ip().to_canonical().is_loopback() && local.ip().to_canonical().is_loopback();
    Peer { same_user: loopback && owner(peer, local) == Some(own_user()) }
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The kernel writes its table piece by piece, so a row can be missed while other sockets come and
/// go: a row that is not there is looked for again before it counts as absent.
#[cfg(target_os = "linux")]
fn owner(peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    const LOOKS: usize = 4;
    (0..LOOKS).find_map(|_| {
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
            let text = std::fs::read_to_string(table).ok()?;
            owner_in(&text, peer, local)
        })
    })
}

#[cfg(not(target_os = "linux"))]
fn owner(_peer: SocketAddr, _local: SocketAddr) -> Option<u32> {
    None
}

/// The owner of the socket whose own address is `peer` and whose other end is `local`.
fn owner_in(table: &str, peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    const ESTABLISHED: &str = "01";
    let (own, other) = (spellings(peer), spellings(local));
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (from, to, state) = (fields.next()?, fields.next()?, fields.next()?);
        let matches = state == ESTABLISHED
            && own.iter().any(|address| address == from)
            && other.iter().any(|address| address == to);
        // After the state: queues, timer, retransmits, then the owner.
        if matches { fields.nth(3)?.parse().ok() } else { None }
    })
}

/// How the kernel writes an address: each 32-bit word in the machine's byte order, then the port.
fn spellings(address: SocketAddr) -> Vec<String> {
    let port = address.port();
    let six = |octets: [u8; 16]| {
        let words: String = octets.chunks_exact(4).map(word).collect();
        format!("{words}:{port:04X}")
    };
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            vec![format!("{}:{port:04X}", word(&ip.octets())), six(ip.to_ipv6_mapped().octets())]
        }
        IpAddr::V6(ip) => vec![six(ip.octets())],
    }
}

fn word(bytes: &[u8]) -> String {
    let mut raw = [0_u8; 4];
    raw.copy_from_slice(bytes);
    format!("{:08X}", u32::from_ne_bytes(raw))
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1E14 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1E14 0100007F:C001 01 00000000:00000000 00:00000000 00000000     7        0 2 1 0 20 4 30 10 -1
   2: 0100007F:C001 0100007F:1E14 01 00000000:00000000 00:00000000 00000000  1000        0 3 1 0 20 4 30 10 -1
   3: 0100007F:C002 0100007F:1E14 06 00000000:00000000 00:00000000 00000000     0        0 0 1 0 20 4 30 10 -1
   4: 0000000000000000FFFF00000100007F:C003 0000000000000000FFFF00000100007F:1E14 01 00000000:00000000 00:00000000 00000000  1001        0 3 1 0 20 4 30 10 -1
   5: 00000000000000000000000001000000:C004 00000000000000000000000001000000:1E14 01 00000000:00000000 00:00000000 00000000  1002        0 3 1 0 20 4 30 10 -1
";

    #[test]
    fn the_owner_of_the_clients_end_is_found() {
        let local = |ip: &str| SocketAddr::new(ip.parse().unwrap_or(IpAddr::from([0; 4])), 7700);
        for (ip, port, expected) in [
            ("127.0.0.1", 0xC001, Some(1000)), // not 7, which is the server's own end
            ("127.0.0.1", 0xC002, None),       // closing: the owner is gone
            ("127.0.0.1", 0xC003, Some(1001)), // an IPv6 socket that speaks IPv4
            ("::1", 0xC004, Some(1002)),
            ("127.0.0.1", 0xC009, None),
        ] {
            let peer = SocketAddr::new(local(ip).ip(), port);
            assert_eq!(owner_in(TABLE, peer, local(ip)), expected, "{peer}");
        }
    }

    #[test]
    fn only_loopback_is_believed() {
        let here: SocketAddr = ([127, 0, 0, 1], 7700).into();
        assert!(!identify(([10, 0, 0, 1], 7700).into(), here).same_user);
    }
}
