//! Sequences: CREATE, ALTER, OWNED BY.

use super::CatalogChange;
use super::definition::{NewSequence, SequenceOptions};
use crate::error::CatalogError;
use crate::relation::SequenceDescriptor;
use crate::table::ColumnId;
use crate::{Oid, Result};
use datum::SqlType;

impl CatalogChange {
    pub fn create_sequence(&mut self, new: NewSequence) -> Result<Oid> {
        self.expect_schema(new.schema, &new.name)?;
        self.expect_free_name(new.schema, &new.name)?;
        let owned_by = match new.owned_by {
            Some((table, column)) => Some(self.owning_column(table, &column)?),
            None => None,
        };
        let oid = self.allocate_oid();
        let mut sequence = SequenceDescriptor {
            oid,
            database: self.database,
            schema: new.schema,
            name: new.name,
            owner: self.role,
            type_oid: new.ty.oid(),
            start: 1,
            increment: 1,
            min: 1,
            max: i64::MAX,
            cache: 1,
            cycle: false,
            owned_by,
        };
        apply_options(&mut sequence, &new.options, true)?;
        self.put_sequence(sequence);
        self.update.new_sequences.push(oid);
        Ok(oid)
    }

    /// ALTER SEQUENCE: what is None stays. RESTART is the executor's: it changes the value.
    pub fn alter_sequence(
        &mut self,
        oid: Oid,
        ty: Option<SqlType>,
        options: &SequenceOptions,
    ) -> Result<()> {
        let mut sequence = self.edit_sequence(oid)?;
        if let Some(ty) = ty {
            let old = limits(&sequence.ty())?;
            let new = limits(&ty)?;
            // Limits that were the old type's become the new type's.
            if sequence.max == old.1 {
                sequence.max = new.1;
            }
            if sequence.min == old.0 {
                sequence.min = new.0;
            }
            sequence.type_oid = ty.oid();
        }
        apply_options(&mut sequence, options, false)?;
        self.put_sequence(sequence);
        Ok(())
    }

    /// OWNED BY table.column, or NONE.
    pub fn set_sequence_owner(&mut self, oid: Oid, owner: Option<(Oid, &str)>) -> Result<()> {
        let mut sequence = self.edit_sequence(oid)?;
        sequence.owned_by = match owner {
            Some((table, column)) => Some(self.owning_column(table, column)?),
            None => None,
        };
        self.put_sequence(sequence);
        Ok(())
    }

    fn owning_column(&self, table: Oid, column: &str) -> Result<(Oid, ColumnId)> {
        let table = self.catalog.table(table);
        let table = table.ok_or_else(|| {
            let what = "sequence must be owned by a column of a table";
            CatalogError::new("42809", what)
        })?;
        let found = table.column_named(column).map(|(_, c)| c.id);
        let column = found.ok_or_else(|| CatalogError::no_column(column, &table.name))?;
        Ok((table.oid, column))
    }

    /// Puts a renamed or moved sequence back and mends the defaults that name it.
    pub(super) fn replace_sequence(&mut self, sequence: SequenceDescriptor) {
        let oid = sequence.oid;
        let old = super::name::quoted_qualified(&self.catalog, oid);
        self.put_sequence(sequence);
        self.respell_sequence(oid, &old);
    }

    /// Replaces a sequence's old spelling in the defaults that call it.
    pub(super) fn respell_sequence(&mut self, oid: Oid, old: &str) {
        let new = super::name::quoted_qualified(&self.catalog, oid);
        let users = self.catalog.tables.values();
        let users = users.filter(|t| t.columns.iter().any(|c| c.default_sequences.contains(&oid)));
        let users: Vec<Oid> = users.map(|t| t.oid).collect();
        for table in users {
            let Ok(mut table) = self.edit_table(table) else { continue };
            for column in &mut table.columns {
                if let Some(default) = &mut column.default {
                    *default = default.replace(old, &new);
                }
            }
            self.put_table(table);
        }
    }
}

fn limits(ty: &SqlType) -> Result<(i64, i64)> {
    match ty {
        SqlType::Int2 => Ok((i64::from(i16::MIN), i64::from(i16::MAX))),
        SqlType::Int4 => Ok((i64::from(i32::MIN), i64::from(i32::MAX))),
        SqlType::Int8 => Ok((i64::MIN, i64::MAX)),
        _ => {
            let what = "sequence type must be smallint, integer, or bigint";
            Err(CatalogError::new("22023", what))
        }
    }
}

fn invalid(what: String) -> CatalogError {
    CatalogError::new("22023", what)
}

fn apply_options(
    sequence: &mut SequenceDescriptor,
    options: &SequenceOptions,
    is_new: bool,
) -> Result<()> {
    let ty = sequence.ty();
    let (type_min, type_max) = limits(&ty)?;
    if let Some(increment) = options.increment {
        if increment == 0 {
            return Err(invalid("INCREMENT must not be zero".to_owned()));
        }
        sequence.increment = increment;
    }
    let ascending = sequence.increment > 0;
    if is_new {
        sequence.min = if ascending { 1 } else { type_min };
        sequence.max = if ascending { type_max } else { -1 };
    }
    if let Some(min) = options.min {
        sequence.min = min;
    }
    if let Some(max) = options.max {
        sequence.max = max;
    }
    for (value, word) in [(sequence.max, "MAXVALUE"), (sequence.min, "MINVALUE")] {
        if value < type_min || value > type_max {
            let ty = ty.name();
            return Err(invalid(format!(
                "{word} ({value}) is out of range for sequence data type {ty}"
            )));
        }
    }
    let (min, max) = (sequence.min, sequence.max);
    if min >= max {
        return Err(invalid(format!("MINVALUE ({min}) must be less than MAXVALUE ({max})")));
    }
    if is_new {
        sequence.start = if ascending { min } else { max };
    }
    if let Some(start) = options.start {
        sequence.start = start;
    }
    let start = sequence.start;
    if start < min {
        return Err(invalid(format!("START value ({start}) cannot be less than MINVALUE ({min})")));
    }
    if start > max {
        let what = format!("START value ({start}) cannot be greater than MAXVALUE ({max})");
        return Err(invalid(what));
    }
    if let Some(cache) = options.cache {
        if cache <= 0 {
            return Err(invalid(format!("CACHE ({cache}) must be greater than zero")));
        }
        sequence.cache = cache;
    }
    if let Some(cycle) = options.cycle {
        sequence.cycle = cycle;
    }
    Ok(())
}
