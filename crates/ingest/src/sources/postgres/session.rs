//! How many rows does the engine hold at once? As many as there is room for: rows of PostgreSQL can be
//! large, and a batch of the engine's usual length would not be.

use datafusion::{common::config::ConfigNonZeroUsize, prelude::SessionContext};
use deltalake_core::delta_datafusion::DeltaSessionContext;

use super::{batch::CHUNK_BYTES_MAX, spill::Spill};
use crate::{
    Ingest,
    error::{DataError, Result},
};

/// Fewest and most rows of a batch.
const ROWS_MIN: usize = 4;
const ROWS_MAX: usize = 8_192;
/// How many rows of a table are read at once when some of them are looked up: nobody knows how large
/// they are.
const LOOK_UP_ROWS: usize = 128;
/// How many files of a table are read at once then.
const LOOK_UP_PARTS_MAX: usize = 4;

/// How many of these rows a batch has room for, by their mean.
pub(super) fn at_once(rows: &Spill) -> usize {
    let count = usize::try_from(rows.rows()).unwrap_or(usize::MAX);
    let most = CHUNK_BYTES_MAX.saturating_mul(count) / rows.bytes().max(1);
    most.clamp(ROWS_MIN, ROWS_MAX)
}

/// A session that writes such rows.
pub(super) fn to_write(engine: &Ingest, at_once: usize) -> Result<SessionContext> {
    let context = DeltaSessionContext::with_runtime_env(engine.environment()).into();
    set_rows(&context, at_once)?;
    Ok(context)
}

/// A session that looks rows up by their key.
pub(super) fn to_look_up(engine: &Ingest) -> Result<SessionContext> {
    let context = engine.session();
    set_rows(&context, LOOK_UP_ROWS)?;
    let state = context.state_ref();
    let mut state = state.write();
    let options = state.config_mut().options_mut();
    let most = options.execution.target_partitions.min(LOOK_UP_PARTS_MAX);
    options.execution.target_partitions = most;
    // The keys are what is held, never the table.
    options.optimizer.join_reordering = false;
    drop(state);
    Ok(context)
}

fn set_rows(context: &SessionContext, rows: usize) -> Result<()> {
    let rows = ConfigNonZeroUsize::try_new(rows).map_err(DataError::engine)?;
    let state = context.state_ref();
    state.write().config_mut().options_mut().execution.batch_size = rows;
    Ok(())
}
