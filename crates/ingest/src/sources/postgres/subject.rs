//! What does the server know of a table? Its columns with their types, what names a row, and whether
//! its changes can be followed.

use super::{
    fault::PostgresFault,
    quote::{identifier, literal},
    values::{Kind, Named, Types},
    wire::{Answer, Connection, Described, Result},
};

/// How often types are looked up behind types: a domain over an array of a domain and so on.
const TYPE_DEPTH_MAX: usize = 8;
/// The oldest version whose catalog and settings are as we ask for them.
const VERSION_MIN: i64 = 120_000;

/// A column, and how it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) described: Described,
    pub(super) kind: Kind,
}

impl Column {
    pub(super) fn name(&self) -> &str {
        &self.described.name
    }
}

/// A table.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) oid: u32,
    /// Its schema and name, in quotes, for SQL.
    pub(super) quoted: String,
    /// The columns that are written; those that are generated come last in no copy of changes.
    pub(super) columns: Vec<Column>,
    /// The columns of its primary key.
    pub(super) primary: Vec<String>,
    /// The columns by which its changes name a row; `None` when they hold whole rows.
    pub(super) identity: Option<Vec<String>>,
    /// Its kind, one letter of the catalog: `r` for a plain table.
    pub(super) relkind: String,
}

fn cell(answer: &Answer, row: usize, column: usize) -> &str {
    let found = answer.rows.get(row).and_then(|row| row.get(column));
    found.and_then(Option::as_deref).unwrap_or_default()
}

fn number<T: std::str::FromStr>(answer: &Answer, row: usize, column: usize) -> Result<T> {
    let odd = || PostgresFault::Failed { reason: "its catalog gave no number".to_owned() };
    cell(answer, row, column).parse().map_err(|_| odd())
}

fn names(answer: &Answer) -> Vec<String> {
    (0..answer.rows.len()).map(|row| cell(answer, row, 0).to_owned()).collect()
}

/// Refuses a server that is too old.
pub(super) async fn check_version(connection: &mut Connection) -> Result<()> {
    let answer = connection.query("SELECT current_setting('server_version_num')").await?;
    if number::<i64>(&answer, 0, 0)? >= VERSION_MIN {
        return Ok(());
    }
    let fix = "use PostgreSQL 12 or later".to_owned();
    Err(PostgresFault::Unfit { message: "the server is too old".to_owned(), fix })
}

/// Looks a table up. `stored` leaves out generated columns, which no change has.
pub(super) async fn look_up(
    connection: &mut Connection,
    table: &str,
    stored: bool,
) -> Result<Subject> {
    let found = connection
        .query(&format!(
            "SELECT c.oid, n.nspname, c.relname, c.relkind, c.relreplident FROM pg_class c \
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass({})",
            literal(table)
        ))
        .await?;
    if found.rows.is_empty() {
        return Err(PostgresFault::NotThere { what: format!("table `{table}`") });
    }
    let oid: u32 = number(&found, 0, 0)?;
    let (schema, name) = (cell(&found, 0, 1), cell(&found, 0, 2));
    let quoted = format!("{}.{}", identifier(schema), identifier(name));
    let only = if stored { "AND attgenerated = ''" } else { "" };
    let columns = connection
        .query(&format!(
            "SELECT attname, atttypid, atttypmod, attnum FROM pg_attribute WHERE attrelid = {oid} \
             AND attnum > 0 AND NOT attisdropped {only} ORDER BY attnum"
        ))
        .await?;
    let mut described = Vec::with_capacity(columns.rows.len());
    for row in 0..columns.rows.len() {
        described.push(Described {
            name: cell(&columns, row, 0).to_owned(),
            type_oid: number(&columns, row, 1)?,
            modifier: number(&columns, row, 2)?,
            number: number(&columns, row, 3)?,
        });
    }
    let primary = index_columns(connection, oid, "indisprimary").await?;
    let identity = match cell(&found, 0, 4) {
        "f" => None,
        "i" => Some(index_columns(connection, oid, "indisreplident").await?),
        "d" => Some(primary.clone()),
        _ => Some(Vec::new()),
    };
    let relkind = cell(&found, 0, 3).to_owned();
    let columns = kinds(connection, described).await?;
    Ok(Subject { oid, quoted, columns, primary, identity, relkind })
}

async fn index_columns(connection: &mut Connection, oid: u32, which: &str) -> Result<Vec<String>> {
    let found = connection
        .query(&format!(
            "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid \
             AND a.attnum = ANY (i.indkey) WHERE i.indrelid = {oid} AND i.{which} ORDER BY a.attnum"
        ))
        .await?;
    Ok(names(&found))
}

/// The columns of a query.
pub(super) async fn describe(connection: &mut Connection, query: &str) -> Result<Vec<Column>> {
    let answer = connection.query(&format!("SELECT * FROM ({query}\n) q LIMIT 0")).await?;
    kinds(connection, answer.columns).await
}

