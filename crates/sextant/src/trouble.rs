//! How does an error end a command? Printed once, with code, place and hint, and turned into the
//! exit status. The same form travels over HTTP from a running server.

use serde::{Deserialize, Serialize};
use sextant_core::{ExitKind, Failure};

use crate::render::Style;

/// A failure in the form that is printed and sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub code: String,
    pub message: String,
    #[serde(default)]
    pub hint: Option<String>,
    #[serde(default)]
    pub place: Option<String>,
    pub exit: u8,
}

impl Trouble {
    /// A failure of the command line itself.
    pub fn new(code: &str, kind: ExitKind, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            hint: None,
            place: None,
            exit: kind.exit_code(),
        }
    }

    /// Adds what the user can do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The lines for the terminal.
    pub fn lines(&self) -> String {
        let mut text = format!(
            "{} {}\n",
            Style::Bad.paint(format!("error[{}]:", self.code)),
            Style::Bold.paint(&self.message)
        );
        if let Some(place) = &self.place {
            text.push_str(&format!("  {} {place}\n", Style::Accent.paint("-->")));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("  {} {hint}\n", Style::Accent.paint("hint:")));
        }
        text.push_str(&format!(
            "  {}\n",
            Style::Dim.paint(format!("sextant explain {}", self.code))
        ));
        text
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code().to_string(),
            message: failure.chain(),
            hint: failure.hint(),
            place: failure.place().map(|place| place.to_string()),
            exit: failure.code().kind.exit_code(),
        }
    }
}
