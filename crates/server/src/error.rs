//! What can go wrong in the server, at start and in a request, and what can be done about it?

use std::{io, net::SocketAddr, path::PathBuf};

use sextant_core::{Code, ExitKind, Explain, Place};

use crate::limits;

/// An error of the server itself; errors of the layers pass through as they are.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another program listens there.
    #[error("port {} on {} is in use by {holder}", addr.port(), addr.ip())]
    PortInUse {
        /// Where we wanted to listen.
        addr: SocketAddr,
        /// Who is there, as far as we can tell.
        holder: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Bind {
        /// Where we wanted to listen.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// An address that others can reach, without keys.
    #[error("refusing to listen on {addr}: others can reach it and no key would be asked for")]
    Exposed {
        /// The address.
        addr: SocketAddr,
    },
    /// A file of the server cannot be written or read.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// `read` or `write`.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The key file is not what we wrote.
    #[error("the key file {} cannot be used: {reason}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No key, or not a valid one.
    #[error("{reason}")]
    Unauthenticated {
        /// What is missing.
        reason: &'static str,
    },
    /// The key is valid and may not do this.
    #[error("this needs the role `{needs}`; your key has `{has}`")]
    Forbidden {
        /// The role it takes.
        needs: &'static str,
        /// The role the caller has.
        has: &'static str,
    },
    /// The request names a host that is not us, or comes from a page that is not ours.
    #[error("the {what} `{value}` is not allowed here")]
    Stranger {
        /// `host`, `origin` or `site`.
        what: &'static str,
        /// What the request said.
        value: String,
    },
    /// No route has this path.
    #[error("there is nothing at {path}")]
    NoSuchPath {
        /// The path asked for.
        path: String,
    },
    /// The body or the head is larger than allowed.
    #[error("the {what} of the request is larger than {limit} bytes")]
    TooLarge {
        /// `body` or `head`.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The request cannot be understood.
    #[error("{reason}")]
    BadRequest {
        /// The field to blame, when one is.
        field: Option<String>,
        /// What is wrong.
        reason: String,
    },
    /// Too much is going on.
    #[error("too many requests {whose} are in progress")]
    Overloaded {
        /// `in all` or `of this key`.
        whose: &'static str,
    },
    /// More is sent to a source than is landed.
    #[error("{waiting_bytes} bytes wait to be landed already, of at most {limit_bytes}")]
    SourceFull {
        /// Bytes that wait.
        waiting_bytes: u64,
        /// The most that may wait.
        limit_bytes: u64,
    },
    /// It took too long.
    #[error("no answer within {seconds} s")]
    TimedOut {
        /// The bound.
        seconds: u64,
    },
    /// A defect of ours.
    #[error("{what}")]
    Internal {
        /// What happened, without the caller's data.
        what: String,
    },
    /// An operation answered in a shape that a page cannot read.
    #[error("the answer of operation `{op}` cannot be shown")]
    Shape {
        /// The operation.
        op: String,
        /// Where it differs.
        source: serde_json::Error,
    },
}

macro_rules! codes {
    ($($name:ident $number:literal $kind:ident $title:literal $help:literal;)*) => {
        $(const $name: Code = Code {
            number: $number, kind: ExitKind::$kind, title: $title, help: $help,
        };)*
        /// Every code of this crate.
        pub const CODES: &[&Code] = &[$(&$name,)*];
    };
}

codes! {
    PORT_IN_USE 7001 Conflict "the port is in use"
        "Another program already listens on this address. If it is a Sextant server of this project, use it as it is or stop it; otherwise choose another port with --port or `port` under [server].";
    BIND 7002 Failure "the address cannot be listened on"
        "The system refused the address. Check that it belongs to this machine, and that ports below 1024 are allowed.";
    EXPOSED 7003 Usage "an open address without keys"
        "Any address but loopback can be reached by others, so the server listens there only when everyone must show a key: start it with --require-auth, and put TLS in front of it.";
    FILE 7004 Failure "a file of the server cannot be used"
        "The server keeps its keys and its discovery file in the data directory. Check its permissions and the free space.";
    KEYS 7005 Integrity "the key file is damaged"
        "keys.json holds the hashes of all keys. Restore it from a backup, or move it away: the next start makes a new admin key and all older keys stop working.";
    UNAUTHENTICATED 7010 Auth "a key is needed"
        "Send `Authorization: Bearer sxt_…` or log in with the browser. The first admin key is in .sextant/admin.key. On loopback the user who runs the server needs no key unless the server was started with --require-auth.";
    FORBIDDEN 7011 Auth "the key may not do this"
        "Each route needs a role: read, write or admin. Ask an admin for a key with the role that the message names.";
    STRANGER 7012 Auth "a foreign host or origin"
        "The server answers only to names it knows (localhost, 127.0.0.1, [::1] and those given with --allowed-host), and changes nothing for pages of other sites. This guards against DNS rebinding and cross-site requests.";
    NO_SUCH_PATH 7020 NotFound "there is no such page or route"
        "The routes are listed in /openapi.json.";
    TOO_LARGE 7021 Usage "the request is too large"
        "Send less in one request.";
    BAD_REQUEST 7022 Usage "the request cannot be understood"
        "The message says which field is wrong and why.";
    OVERLOADED 7030 Unavailable "too much is in progress"
        "Wait for as long as Retry-After says and send the request again.";
    SOURCE_FULL 7032 Unavailable "a source takes no more for now"
        "What was sent waits in the source's log to be landed in its table, and max_waiting_bytes of the source is reached. Nothing of this request was stored: send it again after Retry-After.";
    TIMED_OUT 7031 Unavailable "it took too long"
        "The request was given up. Ask for less, or use the streaming form, which has no such bound.";
    INTERNAL 7040 Failure "a defect in the server"
        "This should not happen; the log has more. Please report it with what you did.";
    SHAPE 7041 Failure "an answer that cannot be shown"
        "The server and the application below it disagree about the shape of an answer: a defect of ours. The command line shows the same data.";
}

impl Explain for ServerError {
    fn code(&self) -> &'static Code {
        match self {
            Self::PortInUse { .. } => &PORT_IN_USE,
            Self::Bind { .. } => &BIND,
            Self::Exposed { .. } => &EXPOSED,
            Self::File { .. } => &FILE,
            Self::Keys { .. } => &KEYS,
            Self::Unauthenticated { .. } => &UNAUTHENTICATED,
            Self::Forbidden { .. } => &FORBIDDEN,
            Self::Stranger { .. } => &STRANGER,
            Self::NoSuchPath { .. } => &NO_SUCH_PATH,
            Self::TooLarge { .. } => &TOO_LARGE,
            Self::BadRequest { .. } => &BAD_REQUEST,
            Self::Overloaded { .. } => &OVERLOADED,
            Self::SourceFull { .. } => &SOURCE_FULL,
            Self::TimedOut { .. } => &TIMED_OUT,
            Self::Internal { .. } => &INTERNAL,
            Self::Shape { .. } => &SHAPE,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::PortInUse { addr, .. } => {
                let next = addr.port().checked_add(1).unwrap_or(7700);
                Some(format!("stop it, or choose another port: --port {next}"))
            }
            Self::Exposed { .. } => Some("add --require-auth, or listen on 127.0.0.1".to_owned()),
            Self::Unauthenticated { .. } => {
                Some("send `Authorization: Bearer` with the key in .sextant/admin.key".to_owned())
            }
            Self::Stranger { what: "host", .. } => {
                Some("start the server with --allowed-host and that name".to_owned())
            }
            Self::Overloaded { .. } => {
                Some(format!("try again in {} s", limits::RETRY_AFTER_SECONDS))
            }
            _ => None,
        }
    }

    fn place(&self) -> Option<Place> {
        None
    }
}

impl ServerError {
    /// A request that cannot be understood because of one field.
    pub(crate) fn field(field: &str, reason: impl Into<String>) -> Self {
        Self::BadRequest { field: Some(field.to_owned()), reason: reason.into() }
    }

    pub(crate) fn file(
        path: impl Into<PathBuf>,
        doing: &'static str,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, doing, source }
    }
}
