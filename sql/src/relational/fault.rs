//! Errors across the border: ours travel through DataFusion as external errors and come out whole.

use crate::error::{SqlError, SqlResult};
use datafusion::common::DataFusionError;

/// Ours, on its way through DataFusion.
pub fn into_datafusion(error: impl Into<SqlError>) -> DataFusionError {
    DataFusionError::External(Box::new(error.into()))
}

pub fn from_sql<T>(result: SqlResult<T>) -> datafusion::common::Result<T> {
    result.map_err(into_datafusion)
}

/// What came out of DataFusion: one of ours, or its own as an internal error. Running out of the
/// memory budget is 53200.
pub fn into_sql(error: DataFusionError) -> SqlError {
    match error.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<SqlError>() {
            Some(ours) => ours.clone(),
            None => SqlError::internal(inner.to_string()),
        },
        DataFusionError::ResourcesExhausted(message) => {
            SqlError::new("53200", "out of memory").with_detail(message.clone())
        }
        other => SqlError::internal(format!("relational engine: {other}")),
    }
}
