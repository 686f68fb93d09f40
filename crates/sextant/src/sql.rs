//! How is SQL typed? As one statement, from stdin, or in a shell with history and completion. Each
//! statement is one operation, run here or by the server that holds the data folder.

use std::io::{IsTerminal as _, Read as _};

use rustyline::{
    CompletionType, Context, Editor, Helper,
    completion::{Completer, Pair},
    error::ReadlineError,
    highlight::Highlighter,
    hint::Hinter,
    history::FileHistory,
    validate::Validator,
};
use serde_json::Value;
use sextant_app::Op;
use sextant_core::{Cancel, ExitKind};

use crate::{
    INTERRUPTED, cancel_on_interrupt, cli::Global, print, progress::Screen, render, report,
    session::Session, show, trouble::Trouble,
};

/// Longest input that is read from stdin.
const INPUT_BYTES_MAX: u64 = 4 << 20;
/// Statements that the shell remembers.
const HISTORY_MAX: usize = 1000;
/// Words that are completed beside the names of tables and columns.
const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "LIMIT",
    "JOIN",
    "LEFT JOIN",
    "ON",
    "AS",
    "AND",
    "OR",
    "NOT",
    "NULL",
    "COUNT(*)",
    "DISTINCT",
    "UNION ALL",
    "EXCEPT",
    "WITH",
    "INSERT INTO",
    "VALUES",
    "UPDATE",
    "SET",
    "DELETE FROM",
    "MERGE INTO",
    "USING",
    "WHEN MATCHED THEN",
    "WHEN NOT MATCHED THEN",
    "CREATE TABLE",
    "DROP TABLE",
    "ALTER TABLE",
    "ADD COLUMN",
    "TRUNCATE TABLE",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "version_of(",
    "version_at(",
    "changes(",
];

/// Runs one statement, those on stdin, or the shell.
pub fn run(global: &Global, statement: Option<&str>, limit: u32, csv: bool) -> Result<u8, Trouble> {
    let session = Session::open(global)?;
    let runner = Runner { global, session, limit, csv, cancel: cancel_on_interrupt() };
    if let Some(statement) = statement {
        runner.statement(statement)?;
        return Ok(0);
    }
    if std::io::stdin().is_terminal() {
        return runner.shell();
    }
    let mut text = String::new();
    std::io::stdin()
        .take(INPUT_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| crate::session::io_trouble("read stdin", &error))?;
    for statement in together(statements(&text)).0 {
        runner.statement(&statement)?;
    }
    Ok(0)
}

struct Runner<'a> {
    global: &'a Global,
    session: Session,
    limit: u32,
    csv: bool,
    cancel: Cancel,
}

impl Runner<'_> {
    fn statement(&self, sql: &str) -> Result<(), Trouble> {
        let op = Op::of_sql(sql.trim().trim_end_matches(';'), self.limit);
        let screen = Screen::new(true, false);
        let result = self.session.run(&op, &screen, &self.cancel)?;
        if self.csv && result.get("columns").is_some() {
            return print(&render::csv(&result));
        }
        show(self.global, &op, &result)
    }

    fn shell(&self) -> Result<u8, Trouble> {
        let failed = |error: ReadlineError| {
            Trouble::new("SXT-8001", ExitKind::Failure, format!("cannot start the shell: {error}"))
        };
        let config = rustyline::Config::builder()
            .max_history_size(HISTORY_MAX)
            .map_err(failed)?
            .auto_add_history(true)
            .completion_type(CompletionType::List)
            .build();
        let mut editor: Editor<Words, FileHistory> = Editor::with_config(config).map_err(failed)?;
        editor.set_helper(Some(Words(self.names())));
        let history = history_file(self.global);
        if let Some(history) = &history {
            // The first time there is none.
            editor.load_history(history).ok();
        }
        anstream::eprintln!(
            "statements end with `;`, transactions with COMMIT;  \\d lists the tables  \\q ends"
        );
        let mut waiting = String::new();
        loop {
            let prompt = if waiting.is_empty() { "sextant> " } else { "    ...> " };
            match editor.readline(prompt) {
                Ok(line)
                    if waiting.is_empty() && matches!(line.trim(), "\\q" | "exit" | "quit") =>
                {
                    break;
                }
                Ok(line) => {
                    self.line(&line, &mut waiting);
                    if waiting.is_empty() {
                        editor.set_helper(Some(Words(self.names())));
                    }
                }
                Err(ReadlineError::Interrupted) => waiting.clear(),
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(failed(error)),
            }
            if let Some(history) = &history {
                editor.save_history(history).ok();
            }
            // Stopping the work with Ctrl-C ends the shell with it.
            if self.cancel.is_cancelled() {
                return Ok(INTERRUPTED);
            }
        }
        Ok(0)
    }

    /// Takes a line; runs what is complete. A fault ends the statement, not the shell.
    fn line(&self, line: &str, waiting: &mut String) {
        let outcome = if waiting.is_empty() && line.trim() == "\\d" {
            let op = Op::DataTables {};
            let tables = self.session.run(&op, &Screen::new(true, false), &self.cancel);
            tables.and_then(|tables| show(self.global, &op, &tables))
        } else {
            waiting.push_str(line);
            waiting.push('\n');
            if !line.trim_end().ends_with(';') {
                if waiting.trim().is_empty() {
                    waiting.clear();
                }
                return;
            }
            let (ready, is_open) = together(statements(waiting));
            if is_open {
                return;
            }
            waiting.clear();
            ready.iter().try_for_each(|statement| self.statement(statement))
        };
        if let Err(trouble) = outcome {
            report(self.global, &trouble);
        }
    }

    /// The names of tables and columns, for completion.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let op = Op::DataTables {};
        let tables = self.session.run(&op, &Screen::new(true, false), &self.cancel);
        for table in tables.iter().flat_map(|tables| tables["tables"].as_array()).flatten() {
            let own = table["names"].as_array().into_iter().flatten();
            let columns = table["columns"].as_array().into_iter().flatten();
            let columns = columns.map(|column| &column["name"]);
            names.extend(own.chain(columns).filter_map(Value::as_str).map(str::to_owned));
        }
        names.sort();
        names.dedup();
        names
    }
}

