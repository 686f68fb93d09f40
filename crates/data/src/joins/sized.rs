//! How large is a table? Its rows are known from the catalog; between which whole numbers or days a column
//! lies is in the table's log, and is looked up when a statement joins it.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datafusion::{
    arrow::{
        array::{AsArray as _, RecordBatch},
        compute::{cast, max, min},
        datatypes::{DataType, Int64Type, SchemaRef},
    },
    catalog::{ScanArgs, ScanResult, Session, TableProvider},
    common::Result,
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_plan::ExecutionPlan,
};
use deltalake_core::DeltaTable;

/// A table that knows its size.
#[derive(Debug)]
pub(crate) struct Sized {
    inner: Arc<dyn TableProvider>,
    table: DeltaTable,
    rows: u64,
    /// What the log says of each file, once somebody has asked.
    files: OnceLock<Option<RecordBatch>>,
}

impl Sized {
    pub(crate) fn new(inner: Arc<dyn TableProvider>, table: DeltaTable, rows: u64) -> Self {
        Self { inner, table, rows, files: OnceLock::new() }
    }

    /// How many rows it has.
    pub(super) fn rows(&self) -> f64 {
        self.rows as f64
    }

    /// How many values a column of whole numbers or days can have at most.
    pub(super) fn values(&self, column: &str) -> Option<f64> {
        let files = self.files.get_or_init(|| {
            let snapshot = self.table.snapshot().ok()?;
            snapshot.add_actions_table(true).ok()
        });
        let files = files.as_ref()?;
        let bound = |name: String| {
            let column = files.column_by_name(&name)?;
            let whole = match column.data_type() {
                DataType::Date32 => cast(&cast(column, &DataType::Int32).ok()?, &DataType::Int64),
                kind if kind.is_integer() => cast(column, &DataType::Int64),
                _ => return None,
            };
            let whole = whole.ok()?;
            (whole.null_count() == 0).then_some(whole)
        };
        let least = min(bound(format!("min.{column}"))?.as_primitive::<Int64Type>())?;
        let greatest = max(bound(format!("max.{column}"))?.as_primitive::<Int64Type>())?;
        Some(greatest as f64 - least as f64 + 1.0)
    }
}

#[async_trait]
impl TableProvider for Sized {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn table_type(&self) -> TableType {
        self.inner.table_type()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.inner.scan(state, projection, filters, limit).await
    }

    async fn scan_with_args<'a>(
        &self,
        state: &dyn Session,
        args: ScanArgs<'a>,
    ) -> Result<ScanResult> {
        self.inner.scan_with_args(state, args).await
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        self.inner.supports_filters_pushdown(filters)
    }
}
