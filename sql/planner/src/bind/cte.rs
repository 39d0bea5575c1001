//! WITH. A CTE is bound once; references are `CteRef`s, counted. One that is read once and need not be
//! kept is put in place of its reference afterwards.

use super::Binder;
use crate::ast::{CteBody, CteDef, Ident, Query, SetExpr, With};
use crate::error::{PlanError, Result};
use crate::plan::{Cte, CteId, Field, Rel, RelNode, SetOperator};
use expr::Expr;

#[derive(Clone, Debug)]
pub(crate) struct CteBinding {
    pub name: String,
    pub id: CteId,
    /// `None` while a recursive query's first term is bound.
    pub fields: Option<Vec<Field>>,
    pub references: usize,
    /// False before its turn in a WITH that is not recursive.
    pub defined: bool,
}

impl CteBinding {
    pub(crate) fn is_visible(&self) -> bool {
        self.defined
    }
}

/// A WITH clause whose body is still to be bound.
pub(crate) struct OpenWith {
    first: usize,
    ctes: Vec<(Cte, Option<bool>)>,
}

impl Binder<'_> {
    pub(crate) fn open_with(&mut self, with: &With) -> Result<OpenWith> {
        let mut open = OpenWith { first: self.ctes.len(), ctes: Vec::new() };
        for (i, cte) in with.ctes.iter().enumerate() {
            if with.ctes[..i].iter().any(|other| other.name.name == cte.name.name) {
                let message =
                    format!("WITH query name \"{}\" specified more than once", cte.name.name);
                return Err(self.error("42712", message, cte.name.pos));
            }
        }
        for cte in &with.ctes {
            self.define(cte, with.recursive, &mut open)?;
        }
        Ok(open)
    }

    fn define(&mut self, def: &CteDef, recursive: bool, open: &mut OpenWith) -> Result<()> {
        let query = match &def.body {
            CteBody::Query(query) => query,
            CteBody::Insert(_) | CteBody::Update(_) | CteBody::Delete(_) => {
                return self.define_write(def);
            }
        };
        let id = self.fresh_cte();
        let is_recursive = recursive && mentions(query, &def.name.name);
        let mut rel = if is_recursive { self.recursive(def, query)? } else { self.query(query)? };
        self.rename(&mut rel.fields, &def.columns, &def.name)?;
        for field in &mut rel.fields {
            field.qualifier = None;
        }
        let name = def.name.name.clone();
        let fields = Some(rel.fields.clone());
        self.ctes.push(CteBinding { name: name.clone(), id, fields, references: 0, defined: true });
        let materialized = if is_recursive { Some(true) } else { def.materialized };
        open.ctes.push((Cte { id, name, rel, materialized: true }, materialized));
        Ok(())
    }

    fn define_write(&mut self, def: &CteDef) -> Result<()> {
        if !self.levels.is_empty() {
            let message =
                "WITH clause containing a data-modifying statement must be at the top level";
            return Err(self.error("0A000", message, def.name.pos));
        }
        let write = match &def.body {
            CteBody::Insert(insert) => self.bind_insert(insert)?,
            CteBody::Update(update) => self.bind_update(update)?,
            CteBody::Delete(delete) => self.bind_delete(delete)?,
            CteBody::Query(_) => return Ok(()),
        };
        let id = self.fresh_cte();
        let mut fields = match &write.returning {
            Some(returning) => returning.fields.clone(),
            None => Vec::new(),
        };
        self.rename(&mut fields, &def.columns, &def.name)?;
        self.writes.push((id, write));
        let name = def.name.name.clone();
        self.ctes.push(CteBinding { name, id, fields: Some(fields), references: 0, defined: true });
        Ok(())
    }

    fn rename(&self, fields: &mut [Field], names: &[Ident], cte: &Ident) -> Result<()> {
        if names.len() > fields.len() {
            let message = format!(
                "WITH query \"{}\" has {} columns available but {} columns specified",
                cte.name,
                fields.len(),
                names.len()
            );
            return Err(self.error("42P10", message, cte.pos));
        }
        for (field, name) in fields.iter_mut().zip(names) {
            field.name.clone_from(&name.name);
        }
        Ok(())
    }

    /// `base UNION [ALL] step`, where step reads the CTE itself.
    fn recursive(&mut self, def: &CteDef, query: &Query) -> Result<Rel> {
        let pos = def.name.pos;
        let name = def.name.name.clone();
        let SetExpr::SetOp { op: SetOperator::Union, all, left, right, .. } = &query.body else {
            let message = format!(
                "recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term"
            );
            return Err(self.error("42P19", message, pos));
        };
        if !query.order.is_empty() {
            return Err(PlanError::unsupported("ORDER BY in a recursive query").at(self.at(pos)));
        }
        if !query.locking.is_empty() {
            return Err(
                PlanError::unsupported("FOR UPDATE/SHARE in a recursive query").at(self.at(pos))
            );
        }
        let inner_with = query.with.as_ref().map(|with| self.open_with(with)).transpose()?;
        let id = self.fresh_cte();
        let at = self.ctes.len();
        self.ctes.push(CteBinding {
            name: name.clone(),
            id,
            fields: None,
            references: 0,
            defined: true,
        });
        let base = self.set_operand(left, false)?;
        let mut fields = base.fields.clone();
        self.rename(&mut fields, &def.columns, &def.name)?;
        for field in &mut fields {
            field.origin = None;
        }
        self.ctes[at].fields = Some(fields.clone());
        let mut step = self.set_operand(right, true)?;
        self.ctes.remove(at);
        if step.width() != base.width() {
            let message = "each UNION query must have the same number of columns";
            return Err(self.error("42601", message, pos));
        }
        let types: Vec<_> = fields.iter().map(|f| f.ty.clone()).collect();
        for (i, (field, ty)) in step.fields.iter().zip(&types).enumerate() {
            let unknown = field.ty.ty == datum::SqlType::Unknown;
            let fits = self.resolver.common_type_of("UNION", &[ty.clone(), field.ty.clone()])?;
            if !unknown && fits.ty != ty.ty {
                let message = format!(
                    "recursive query \"{name}\" column {} has type {} in non-recursive term but type {} overall",
                    i + 1,
                    ty.name(),
                    fits.name()
                );
                let error = self.error("42804", message, pos);
                return Err(
                    error.hint("Cast the output of the non-recursive term to the correct type.")
                );
            }
        }
        self.coerce_outputs(&mut step, &types, "UNION")?;
        let node = RelNode::RecursiveUnion {
            id,
            name,
            all: *all,
            base: Box::new(base),
            step: Box::new(step),
        };
        let mut rel = Rel::new(node, fields);
        if query.limit.is_some() || query.offset.is_some() {
            rel = self.limited(rel, query, None)?;
        }
        Ok(match inner_with {
            Some(open) => self.close_with(open, rel),
            None => rel,
        })
    }

    /// Puts the CTEs around the body, or into it.
    pub(crate) fn close_with(&mut self, open: OpenWith, mut body: Rel) -> Rel {
        let bindings: Vec<CteBinding> = self.ctes.drain(open.first..).collect();
        let mut kept: Vec<Cte> = Vec::new();
        let mut ctes: Vec<(Cte, Option<bool>)> = open.ctes;
        // Last first: a CTE that is dropped or moved takes its references along.
        while let Some((mut cte, materialized)) = ctes.pop() {
            let mut references = count(&mut body, cte.id);
            for later in &mut kept {
                references += count(&mut later.rel, cte.id);
            }
            if references == 0 {
                continue;
            }
            let inline = match materialized {
                Some(true) => false,
                Some(false) => true,
                None => references == 1,
            } && !is_volatile(&mut cte.rel);
            if inline {
                substitute(&mut body, &cte);
                for later in &mut kept {
                    substitute(&mut later.rel, &cte);
                }
            } else {
                kept.push(cte);
            }
        }
        drop(bindings);
        kept.reverse();
        if kept.is_empty() {
            return body;
        }
        let fields = body.fields.clone();
        Rel::new(RelNode::With { ctes: kept, body: Box::new(body) }, fields)
    }
}

/// Whether the text of a query may refer to the name: decides what is recursive at all.
fn mentions(query: &Query, name: &str) -> bool {
    // The tree prints its names; a false alarm only asks for the UNION form.
    matches!(query.body, SetExpr::SetOp { .. })
        && format!("{query:?}").contains(&format!("name: \"{name}\""))
}

fn count(rel: &mut Rel, id: CteId) -> usize {
    let mut found = 0;
    rel.walk_mut(0, &mut |node, _| {
        if let RelNode::CteRef { id: own, .. } = &node.node {
            found += usize::from(*own == id);
        }
    });
    found
}

fn is_volatile(rel: &mut Rel) -> bool {
    let mut found = false;
    rel.walk_exprs_mut(0, &mut |expr: &mut Expr, _| found |= expr.is_volatile());
    found
}

fn substitute(rel: &mut Rel, cte: &Cte) {
    rel.walk_mut(0, &mut |node, depth| {
        if let RelNode::CteRef { id, .. } = &node.node
            && *id == cte.id
        {
            let fields = std::mem::take(&mut node.fields);
            *node = cte.rel.clone();
            node.shift_outer(depth as isize);
            node.fields = fields;
        }
    });
}
