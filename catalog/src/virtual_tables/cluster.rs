use super::Rows;

pub(super) fn rows_of(_name: &str) -> Option<Rows> {
    None
}

pub(super) fn shanghai_rows_of(_name: &str) -> Option<Rows> {
    None
}
