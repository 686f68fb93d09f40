//! Which traces are there? Those of some experiments that a filter means, in order, page by page.

use serde_json::{Value, json};

use super::{
    super::{
        Answer, Fields, Mlflow, Refusal, experiments::experiment_id, refusal::invalid, search::Page,
    },
    filter::Query,
    info::{COLUMNS, Info},
    order::order,
};

const PAGE: i64 = 100;
const PAGE_MAX: i64 = 500;
const PAGE_PAST: i64 = PAGE_MAX + 1;
const EXPERIMENTS_MAX: usize = 10_000;

impl Mlflow {
    pub(in super::super) fn search_traces(&self, fields: Fields<'_>) -> Answer {
        let locations = fields.objects("locations")?;
        // A list without any finds nothing; MLflow's pages ask so.
        if !fields.has("locations") {
            return Err(fields.absent("locations"));
        }
        let mut experiments = Vec::new();
        for location in locations {
            if let Some(found) = Fields::new(location).object("mlflow_experiment")? {
                experiments.extend(Fields::new(found).text("experiment_id")?);
            }
        }
        self.found(&fields, &experiments, Info::shown)
    }

    pub(in super::super) fn search_old_traces(&self, fields: Fields<'_>) -> Answer {
        let experiments = fields.texts("experiment_ids")?;
        if experiments.is_empty() {
            return Err(fields.absent("experiment_ids"));
        }
        self.found(&fields, &experiments, Info::shown_old)
    }

    fn found(
        &self,
        fields: &Fields<'_>,
        experiments: &[&str],
        shown: fn(&Info) -> Value,
    ) -> Answer {
        if experiments.len() > EXPERIMENTS_MAX {
            return Err(invalid(format!(
                "at most {EXPERIMENTS_MAX} experiments are searched at once"
            )));
        }
        if let Some(size @ PAGE_PAST..) = fields.int("max_results")? {
            return Err(fields.wrong("max_results", &json!(size)));
        }
        let page = Page::of(fields.text("page_token")?, fields.page_size(PAGE, PAGE_MAX)?)?;
        let ids: Result<Vec<i64>, Refusal> =
            experiments.iter().map(|id| experiment_id(id)).collect();
        let _kept = self.0.bodies.keep();
        let reader = self.store().read()?;
        let filter = fields.text("filter")?.unwrap_or_default();
        let mut query = Query::of(&reader, &self.0.bodies, &ids?, filter)?;
        let order = order(&mut query, &fields.texts("order_by")?)?;
        let (limit, offset) = (query.value(page.limit()), query.value(page.offset()));
        let columns: Vec<String> =
            COLUMNS.split(", ").map(|column| format!("x.{column}")).collect();
        let sql = format!(
            "SELECT {} FROM mlflow_traces x WHERE {} ORDER BY {order} LIMIT {limit} OFFSET {offset}",
            columns.join(", "),
            query.conditions.join(" AND ")
        );
        let rows = reader.query(&sql, &query.values)?;
        let shown_rows = &rows[..rows.len().min(page.size())];
        let infos = self.infos(&reader, shown_rows)?;
        Ok(page.answer("traces", infos.iter().map(shown).collect(), rows.len()))
    }
}