/// How columns are kept. Types that are not plain are looked up, down to what they are made of.
pub(super) async fn kinds(
    connection: &mut Connection,
    described: Vec<Described>,
) -> Result<Vec<Column>> {
    let mut types = Types::new();
    let mut wanted: Vec<u32> = described.iter().map(|column| column.type_oid).collect();
    for _ in 0..TYPE_DEPTH_MAX {
        wanted.retain(|oid| Kind::plain(*oid, -1).is_none() && !types.contains_key(oid));
        if wanted.is_empty() {
            break;
        }
        let list: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        let found = connection
            .query(&format!(
                "SELECT oid, typtype, typbasetype, typtypmod, typelem, typcategory FROM pg_type \
                 WHERE oid IN ({})",
                list.join(", ")
            ))
            .await?;
        for oid in wanted.drain(..) {
            types.insert(oid, Named::Other);
        }
        for row in 0..found.rows.len() {
            let named = match (cell(&found, row, 1), cell(&found, row, 5)) {
                ("d", _) => Named::Domain {
                    base: number(&found, row, 2)?,
                    modifier: number(&found, row, 3)?,
                },
                (_, "A") => Named::Array { element: number(&found, row, 4)? },
                _ => Named::Other,
            };
            match named {
                Named::Domain { base: next, .. } | Named::Array { element: next } => {
                    wanted.push(next);
                }
                Named::Other => {}
            }
            types.insert(number(&found, row, 0)?, named);
        }
    }
    let column = |described: Described| {
        let kind = Kind::of(described.type_oid, described.modifier, &types);
        Column { described, kind }
    };
    Ok(described.into_iter().map(column).collect())
}

impl Subject {
    /// The columns of a SELECT.
    pub(super) fn select_list(&self) -> String {
        let quoted = self.columns.iter().map(|column| identifier(column.name()));
        quoted.collect::<Vec<_>>().join(", ")
    }

    fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name() == name)
    }

    /// The columns that name a row: those that the user wrote down, or the primary key.
    pub(super) fn key(&self, written: &[String]) -> Result<Vec<String>> {
        if let Some(missing) = written.iter().find(|name| !self.has(name)) {
            return Err(PostgresFault::NotThere {
                what: format!("column `{missing}` in the table"),
            });
        }
        if !written.is_empty() {
            return Ok(written.to_vec());
        }
        if !self.primary.is_empty() {
            return Ok(self.primary.clone());
        }
        match &self.identity {
            Some(identity) if !identity.is_empty() => Ok(identity.clone()),
            _ => Err(PostgresFault::Unfit {
                message: "the table has no primary key".to_owned(),
                fix: "give it one, or write key = [\"…\"] with the columns that name a row"
                    .to_owned(),
            }),
        }
    }

    /// The key, for a table whose changes are followed: it must be what changes name a row by.
    pub(super) fn key_of_changes(&self, written: &[String]) -> Result<Vec<String>> {
        if self.relkind != "r" {
            return Err(PostgresFault::Unfit {
                message: "only a plain table can be followed, no view and no partitioned table"
                    .to_owned(),
                fix: "write mode = \"snapshot\", or follow each partition".to_owned(),
            });
        }
        let key = self.key(written)?;
        let Some(identity) = &self.identity else { return Ok(key) };
        if identity.is_empty() {
            return Err(PostgresFault::Unfit {
                message: "changes of the table do not say which row they change".to_owned(),
                fix: "give it a primary key, or ALTER TABLE … REPLICA IDENTITY".to_owned(),
            });
        }
        let same = identity.len() == key.len() && identity.iter().all(|name| key.contains(name));
        if same {
            return Ok(key);
        }
        Err(PostgresFault::Unfit {
            message: format!("changes of the table name a row by {}", identity.join(", ")),
            fix: "take `key` out, or ALTER TABLE … REPLICA IDENTITY FULL".to_owned(),
        })
    }
}

/// What old rows have in a column that was added later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filled {
    Null,
    /// The value that was the default when the column was added.
    Value(String),
    /// The rows may have got values that nobody can tell.
    Unknown,
}

/// Looks up what old rows have in a column that was added.
pub(super) async fn filled(connection: &mut Connection, oid: u32, name: &str) -> Result<Filled> {
    let found = connection
        .query(&format!(
            "SELECT atthasmissing, (attmissingval::text::text[])[1], atthasdef, attidentity <> '', \
             attnotnull \
             FROM pg_attribute WHERE attrelid = {oid} AND attname = {} AND NOT attisdropped",
            literal(name)
        ))
        .await?;
    let yes = |column| cell(&found, 0, column) == "t";
    let missing = found.rows.first().and_then(|row| row.get(1)).cloned().flatten();
    Ok(match missing {
        _ if found.rows.is_empty() => Filled::Unknown,
        Some(value) if yes(0) => Filled::Value(value),
        // Not null without a default any more: the default went after it had filled the rows.
        _ if yes(2) || yes(3) || yes(4) => Filled::Unknown,
        _ => Filled::Null,
    })
}
