//! Which options did the command line give? A dozen lines instead of a parser crate, so that a chore
//! builds in seconds.

use std::str::FromStr;

use anyhow::{Context, Result, bail};

/// What is left of the command line.
#[derive(Debug)]
pub struct Arguments(Vec<String>);

impl Arguments {
    /// All words after the chore's name.
    pub fn new(words: Vec<String>) -> Self {
        Self(words)
    }

    /// Takes `--name` when it is there.
    pub fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| word != name);
        before != self.0.len()
    }

    /// Takes `--name VALUE` when it is there.
    pub fn value<T: FromStr>(&mut self, name: &str) -> Result<Option<T>>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        let Some(at) = self.0.iter().position(|word| word == name) else { return Ok(None) };
        if at + 1 >= self.0.len() {
            bail!("{name} needs a value");
        }
        let text = self.0.remove(at + 1);
        self.0.remove(at);
        text.parse().map(Some).with_context(|| format!("{name} {text}"))
    }

    /// Refuses what nobody took.
    pub fn finish(&mut self) -> Result<()> {
        match self.0.first() {
            Some(word) => bail!("unknown option: `{word}`"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn options_are_taken_once_and_the_rest_refused() {
        let mut arguments =
            Arguments::new(["--kills", "7", "--keep", "--odd"].map(String::from).to_vec());
        assert_eq!(arguments.value::<u32>("--kills").unwrap(), Some(7));
        assert_eq!(arguments.value::<u32>("--seed").unwrap(), None);
        assert!(arguments.flag("--keep"));
        assert!(arguments.finish().is_err());
        assert!(Arguments::new(vec!["--kills".to_owned()]).value::<u32>("--kills").is_err());
    }
}
