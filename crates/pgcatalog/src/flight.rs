//! How do other programs query the tables over Arrow Flight SQL? With the same planning as over the
//! PostgreSQL wire; only values and rows stay as the engine has them.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::RecordBatch,
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    common::{DataFusionError, ScalarValue},
    logical_expr::LogicalPlan,
};
use futures::StreamExt as _;
use sextant_core::Cancel;
use sextant_data::DataError;
use sextant_flightwire::{Described, Fault, FlightEngine, Portion, Query, TableName};
use sextant_sqlwire::SqlFault;
use tokio::sync::mpsc;

use crate::{SqlDoor, bind, catalog, fault::engine_fault, parameter_types};

impl FlightEngine for SqlDoor {
    fn describe(&self, query: &Query, cancel: &Cancel) -> Result<Described, Fault> {
        let (door, query) = (self.clone(), query.clone());
        let work = async move {
            let (_, plan) = door.plan(&query.sql).await?;
            let parameters = parameters(&plan)?;
            let plan = bound(plan, &parameters, query.values.as_ref())?;
            Ok(Described { columns: columns(&plan), parameters })
        };
        self.wait(cancel, work).map_err(plain)
    }

    fn run(
        &self,
        query: &Query,
        portions: mpsc::Sender<Portion>,
        cancel: &Cancel,
    ) -> Result<(), Fault> {
        let (door, query) = (self.clone(), query.clone());
        let work = async move { door.stream_batches(query, portions).await };
        self.wait(cancel, work).map_err(plain)
    }

    fn catalog(&self) -> &'static str {
        catalog::DATABASE
    }

    fn tables(&self, _: &Cancel) -> Result<Vec<TableName>, Fault> {
        let latest = self.0.latest_tables()?;
        let name = |(schema, table): (&str, &str)| TableName {
            schema: schema.to_owned(),
            table: table.to_owned(),
        };
        Ok(catalog::Tables::new(&latest).names().map(name).collect())
    }

    fn columns(&self, table: &TableName, cancel: &Cancel) -> Result<SchemaRef, Fault> {
        let latest = self.0.latest_tables()?;
        let tables = catalog::Tables::new(&latest);
        let gone = || DataError::NotFound {
            what: "table",
            name: format!("{}.{}", table.schema, table.table),
            known: String::new(),
        };
        let meta = tables.find(Some(&table.schema), &table.table).ok_or_else(gone)?.clone();
        let engine = self.0.clone();
        let opened = self.0.block_query(Some(cancel), async move { engine.pinned(&meta).await })?;
        Ok(opened.schema())
    }
}

impl SqlDoor {
    async fn stream_batches(
        &self,
        query: Query,
        portions: mpsc::Sender<Portion>,
    ) -> Result<(), SqlFault> {
        let (session, plan) = self.plan(&query.sql).await?;
        let parameters = parameters(&plan)?;
        let plan = bound(plan, &parameters, query.values.as_ref())?;
        let columns = columns(&plan);
        let frame = session.execute_logical_plan(plan).await.map_err(engine_fault)?;
        let mut stream = frame.execute_stream().await.map_err(engine_fault)?;
        // Nobody takes the portions any more when the client left: that is no failure.
        if portions.send(Portion::Columns(columns)).await.is_err() {
            return Ok(());
        }
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(engine_fault)?;
            if portions.send(Portion::Rows(batch)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// PostgreSQL's word for the error has no place here.
fn plain(fault: SqlFault) -> Fault {
    Fault { failure: fault.failure, at: fault.at }
}

fn columns(plan: &LogicalPlan) -> SchemaRef {
    Arc::new(plan.schema().as_arrow().clone())
}

/// The parameters with the types that the engine infers; text where it cannot.
fn parameters(plan: &LogicalPlan) -> Result<SchemaRef, SqlFault> {
    let types = parameter_types(plan)?;
    let field = |(index, of): (usize, Option<DataType>)| {
        Field::new(format!("${}", index + 1), of.unwrap_or(DataType::Utf8), true)
    };
    let fields: Vec<Field> = types.into_iter().enumerate().map(field).collect();
    Ok(Arc::new(Schema::new(fields)))
}

/// The plan with values for its parameters, or with nulls of their types.
fn bound(
    plan: LogicalPlan,
    parameters: &Schema,
    values: Option<&RecordBatch>,
) -> Result<LogicalPlan, SqlFault> {
    let value = |(index, field): (usize, &Arc<Field>)| -> Result<ScalarValue, DataFusionError> {
        let Some(values) = values else { return ScalarValue::try_from(field.data_type()) };
        let column = values.columns().get(index).ok_or_else(|| {
            DataFusionError::Plan(format!("there is no value for {}", field.name()))
        })?;
        ScalarValue::try_from_array(column, 0)?.cast_to(field.data_type())
    };
    let values = parameters.fields().iter().enumerate().map(value).collect::<Result<_, _>>();
    bind(plan, values.map_err(engine_fault)?)
}
