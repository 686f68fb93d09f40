//! How does a table get columns that its source got? Before the commit with the rows that have them,
//! in commits that say nothing of it: what the source has noted changes only where the mark moves. So a
//! build that is stopped in between is made again from the same place, and finds the columns there.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    arrow::datatypes::Field,
    common::{Column as Name, ScalarValue},
    prelude::lit,
};
use deltalake_core::{
    DeltaTableError,
    delta_datafusion::DeltaSessionContext,
    kernel::{StructField, engine::arrow_conversion::TryIntoKernel as _},
};
use serde_json::json;
use sextant_core::Digest;

use super::{
    batch::Ready,
    land::{Tables, Way, content_after},
    lsn::Lsn,
    note::Note,
    subject::Column,
};
use crate::{
    arrival::properties,
    error::{DataError, Result},
    failpoint,
};

/// Columns that were added, with what the rows before have in them.
pub(super) type Added = BTreeMap<String, Option<String>>;

impl Tables {
    /// Lands the changes up to `lsn`, whose rows have these columns; `note` is then that of the commit.
    pub(super) async fn land(
        &mut self,
        ready: Ready,
        columns: &[Column],
        added: &Added,
        lsn: Lsn,
        note: &mut Note,
    ) -> Result<()> {
        let mut now = Note { lsn, ..note.clone() };
        for column in columns.get(note.columns.len()..).unwrap_or_default() {
            let value = added.get(column.name()).and_then(Option::as_deref);
            // Where all rows go away, the table gets the columns of those that come.
            if !ready.truncated {
                self.widen(column, value).await?;
            }
            let value = value.map(|value| (column.name().to_owned(), value.to_owned()));
            now.filled.extend(value);
            now.columns.push(column.described.clone());
        }
        failpoint("data.postgres.after_widen")?;
        let way = match &ready {
            ready if ready.truncated => Way::Emptied,
            ready if ready.only_inserts => Way::Append,
            _ => Way::Merge,
        };
        let state = self.account(&ready.counts, &now);
        self.write(ready, way, &now.key, state, lsn.number()).await?;
        *note = now;
        Ok(())
    }

    /// Gives the table a column that was added, and its rows the value that they have in it.
    pub(super) async fn widen(&mut self, column: &Column, value: Option<&str>) -> Result<()> {
        let failed = |error| DataError::table("widen", &self.main.asset)(error);
        let change = Digest::of(json!([column.name(), value]).to_string());
        let there = self.main.schema().is_some_and(|it| it.field_with_name(column.name()).is_ok());
        if !there {
            let field = Field::new(column.name(), column.kind.data_type(), true);
            let field: StructField =
                (&field).try_into_kernel().map_err(|error| failed(DeltaTableError::from(error)))?;
            let content = content_after(&self.main, "column", Way::Merge, &change);
            let add = self.main.table.clone().add_columns().with_fields([field]);
            let add = add.with_commit_properties(properties(&content, &[], &self.main.state));
            self.main.table = add.await.map_err(failed)?;
            self.main.content = Some(content);
        }
        if let Some(value) = value {
            let values = column.kind.column(&[Some(value)], &mut Vec::new());
            let value = ScalarValue::try_from_array(&values, 0).map_err(DataError::engine)?;
            let content = content_after(&self.main, "fill", Way::Merge, &change);
            let session = DeltaSessionContext::with_runtime_env(self.engine.environment());
            let (table, _) = self
                .main
                .table
                .clone()
                .update()
                .with_update(Name::from_name(column.name()), lit(value))
                .with_session_state(Arc::new(session.state()))
                .with_commit_properties(properties(&content, &[], &self.main.state))
                .await
                .map_err(failed)?;
            self.main.table = table;
            self.main.content = Some(content);
        }
        Ok(())
    }
}
