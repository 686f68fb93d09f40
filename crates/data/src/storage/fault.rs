//! What can be wrong with a bucket that tables are kept in? Each fault with what a user can do.

use sextant_core::{Code, ExitKind};

/// Why tables cannot be kept where the project says.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// It does not answer, or refuses us.
    #[error("the tables at {url} cannot be reached: {reason}")]
    Unreachable {
        /// Their address.
        url: String,
        /// In the words of the store or its client.
        reason: String,
    },
    /// It writes over a file although it was asked not to.
    #[error("the store of {url} writes over files that it was asked to leave (no conditional put)")]
    Unconditional {
        /// The tables' address.
        url: String,
    },
    /// The tables of this data folder are elsewhere.
    #[error("the tables of this data folder are {recorded}, and sextant.toml says {wanted}")]
    Elsewhere {
        /// Where they are.
        recorded: String,
        /// Where the project says they are.
        wanted: String,
    },
    /// Another data folder keeps its tables there.
    #[error("another data folder keeps its tables at {url}, since {since}")]
    Owned {
        /// Their address.
        url: String,
        /// When it began to.
        since: String,
    },
}

static UNREACHABLE: Code = Code {
    number: 3071,
    kind: ExitKind::Unavailable,
    title: "the bucket of the tables cannot be reached",
    help: "`[tables]` in sextant.toml keeps the tables in a bucket, and the store does not answer or \
           does not let us in. The message has its words. Look at `endpoint`, `region` and the \
           credentials under `[tables.s3]`, and whether the bucket exists. Nothing was changed.",
};
static UNCONDITIONAL: Code = Code {
    number: 3072,
    kind: ExitKind::Usage,
    title: "the store cannot keep writers apart",
    help: "A version of a table is one file that exactly one writer may make. The store was asked to \
           write a file only if it is not there (`If-None-Match: *`) and wrote over it, so two \
           writers could destroy each other's commits. Use a store with conditional writes, such as \
           Amazon S3. If nothing but this one program will ever write to these tables, \
           `single_writer = true` under `[tables]` takes the store as it is.",
};
static ELSEWHERE: Code = Code {
    number: 3073,
    kind: ExitKind::Conflict,
    title: "the tables are in another place",
    help: "This data folder has tables already, and not where sextant.toml says now. Its catalog \
           names their versions, so it cannot simply begin anew. Put `[tables]` back as it was, or \
           use another data folder (`storage.dir`) and build there.",
};
static OWNED: Code = Code {
    number: 3074,
    kind: ExitKind::Conflict,
    title: "the tables belong to another data folder",
    help: "One data folder keeps its tables below one prefix: it removes files that its own catalog \
           no longer needs, which another would miss. Give this project a prefix of its own under \
           `[tables]`. If the other data folder is gone for ever, delete `_sextant/owner.json` below \
           the prefix, together with its tables.",
};

/// The catalogue of these faults.
pub(crate) const CODES: [&Code; 4] = [&UNREACHABLE, &UNCONDITIONAL, &ELSEWHERE, &OWNED];

impl StoreFault {
    pub(crate) fn code(&self) -> &'static Code {
        match self {
            Self::Unreachable { .. } => &UNREACHABLE,
            Self::Unconditional { .. } => &UNCONDITIONAL,
            Self::Elsewhere { .. } => &ELSEWHERE,
            Self::Owned { .. } => &OWNED,
        }
    }
}
