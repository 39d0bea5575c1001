//! What can end a message's handling early.

use crate::frontend::Malformed;
use crate::rows::not_utf8;
use sql::SqlError;
use std::io;

#[derive(Debug)]
pub enum Failure {
    /// The client is told. Severity FATAL or PANIC ends the session as well.
    Statement(SqlError),
    /// There is nobody left to tell.
    Gone(io::Error),
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Failure {
        Failure::Statement(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Gone(error)
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Failure {
        let error = match malformed {
            Malformed::Truncated => SqlError::new("08P01", "insufficient data left in message"),
            Malformed::TrailingBytes => SqlError::new("08P01", "invalid message format"),
            Malformed::UnterminatedString => SqlError::new("08P01", "invalid string in message"),
            Malformed::BadField(field) => {
                SqlError::new("08P01", format!("invalid {field} in message"))
            }
            Malformed::NotUtf8(bytes) => not_utf8(&bytes),
        };
        Failure::Statement(error)
    }
}
