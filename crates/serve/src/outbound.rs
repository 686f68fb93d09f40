//! May a message go to an address that a user named? To public ones over https; to others only where the
//! operator allows their host. Names are looked up by the guard itself, for the connection that is then
//! made, so that a name cannot mean another address later. Redirects are not followed, and no proxy is
//! asked.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Client, Response, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest part of a reply that is read.
const REPLY_BYTES_MAX: usize = 16 << 10;
/// Longest address.
const URL_CHARS_MAX: usize = 2000;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The HTTP status.
    pub status: u16,
    /// The beginning of the body.
    pub body: String,
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotSent {
    /// In words.
    pub reason: String,
    /// Whether the same may succeed later.
    pub again: bool,
}

/// Posts messages to addresses that users named. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Outbound {
    public: Client,
    /// For the hosts that the operator allows.
    allowed: Client,
    hosts: Vec<String>,
}

impl Outbound {
    /// A guard that also allows these hosts, each with or without a port: over http too, and at any
    /// address.
    ///
    /// # Errors
    /// When the client cannot be set up.
    pub fn new(hosts: &[String]) -> Result<Self, NotSent> {
        let hosts = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Ok(Self { public: client(Some(OnlyPublic))?, allowed: client(None)?, hosts })
    }

    /// Checks an address as far as it can be without looking its name up.
    ///
    /// # Errors
    /// In words, when nothing may go there.
    pub fn check(&self, url: &str) -> Result<(), String> {
        self.way(url).map(|_| ())
    }

    /// The parsed address, and the client that may go there.
    fn way(&self, url: &str) -> Result<(Url, &Client), String> {
        if url.trim().is_empty() {
            return Err(format!("Webhook URL cannot be empty or just whitespace: '{url}'"));
        }
        let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") {
            return Err(wrong_scheme(&scheme));
        }
        // What lenient readers of addresses take for a host is none.
        let has_host = rest.strip_prefix("//").is_some_and(|rest| !rest.starts_with(['/', '\\']));
        let parsed = Url::parse(url).ok().filter(|_| has_host);
        let Some((parsed, host)) = parsed.and_then(|parsed| {
            let host = parsed.host_str()?.trim_matches(['[', ']']).to_owned();
            Some((parsed, host))
        }) else {
            return Err(format!("Webhook URL must include a hostname: '{url}'"));
        };
        if url.len() > URL_CHARS_MAX || !parsed.username().is_empty() || parsed.password().is_some()
        {
            let most = URL_CHARS_MAX;
            return Err(format!("Webhook URL has a user, or more than {most} characters"));
        }
        let with_port = format!("{host}:{}", parsed.port_or_known_default().unwrap_or_default());
        if self.hosts.iter().any(|known| *known == host || *known == with_port) {
            return Ok((parsed, &self.allowed));
        }
        if scheme != "https" {
            return Err(wrong_scheme(&scheme));
        }
        match host.parse::<IpAddr>() {
            Ok(ip) if !is_public(ip) => Err(not_public(&host, ip)),
            _ => Ok((parsed, &self.public)),
        }
    }

    /// Posts a body, from a thread that may block (never from an async worker).
    ///
    /// # Errors
    /// When nothing may go there, or nothing came back in time.
    pub fn post(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: &str,
    ) -> Result<Sent, NotSent> {
        let refused = |reason| NotSent { reason, again: false };
        let (url, client) = self.way(url).map_err(refused)?;
        let mut request = client.post(url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| refused(error.to_string()))?;
        runtime.block_on(async {
            let response = request
                .send()
                .await
                .map_err(|error| NotSent { again: !error.is_builder(), reason: chain(&error) })?;
            Ok(Sent { status: response.status().as_u16(), body: beginning(response).await })
        })
    }
}

fn client(guard: Option<OnlyPublic>) -> Result<Client, NotSent> {
    let mut builder = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TOTAL_TIMEOUT)
        .redirect(redirect::Policy::none())
        .no_proxy()
        // A connection lives on the runtime of one message.
        .pool_max_idle_per_host(0)
        .user_agent(concat!("sextant/", env!("CARGO_PKG_VERSION")));
    if let Some(guard) = guard {
        builder = builder.dns_resolver(Arc::new(guard));
    }
    builder.build().map_err(|error| NotSent { reason: chain(&error), again: false })
}

