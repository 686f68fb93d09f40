//! How do the rows of a query reach a table that is written? As a stream in the stored types, one
//! batch after the other, so that a write is not limited by memory.

use std::{collections::BTreeSet, sync::Arc};

use datafusion::{
    arrow::datatypes::{Schema, SchemaRef},
    catalog::streaming::StreamingTable,
    common::DataFusionError,
    datasource::provider_as_source,
    execution::TaskContext,
    logical_expr::{LogicalPlan, LogicalPlanBuilder},
    physical_plan::{
        ExecutionPlan, ExecutionPlanProperties as _, SendableRecordBatchStream,
        stream::RecordBatchStreamAdapter, streaming::PartitionStream,
    },
};
use deltalake_core::DeltaTableError;
use futures::StreamExt as _;

use crate::{
    DataEngine, content,
    error::{DataError, Result},
};

/// Characters that the table format does not allow in a column's name.
const NOT_IN_COLUMN_NAMES: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

/// One partition of a running query.
#[derive(Debug)]
struct StoredRows {
    plan: Arc<dyn ExecutionPlan>,
    partition: usize,
    schema: SchemaRef,
}

impl PartitionStream for StoredRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let stream = match self.plan.execute(self.partition, context) {
            Ok(rows) => rows
                .map(move |batch| {
                    let batch = batch?;
                    content::to_stored(&batch, &schema).map_err(DataFusionError::from)
                })
                .boxed(),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        };
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))
    }
}

impl DataEngine {
    /// The rows of a plan as the input of a write. Made anew for each try: a physical plan runs once.
    pub(crate) async fn stored_rows(
        &self,
        plan: &LogicalPlan,
    ) -> Result<LogicalPlan, DeltaTableError> {
        let schema = content::stored_schema(plan.schema().as_arrow());
        let plan = self.session().state().create_physical_plan(plan).await?;
        let partitions = plan.output_partitioning().partition_count();
        let stream = |partition| -> Arc<dyn PartitionStream> {
            let (plan, schema) = (Arc::clone(&plan), Arc::clone(&schema));
            Arc::new(StoredRows { plan, partition, schema })
        };
        let streams = (0..partitions).map(stream).collect();
        let table = StreamingTable::try_new(Arc::clone(&schema), streams)?;
        Ok(LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(table)), None)?.build()?)
    }
}

/// What is wrong with these columns for a table, if anything.
pub(crate) fn column_fault(schema: &Schema) -> Option<String> {
    let mut seen = BTreeSet::new();
    for field in schema.fields() {
        let name = field.name();
        if name.contains(NOT_IN_COLUMN_NAMES) {
            return Some(format!("the column `{name}` needs a plain name: add `AS name`"));
        }
        // The table format compares names without case.
        if !seen.insert(name.to_lowercase()) {
            return Some(format!("two columns are called `{name}`: rename one with `AS`"));
        }
    }
    schema.fields().is_empty().then(|| "the query has no columns".to_owned())
}

/// Refuses columns that a table cannot have.
///
/// # Errors
/// When a name is not plain or is there twice, or there are none.
pub fn check_columns(schema: &Schema) -> Result<()> {
    match column_fault(schema) {
        Some(message) => Err(DataError::Sql { place: None, message, compiled: None }),
        None => Ok(()),
    }
}
