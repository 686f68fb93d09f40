//! What is said to be in a file? What its ending says, in the words of MLflow's server; text that programs
//! would act upon is plain text.

/// Endings and whole names that are text.
const TEXT: &[&str] = &[
    "txt",
    "log",
    "err",
    "cfg",
    "conf",
    "cnf",
    "cf",
    "ini",
    "properties",
    "prop",
    "hocon",
    "toml",
    "yaml",
    "yml",
    "xml",
    "json",
    "js",
    "py",
    "py3",
    "csv",
    "tsv",
    "md",
    "rst",
    "ipynb",
    "MLmodel",
    "MLproject",
];
const OTHERS: &[(&str, &str)] = &[
    ("html", "text/html"),
    ("htm", "text/html"),
    ("css", "text/css"),
    ("mjs", "text/javascript"),
    ("bat", "text/plain"),
    ("c", "text/plain"),
    ("h", "text/plain"),
    ("rtf", "application/rtf"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("bmp", "image/bmp"),
    ("ico", "image/vnd.microsoft.icon"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("webp", "image/webp"),
    ("heic", "image/heic"),
    ("pdf", "application/pdf"),
    ("ps", "application/postscript"),
    ("wasm", "application/wasm"),
    ("zip", "application/zip"),
    ("tar", "application/x-tar"),
    ("tgz", "application/x-tar"),
    ("h5", "application/x-hdf5"),
    ("hdf", "application/x-hdf"),
    ("nc", "application/x-netcdf"),
    ("sh", "application/x-sh"),
    ("tex", "application/x-tex"),
    ("mp3", "audio/mpeg"),
    ("wav", "audio/x-wav"),
    ("aac", "audio/aac"),
    ("opus", "audio/opus"),
    ("mp4", "video/mp4"),
    ("mpeg", "video/mpeg"),
    ("webm", "video/webm"),
    ("mov", "video/quicktime"),
    ("avi", "video/x-msvideo"),
];

/// The media type of a file with this name.
pub(crate) fn media_type(name: &str) -> &'static str {
    // A name that is nothing but an ending has none.
    let ending = match name.trim_start_matches('.').rsplit_once('.') {
        Some((_, ending)) => ending,
        None => name,
    };
    if TEXT.contains(&ending) {
        return "text/plain";
    }
    let known = OTHERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending));
    known.filter(|_| ending != name).map_or("application/octet-stream", |(_, media)| media)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_say_what_is_in_a_file() {
        for (name, media) in [
            ("a.json", "text/plain"),
            ("MLmodel", "text/plain"),
            ("page.HTML", "text/html"),
            ("a.b.svg", "image/svg+xml"),
            ("model.pkl", "application/octet-stream"),
            ("html", "application/octet-stream"),
            ("a.tar.gz", "application/octet-stream"),
        ] {
            assert_eq!(media_type(name), media, "{name}");
        }
    }
}