async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        bytes.extend_from_slice(piece.as_ref());
        if bytes.len() >= REPLY_BYTES_MAX {
            bytes.truncate(REPLY_BYTES_MAX);
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Looks names up, and gives their addresses only when all are public.
#[derive(Debug)]
struct OnlyPublic;

impl Resolve for OnlyPublic {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            if let Some(other) = found.iter().find(|found| !is_public(found.ip())) {
                return Err(not_public(&host, other.ip()).into());
            }
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

fn wrong_scheme(scheme: &str) -> String {
    format!("Invalid webhook URL scheme: '{scheme}'. Allowed schemes are: https.")
}

fn not_public(host: &str, ip: IpAddr) -> String {
    format!("Webhook URL must not resolve to a non-public IP address. '{host}' resolves to {ip}.")
}

/// Whether an address is one that anybody on the internet has.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    match (a, b, c) {
        // This network, private, loopback, multicast and what is reserved.
        (0 | 10 | 127 | 224..=255, _, _) => false,
        (172, 16..=31, _) | (192, 168, _) => false,
        // Shared by providers, link-local.
        (100, 64..=127, _) | (169, 254, _) => false,
        // Protocols, relays, measurements, documentation.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18..=19, _) => false,
        (198, 51, 100) | (203, 0, 113) => false,
        _ => true,
    }
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(inner) = ip.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match (a, b) {
        // Translated addresses of IPv4.
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => is_public_v4(v4(g, h)),
        (0x2002, _) => is_public_v4(v4(b, c)),
        // Protocols, documentation.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        _ => a & 0xe000 == 0x2000,
    }
}

/// The causes of an error in one line; its address is left out, which may hold a secret.
fn chain(error: &reqwest::Error) -> String {
    let mut told = match error {
        error if error.is_timeout() => "it took too long".to_owned(),
        error if error.is_connect() => "no connection".to_owned(),
        _ => "the request failed".to_owned(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        told = format!("{told}: {inner}");
        cause = inner.source();
    }
    told
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn only_public_addresses_are_reached() {
        let guard =
            Outbound::new(&["hooks.internal:8080".to_owned(), "127.0.0.2".to_owned()]).unwrap();
        for (url, fine) in [
            ("https://example.org/hook", true),
            ("https://8.8.8.8/hook", true),
            ("https://[2606:4700::1111]/", true),
            ("http://hooks.internal:8080/a", true),
            ("https://hooks.internal:8080/a", true),
            ("http://hooks.internal/a", false),
            ("http://127.0.0.2:9/a", true),
            ("http://example.org/hook", false),
            ("ftp://example.org/hook", false),
            ("file:///etc/passwd", false),
            ("example.org/hook", false),
            ("", false),
            ("https:///hook", false),
            ("https:\\\\8.8.8.8", false),
            ("https://user:password@example.org/", false),
            ("https://127.0.0.1/", false),
            ("https://127.1/", false),
            ("https://2130706433/", false),
            ("https://0x7f.0.0.1/", false),
            ("https://0.0.0.0/", false),
            ("https://10.1.2.3/", false),
            ("https://100.64.0.1/", false),
            ("https://169.254.169.254/latest/meta-data", false),
            ("https://172.20.0.1/", false),
            ("https://192.168.1.1/", false),
            ("https://224.0.0.1/", false),
            ("https://[::1]/", false),
            ("https://[::]/", false),
            ("https://[::ffff:10.0.0.1]/", false),
            ("https://[::10.0.0.1]/", false),
            ("https://[fd00::1]/", false),
            ("https://[fe80::1]/", false),
            ("https://[64:ff9b::a00:1]/", false),
            ("https://[2002:a00:1::]/", false),
            ("https://[2001::1]/", false),
        ] {
            assert_eq!(guard.check(url).is_ok(), fine, "{url}: {:?}", guard.check(url));
        }
    }

    #[test]
    fn a_name_that_means_this_machine_is_not_connected() {
        let guard = Outbound::new(&[]).unwrap();
        let refused = guard.post("https://localhost:1/", &[], "{}").unwrap_err();
        assert!(refused.reason.contains("non-public"), "{refused}");
    }

    #[test]
    fn redirects_are_told_and_not_followed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut got = vec![0; 4096];
            let read = stream.read(&mut got).unwrap();
            let reply = "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 5\r\n\r\nthere";
            stream.write_all(reply.as_bytes()).unwrap();
            String::from_utf8(got[..read].to_vec()).unwrap()
        });
        let guard = Outbound::new(&[address.to_string()]).unwrap();
        let headers = [("x-told", "yes".to_owned())];
        let sent = guard.post(&format!("http://{address}/a"), &headers, "{\"a\":1}").unwrap();
        assert_eq!(sent, Sent { status: 302, body: "there".to_owned() });
        let got = served.join().unwrap();
        assert!(got.starts_with("POST /a ") && got.contains("x-told: yes"), "{got}");
    }
}
