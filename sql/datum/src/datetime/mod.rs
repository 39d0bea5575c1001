//! Dates, times, timestamps: calendar, parsing, printing, arithmetic.
