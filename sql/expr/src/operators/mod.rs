//! Kernels behind operators, by noun.

mod arith;
mod arrays;
mod bits;
mod compare;
mod json;
mod pattern;
mod strings;
mod times;

use crate::registry::Registry;

pub(crate) use arith::{overflow, power, square_root, underflow};
pub(crate) use json::{as_text, own, path_of, position};

pub(crate) fn register(r: &mut Registry) {
    compare::register(r);
    arith::register(r);
    bits::register(r);
    strings::register(r);
    pattern::register(r);
    times::register(r);
    arrays::register(r);
    json::register(r);
}