/// Where the shell keeps what was typed: with the project's data, which is never committed.
fn history_file(global: &Global) -> Option<std::path::PathBuf> {
    let root = crate::session::project_root(global).ok()?;
    let options = sextant_app::OpenProject { profile: global.profile.clone() };
    Some(sextant_app::data_dir(&root, &options).ok()?.join("sql_history"))
}

/// Completes the word before the cursor from the names of tables and columns, which it holds.
struct Words(Vec<String>);

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = &line[..position];
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let start = before
            .rfind(|c| !is_word(c))
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        let begun = before[start..].to_lowercase();
        if begun.is_empty() {
            return Ok((position, Vec::new()));
        }
        let begins = |word: &&str| word.to_lowercase().starts_with(&begun);
        let mut fits: Vec<&str> =
            self.0.iter().map(String::as_str).filter(|word| begins(word)).collect();
        // Names of the project come before words of the language.
        if fits.is_empty() {
            fits = WORDS.iter().copied().filter(|word| begins(word)).collect();
        }
        let pair = |word: &str| Pair { display: word.to_owned(), replacement: word.to_owned() };
        Ok((start, fits.into_iter().map(pair).collect()))
    }
}

impl Hinter for Words {
    type Hint = String;
}
impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}

/// Cuts text into statements at each `;` that is outside of quotes and comments. What is only
/// comment is no statement.
fn statements(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut statement = String::new();
    let mut says_something = false;
    let mut inside: Option<char> = None;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (inside, c) {
            // A comment ends with its line, a quote with the same quote.
            (Some(end), _) if end == c => inside = None,
            (None, '\'' | '"') => inside = Some(c),
            (None, '-') if rest.peek() == Some(&'-') => inside = Some('\n'),
            (None, ';') => {
                let ended = std::mem::take(&mut statement);
                found.extend(says_something.then_some(ended));
                says_something = false;
                continue;
            }
            _ => {}
        }
        says_something |= inside != Some('\n') && !c.is_whitespace();
        statement.push(c);
    }
    found.extend(says_something.then_some(statement));
    found
}

/// Puts the statements from BEGIN to COMMIT or ROLLBACK together, and says whether the last of these
/// blocks still waits for its end.
fn together(statements: Vec<String>) -> (Vec<String>, bool) {
    let mut found: Vec<String> = Vec::new();
    let mut is_open = false;
    for statement in statements {
        let lines = statement.lines().map(str::trim);
        let mut said = lines.filter(|line| !line.is_empty() && !line.starts_with("--"));
        let word = said.next().and_then(|line| line.split_whitespace().next()).unwrap_or("");
        let word = word.to_uppercase();
        match found.last_mut().filter(|_| is_open) {
            Some(block) => {
                block.push(';');
                block.push_str(&statement);
                is_open = !["COMMIT", "ROLLBACK", "END"].contains(&word.as_str());
            }
            None => {
                is_open = ["BEGIN", "START"].contains(&word.as_str());
                found.push(statement);
            }
        }
    }
    (found, is_open)
}

#[cfg(test)]
mod tests {
    use super::{statements, together};

    #[test]
    fn a_transaction_is_one_text() {
        for (text, count, is_open) in [
            ("select 1; select 2", 2, false),
            ("begin; insert into t values (1); commit; select 1", 2, false),
            ("-- first\nBEGIN TRANSACTION; select 1; rollback", 1, false),
            ("select 1; start transaction; select 2", 2, true),
        ] {
            let (found, open) = together(statements(text));
            assert_eq!((found.len(), open), (count, is_open), "{text}");
        }
    }

    #[test]
    fn statements_end_at_semicolons_outside_of_quotes() {
        for (text, count) in [
            ("select 1", 1),
            ("select 1; select 2;", 2),
            ("select ';'; select \";\"", 2),
            ("select 1 -- one; not two\n; select 2", 2),
            (" ;; -- the end; really", 0),
        ] {
            assert_eq!(statements(text).len(), count, "{text}");
        }
    }
}
