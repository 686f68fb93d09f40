//! How do the sources stand? For lists and pages: what has landed, how fast, how far behind each is,
//! what waits in quarantine, and what went wrong last.

use serde_json::{Value, json};
use sextant_core::{Cancel, Failure};
use sextant_ingest::Source;

use crate::App;

/// Commits of one source that are shown.
const COMMITS_SHOWN: usize = 20;
/// Sources that are asked at once how far behind they are.
const ASKED_AT_ONCE: usize = 8;

impl App {
    /// Every source, and how each stands.
    pub(crate) fn data_sources(&self, cancel: &Cancel) -> Result<Value, Failure> {
        let project = self.project()?;
        self.read_sources(&project)?;
        let known = self.arrivals.stamped();
        let mut rows = Vec::new();
        for (id, node) in project.graph.nodes().filter(|(id, _)| id.folder() == "sources") {
            let about = node.asset.about();
            let head = json!({
                "source": id, "name": id.stem(), "file": node.asset.file(),
                "description": about.description, "owner": about.owner,
            });
            rows.push((head, known.get(id.stem()).map(|(_, source)| source)));
        }
        let mut sources = Vec::with_capacity(rows.len());
        // Each may have to wait for brokers that do not answer: a few wait together.
        for some in rows.chunks(ASKED_AT_ONCE) {
            let described = std::thread::scope(|scope| {
                let ask = |(head, source): &(Value, Option<&Source>)| match source {
                    Some(source) => self.describe(head, source, cancel),
                    None => self.describe_text(head),
                };
                let asked: Vec<_> = some.iter().map(|row| scope.spawn(move || ask(row))).collect();
                asked.into_iter().map(|one| one.join()).collect::<Vec<_>>()
            });
            for one in described {
                sources.push(one.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
        }
        Ok(json!({ "sources": sources }))
    }

    /// One source with its partitions, columns and newest commits.
    pub(crate) fn data_source(&self, text: &str, cancel: &Cancel) -> Result<Value, Failure> {
        let project = self.project()?;
        let id = project.graph.find(text)?.clone();
        self.read_sources(&project)?;
        let node = project.graph.get(&id);
        let about = node.map(|node| node.asset.about());
        let head = json!({
            "source": id, "name": id.stem(), "file": node.map(|node| node.asset.file()),
            "description": about.map(|about| &about.description),
            "owner": about.map(|about| &about.owner),
        });
        let known = self.arrivals.stamped().remove(id.stem()).map(|(_, source)| source);
        let Some(source) = known.filter(|source| *source.asset() == id) else {
            if id.folder() == "sources" {
                return self.describe_text(&head);
            }
            let hint = "`sextant data sources` lists them";
            return Err(crate::AppError::not_found("source", id.as_str(), hint).into());
        };
        let mut row = self.describe(&head, &source, cancel)?;
        row["columns"] = source
            .columns()?
            .into_iter()
            .map(|(column, origin)| {
                json!({ "name": column.name, "type": column.data_type, "origin": origin })
            })
            .collect();
        row["commits"] = json!(source.commits(COMMITS_SHOWN, cancel)?);
        Ok(row)
    }

    /// A source in which records arrive.
    fn describe(&self, head: &Value, source: &Source, cancel: &Cancel) -> Result<Value, Failure> {
        let mut row = head.clone();
        row["kind"] = json!(source.kind());
        row["lands"] = json!(if source.lands_by_itself() { "server" } else { "build" });
        merge(&mut row, json!(source.standing()?));
        match source.partitions(cancel) {
            Ok(partitions) if partitions.is_empty() => {}
            Ok(partitions) => {
                row["lag"] = json!(partitions.iter().map(|one| one.lag).sum::<u64>());
                row["partitions"] = json!(partitions);
            }
            // The rest is known all the same.
            Err(error) => row["lag_unknown"] = json!(Failure::from(error).chain()),
        }
        row["error"] = json!(self.arrivals.trouble(source.asset().stem()));
        Ok(row)
    }

    /// A source of text files, which has no records and no quarantine.
    fn describe_text(&self, head: &Value) -> Result<Value, Failure> {
        let mut row = head.clone();
        let asset = head["source"].as_str().unwrap_or_default();
        row["kind"] = json!("files");
        row["lands"] = json!("build");
        let table = self.engine.tables()?.into_iter().find(|table| table.asset.as_str() == asset);
        if let Some(table) = table {
            let table = json!(table);
            row["table"] = table["names"][0].clone();
            row["rows"] = table["rows"].clone();
            row["landed_at"] = table["built_at"].clone();
        }
        Ok(row)
    }
}

fn merge(row: &mut Value, more: Value) {
    if let (Value::Object(row), Value::Object(more)) = (row, more) {
        row.extend(more);
    }
}
