//! How does a source stand? What has landed of it, how fast, what waits in quarantine, how far each
//! partition is behind, and which commits brought what.

use serde::Serialize;
use sextant_core::{Cancel, Timestamp};
use sextant_data::{latest_table, rows_before};

use super::Source;
use crate::{arrival::ArrivalCommit, catalog, error::Result};

/// The time over which the rate is taken.
const RATE_MINUTES: i64 = 5;

/// What has landed of a source, as the last act recorded it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Standing {
    /// The name of its table.
    pub table: String,
    /// Where it comes from: `kafka:orders`.
    pub uri: String,
    /// Rows of the table.
    pub rows: u64,
    /// Records that arrived.
    pub arrived: u64,
    /// Those that went into the table at once.
    pub landed: u64,
    /// Rows that wait in quarantine.
    pub waiting: u64,
    /// Rows of the quarantine that went into the table later.
    pub replayed: u64,
    /// Rows that the table grew by in a minute, over the last five.
    pub per_minute: f64,
    /// When something was last recorded.
    pub landed_at: Option<String>,
}

/// How far one partition is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// Its name.
    pub partition: String,
    /// The last offset that has landed.
    pub landed: Option<i64>,
    /// The offset behind the last record that can be read.
    pub end: i64,
    /// How many offsets lie in between.
    pub lag: u64,
}

impl Source {
    /// Which way in it is, in the word of its file.
    pub fn kind(&self) -> &'static str {
        match (&self.push, &self.kafka, &self.postgres) {
            (Some(_), _, _) => "push",
            (_, Some(_), _) => "kafka",
            (_, _, Some(_)) => "postgres",
            _ => "files",
        }
    }

    /// Whether a running server lands it by itself.
    pub fn lands_by_itself(&self) -> bool {
        let topic = self.kafka.as_ref().and_then(|kafka| kafka.pause());
        let table = self.postgres.as_ref().and_then(|postgres| postgres.pause());
        self.push.is_some() || topic.or(table).is_some()
    }

    /// What has landed of it.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown, not counted with")]
    pub fn standing(&self) -> Result<Standing> {
        let reader = self.engine.store().read()?;
        let asset = self.plan.asset.as_str();
        let (table, uri) = (self.plan.table.clone(), self.plan.uri.clone());
        let Some(latest) = latest_table(&reader, asset)? else {
            return Ok(Standing { table, uri, ..Standing::default() });
        };
        let rows = latest.meta.rows;
        let since = self.engine.store().now().micros() - RATE_MINUTES * 60_000_000;
        let before = rows_before(&reader, asset, Timestamp::from_micros(since))?.unwrap_or(0);
        let state = catalog::arrival(&reader, asset)?.map(|known| known.state).unwrap_or_default();
        let held = latest_table(&reader, self.plan.quarantine()?.as_str())?;
        Ok(Standing {
            table,
            uri,
            rows,
            arrived: state.arrived,
            landed: state.landed,
            waiting: held.map_or(0, |held| held.meta.rows).saturating_sub(state.replayed),
            replayed: state.replayed,
            per_minute: rows.saturating_sub(before) as f64 / RATE_MINUTES as f64,
            landed_at: Some(latest.built_at.to_string()),
        })
    }

    /// How far each partition is; empty for a source that has none to be behind of.
    ///
    /// # Errors
    /// When the outside cannot be asked.
    pub fn partitions(&self, cancel: &Cancel) -> Result<Vec<Partition>> {
        if let Some(kafka) = &self.kafka {
            return kafka.partitions(cancel);
        }
        if self.push.is_none() {
            return Ok(Vec::new());
        }
        let waiting = self.waiting()?;
        let end = i64::try_from(waiting.accepted).unwrap_or(i64::MAX);
        let lag = waiting.records;
        let landed = end - i64::try_from(lag).unwrap_or(i64::MAX);
        Ok(vec![Partition {
            partition: super::push::PARTITION.to_owned(),
            landed: (landed > 0).then(|| landed - 1),
            end,
            lag,
        }])
    }

    /// The newest commits of its table, with the offsets that each brought.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn commits(&self, most: usize, cancel: &Cancel) -> Result<Vec<ArrivalCommit>> {
        self.engine.arrival_commits(&self.plan, most, cancel)
    }
}
