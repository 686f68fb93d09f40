//! Which keys may metrics, parameters and tags have? Those that MLflow allows, which once were names of
//! files: no odd characters, no path that leads elsewhere.

use super::refusal::{Refusal, invalid};

const KEY_CHARS_MAX: usize = 250;

/// Checks a key. `place` is what messages call the field, `what` the thing.
pub(super) fn check_key(key: &str, place: &str, what: &str) -> Result<(), Refusal> {
    let plain = |c: char| c.is_alphanumeric() || "_/-. :".contains(c);
    if !key.chars().all(plain) {
        return Err(invalid(format!(
            "Invalid value \"{key}\" for parameter '{place}' supplied: Names may only contain \
             alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes \
             (/)."
        )));
    }
    check_path(key, place)?;
    at_most(key, KEY_CHARS_MAX, what)
}

/// Checks that a name means nothing else when it is read as a path.
pub(super) fn check_path(key: &str, place: &str) -> Result<(), Refusal> {
    let resolved = resolve(key);
    if resolved != key || resolved == "." || resolved.starts_with("..") || key.starts_with('/') {
        return Err(invalid(format!(
            "Invalid value \"{key}\" for parameter '{place}' supplied: Names may be treated as files in \
             certain cases, and must not resolve to other names when treated as such. This name would \
             resolve to '{resolved}'"
        )));
    }
    Ok(())
}

/// Checks a length, in characters.
pub(super) fn at_most(text: &str, most: usize, what: &str) -> Result<(), Refusal> {
    if text.chars().nth(most).is_none() {
        return Ok(());
    }
    Err(invalid(format!("'{what}' exceeds the maximum length of {most} characters")))
}

/// What a path means without `.`, `..` and repeated slashes.
fn resolve(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_that_mlflow_takes() {
        for (key, fine) in [
            ("val/loss", true),
            ("a b.c-d:e_9", true),
            ("größe", true),
            ("", false),
            (".", false),
            ("../loss", false),
            ("/loss", false),
            ("a//b", false),
            ("a/./b", false),
            ("a/", false),
            ("a%b", false),
            ("a\0", false),
            (&"k".repeat(250), true),
            (&"k".repeat(251), false),
        ] {
            assert_eq!(check_key(key, "key", "Key").is_ok(), fine, "{key}");
        }
    }
}
