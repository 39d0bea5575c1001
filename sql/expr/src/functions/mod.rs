//! Kernels behind names, by noun.

mod arrays;
mod bytes;
mod catalog;
mod format;
mod json;
mod jsonb_edit;
mod math;
mod privileges;
mod regex;
mod sequences;
mod session;
pub(crate) mod sets;
mod template;
mod text;
mod times;
mod to_char;
mod to_number;
mod to_timestamp;

use crate::registry::Registry;

pub(crate) fn register(r: &mut Registry) {
    math::register(r);
    text::register(r);
    format::register(r);
    regex::register(r);
    bytes::register(r);
    times::register(r);
    to_char::register(r);
    to_number::register(r);
    to_timestamp::register(r);
    arrays::register(r);
    json::register(r);
    jsonb_edit::register(r);
    sets::register(r);
    session::register(r);
    sequences::register(r);
    catalog::register(r);
    privileges::register(r);
}
