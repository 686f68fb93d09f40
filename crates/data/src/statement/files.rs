//! Which files does a statement read in place? `from 'x.parquet'`, also csv, json lines and arrow:
//! files below the project's folder, by their extension. A link that leads out of the folder is
//! refused, and so are the data folder and everything hidden.

use std::{
    ops::ControlFlow,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use datafusion::{
    catalog::TableProvider,
    datasource::{
        file_format::{
            FileFormat, arrow::ArrowFormat, csv::CsvFormat, json::JsonFormat,
            parquet::ParquetFormat,
        },
        listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl},
    },
    prelude::SessionContext,
    sql::{
        parser::Statement,
        sqlparser::ast::{ObjectName, Visit as _, Visitor},
    },
};

use crate::{
    DataEngine,
    engine::register_table,
    error::{DataError, Result},
    table::{commits::ReadFile, log::file_digest},
};

/// Most files that one statement names.
const FILES_MAX: usize = 64;

#[derive(Default)]
struct Quoted(Vec<String>);

impl Visitor for Quoted {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if let [part] = relation.0.as_slice()
            && let Some(name) = part.as_ident()
            && name.quote_style == Some('\'')
            && !self.0.contains(&name.value)
        {
            self.0.push(name.value.clone());
        }
        ControlFlow::Continue(())
    }
}

/// The names in single quotes that stand where a table stands.
pub(super) fn named_in(statement: &Statement) -> Vec<String> {
    if let Statement::Explain(explain) = statement {
        return named_in(&explain.statement);
    }
    let Statement::Statement(inner) = statement else { return Vec::new() };
    let mut quoted = Quoted::default();
    let _ = inner.visit(&mut quoted);
    quoted.0
}

impl DataEngine {
    /// Makes files below `root` visible as tables under the names that the statement gives them.
    pub(super) async fn register_files(
        &self,
        session: &SessionContext,
        root: &Path,
        names: Vec<String>,
    ) -> Result<Vec<ReadFile>> {
        if names.len() > FILES_MAX {
            return Err(DataError::TooLarge {
                what: "the statement".to_owned(),
                size: format!("{} files", names.len()),
                limit: FILES_MAX.to_string(),
            });
        }
        let mut read = Vec::new();
        for name in names {
            let path = below(root, &name, self.store().dir())?;
            let (format, extension) = format_of(&path, &name)?;
            let hashed = path.clone();
            let facts = tokio::task::spawn_blocking(move || file_digest(hashed)).await;
            let (bytes, digest) = facts.map_err(DataError::engine)??;
            let table = open(session, &path, format, extension).await.map_err(|error| {
                let message = crate::query::tidy(&error.strip_backtrace());
                let message = format!("{name} cannot be read: {message}");
                DataError::Sql { place: None, message, compiled: None }
            })?;
            register_table(session, None, &name, table)?;
            read.push(ReadFile { path: name, bytes, digest });
        }
        Ok(read)
    }
}

async fn open(
    session: &SessionContext,
    path: &Path,
    format: Arc<dyn FileFormat>,
    extension: &str,
) -> datafusion::common::Result<Arc<dyn TableProvider>> {
    let url = ListingTableUrl::parse(path.to_string_lossy())?;
    let options = ListingOptions::new(format).with_file_extension(extension);
    let config = ListingTableConfig::new(url).with_listing_options(options);
    let config = config.infer_schema(&session.state()).await?;
    Ok(Arc::new(ListingTable::try_new(config)?))
}

/// How a file is read, by the end of its name.
fn format_of(path: &Path, name: &str) -> Result<(Arc<dyn FileFormat>, &'static str)> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
    let format: (Arc<dyn FileFormat>, &'static str) = match extension {
        "parquet" => (Arc::new(ParquetFormat::default()), "parquet"),
        "csv" => (Arc::new(CsvFormat::default().with_has_header(true)), "csv"),
        "jsonl" => (Arc::new(JsonFormat::default()), "jsonl"),
        "ndjson" => (Arc::new(JsonFormat::default()), "ndjson"),
        "arrow" => (Arc::new(ArrowFormat), "arrow"),
        _ => {
            return Err(DataError::TableRefused {
                message: format!("{name} is not a file that SQL can read"),
                fix: "files end with .parquet, .csv, .jsonl, .ndjson or .arrow".to_owned(),
            });
        }
    };
    Ok(format)
}

/// The file's real path, when it lies below the project's folder and outside of its hidden parts.
fn below(root: &Path, name: &str, data: &Path) -> Result<PathBuf> {
    let refuse = |why: &str| DataError::TableRefused {
        message: format!("'{name}' {why}"),
        fix: "name a file below the project's folder, such as 'imports/orders.csv'".to_owned(),
    };
    let relative = Path::new(name);
    let hidden = |component: Component<'_>| match component {
        Component::Normal(part) => part.to_string_lossy().starts_with('.'),
        Component::CurDir => false,
        _ => true,
    };
    // The listing of files reads these as patterns.
    if relative.components().any(hidden) || name.contains(['*', '?', '[']) {
        return Err(refuse("is not the path of a file below the project's folder"));
    }
    let root = std::fs::canonicalize(root)
        .map_err(|source| DataError::SourceFile { path: root.to_owned(), source })?;
    let path = root.join(relative);
    let real = std::fs::canonicalize(&path)
        .map_err(|source| DataError::SourceFile { path: path.clone(), source })?;
    if !real.starts_with(&root) {
        return Err(DataError::SymlinkEscape { path, target: real.display().to_string() });
    }
    let data = std::fs::canonicalize(data).unwrap_or_else(|_| data.to_owned());
    if real.starts_with(data) || !real.is_file() {
        return Err(refuse("is not a file that may be queried"));
    }
    Ok(real)
}
