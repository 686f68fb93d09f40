//! How are rows changed that are in a table already? Those of a file are replaced, columns get
//! another type, rows of a quarantine are marked as released.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    arrow::{
        array::RecordBatch,
        compute::{CastOptions, cast_with_options},
        datatypes::{DataType, Field, Schema},
    },
    common::{Column, ScalarValue},
    datasource::{MemTable, provider_as_source},
    logical_expr::LogicalPlanBuilder,
    prelude::{Expr, col, lit},
};
use deltalake_core::{
    delta_datafusion::DeltaSessionContext, operations::write::SchemaMode, protocol::SaveMode,
};
use serde_json::json;
use sextant_core::Digest;

use super::{
    ArrivalState,
    commit::{Change, Target, properties},
};
use crate::{
    Ingest,
    error::{DataError, IngestError, Result},
};
use sextant_data::{TableMeta, content};

impl Ingest {
    /// Replaces the rows of these files, named by a column; all rows and columns when the table is
    /// made anew.
    pub(crate) async fn replace(
        &self,
        mut target: Target,
        change: Change,
        column: &str,
        files: &[String],
        anew: bool,
    ) -> Result<Target> {
        if target.table.version().is_none() {
            return self.append(target, change).await;
        }
        let listed = Digest::of(json!([column, files, anew]).to_string());
        let content = content::after_change(target.content.as_ref(), "replace", &listed);
        let batch = std::slice::from_ref(&change.rows);
        let added = content::content_digest(&change.rows.schema(), batch);
        let content =
            content::after_change(Some(&content), "append", &added.map_err(DataError::engine)?);
        let failed = DataError::table("write", &target.asset);
        let schema = change.rows.schema();
        let rows = MemTable::try_new(schema, vec![vec![change.rows]]).map_err(DataError::engine)?;
        let source = provider_as_source(Arc::new(rows));
        let plan = LogicalPlanBuilder::scan("rows", source, None).and_then(|plan| plan.build());
        let session = DeltaSessionContext::with_runtime_env(self.environment());
        let write = target
            .table
            .write(Vec::new())
            .with_input_plan(plan.map_err(DataError::engine)?)
            .with_session_state(Arc::new(session.state()))
            .with_save_mode(SaveMode::Overwrite)
            .with_commit_properties(properties(&content, &change.marks, &change.state));
        let write = if anew {
            write.with_schema_mode(SchemaMode::Overwrite)
        } else {
            let names = files.iter().map(lit).collect();
            write
                .with_schema_mode(SchemaMode::Merge)
                .with_replace_where(Expr::Column(Column::from_name(column)).in_list(names, false))
        };
        target.table = write.await.map_err(failed)?;
        target.content = Some(content);
        target.state = change.state;
        Ok(target)
    }

    /// Writes a table again with other types for some columns. All its rows are read: this is what a
    /// change of the user's schema costs.
    pub(crate) async fn retype(
        &self,
        mut target: Target,
        meta: &TableMeta,
        changed: &BTreeMap<String, DataType>,
    ) -> Result<Target> {
        let (schema, batches) = self.read_pinned(meta, None).await?;
        let stored = content::stored_schema(&schema);
        let fields: Vec<Field> = stored
            .fields()
            .iter()
            .map(|field| match changed.get(field.name()) {
                Some(kind) => Field::new(field.name(), kind.clone(), true),
                None => field.as_ref().clone(),
            })
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let mut rows = Vec::with_capacity(batches.len());
        for batch in &batches {
            let columns = batch.columns().iter().zip(schema.fields());
            let cast = columns.map(|(column, field)| {
                cast_with_options(column, field.data_type(), &strict).map_err(
                    |error| -> DataError {
                        IngestError::Retype {
                            asset: target.asset.clone(),
                            column: field.name().clone(),
                            wanted: content::type_name(field.data_type()),
                            reason: error.to_string(),
                        }
                        .into()
                    },
                )
            });
            let columns = cast.collect::<Result<Vec<_>>>()?;
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns);
            rows.push(batch.map_err(DataError::engine)?);
        }
        let types = content::columns(&schema);
        let change = Digest::of(json!(types).to_string());
        let content = content::after_change(target.content.as_ref(), "retype", &change);
        let failed = DataError::table("write", &target.asset);
        let rows = MemTable::try_new(schema, vec![rows]).map_err(DataError::engine)?;
        let source = provider_as_source(Arc::new(rows));
        let plan = LogicalPlanBuilder::scan("rows", source, None).and_then(|plan| plan.build());
        let session = DeltaSessionContext::with_runtime_env(self.environment());
        let write = target
            .table
            .write(Vec::new())
            .with_input_plan(plan.map_err(DataError::engine)?)
            .with_session_state(Arc::new(session.state()))
            .with_save_mode(SaveMode::Overwrite)
            .with_schema_mode(SchemaMode::Overwrite)
            .with_commit_properties(properties(&content, &[], &target.state));
        target.table = write.await.map_err(failed)?;
        target.content = Some(content);
        Ok(target)
    }

    /// Marks rows of a quarantine as put through again.
    pub(crate) async fn release(
        &self,
        mut target: Target,
        released: &[(String, i64)],
        mark: (String, i64),
        at_us: i64,
    ) -> Result<Target> {
        let content = target.content.as_ref();
        let listed = json!(released).to_string();
        let content = content::after_change(content, "release", &Digest::of(listed));
        let failed = DataError::table("write", &target.asset);
        let session = DeltaSessionContext::with_runtime_env(self.environment());
        let mut by_partition: BTreeMap<&str, Vec<Expr>> = BTreeMap::new();
        for (partition, offset) in released {
            by_partition.entry(partition).or_default().push(lit(*offset));
        }
        let those = by_partition
            .into_iter()
            .map(|(partition, offsets)| {
                col("partition").eq(lit(partition)).and(col("offset").in_list(offsets, false))
            })
            .reduce(Expr::or)
            .ok_or_else(|| DataError::engine("nothing to release"))?;
        let time = ScalarValue::TimestampMicrosecond(Some(at_us), Some("UTC".into()));
        let state = ArrivalState::default();
        let (table, _) = target
            .table
            .update()
            .with_predicate(those.and(col("replayed_at").is_null()))
            .with_update("replayed_at", lit(time))
            .with_session_state(Arc::new(session.state()))
            .with_commit_properties(properties(&content, &[mark], &state))
            .await
            .map_err(failed)?;
        target.table = table;
        target.content = Some(content);
        Ok(target)
    }
}
