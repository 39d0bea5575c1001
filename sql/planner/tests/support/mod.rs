//! A catalog made by SQL, and plans made against it.

use catalog::Catalog;
use datum::{SqlType, TypeContext};
use planner::{BindContext, DdlPlan, Plan, PlanError, Planned};
use std::sync::Arc;

pub struct World {
    pub catalog: Arc<Catalog>,
    database: u32,
    role: u32,
}

impl World {
    /// The tables that these tests talk about.
    pub fn new() -> Self {
        let mut world = Self::bare();
        world.fill();
        world
    }

    /// Only what every cluster has.
    pub fn bare() -> Self {
        let catalog = Arc::new(catalog::bootstrap::catalog());
        let database = catalog.database_named("postgres").expect("it is bootstrapped").oid;
        let role = catalog.role_named("shanghai").expect("it is bootstrapped").oid;
        Self { catalog, database, role }
    }

    fn fill(&mut self) {
        for sql in [
            "create table t (id int primary key, a int, s text, d numeric(12,2), ts timestamp)",
            "create table u (id bigint primary key, t_id int references t (id), name varchar(20) not null default 'x', check (id > 0))",
            "create table nokey (a int, b text)",
            "create table pair (x int, y text, z int, primary key (x, y))",
            "create table serials (id serial primary key, n int generated always as identity)",
            "create table accounts (aid int primary key, bid int, abalance int, filler char(84))",
        ] {
            self.run(sql);
        }
        for sql in
            ["create index u_name on u (name, id desc)", "create unique index u_t on u (t_id)"]
        {
            self.run(sql);
        }
        self.run("create view v as select id, a + 1 as next from t where a is not null");
    }

    /// Carries out a schema statement.
    pub fn run(&mut self, sql: &str) {
        let planned = self.plan(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let Plan::Ddl(ddl) = planned.plan else { panic!("{sql} is not DDL") };
        let path = ["public".to_string()];
        let mut change = self.catalog.change(self.database, self.role, &path);
        match *ddl {
            DdlPlan::CreateTable { table, .. } => drop(change.create_table(table).expect(sql)),
            DdlPlan::CreateIndex { index, .. } => drop(change.create_index(index).expect(sql)),
            DdlPlan::CreateView { view, .. } => drop(change.create_view(view).expect(sql)),
            other => panic!("{sql}: {other:?}"),
        }
        self.catalog = change.finish().catalog;
    }

    pub fn plan(&self, sql: &str) -> Result<Planned, PlanError> {
        self.plan_with(sql, &[])
    }

    pub fn plan_with(&self, sql: &str, param_types: &[SqlType]) -> Result<Planned, PlanError> {
        let statement = planner::parse_one(sql)?;
        let path = ["public".to_string()];
        let types = TypeContext::default();
        let context = BindContext {
            catalog: &self.catalog,
            database: self.database,
            search_path: &path,
            param_types,
            types: &types,
            user: "shanghai",
        };
        planner::bind(&statement, &context)
    }

    /// The plan's shape in one line: what finds the rows.
    #[allow(dead_code)]
    pub fn shape(&self, sql: &str) -> String {
        match self.plan(sql) {
            Ok(planned) => shape(&planned.plan),
            Err(error) => describe(&error),
        }
    }
}

/// `42703 column "x" does not exist @ 8`
pub fn describe(error: &PlanError) -> String {
    let at = error.position.map_or_else(String::new, |p| format!(" @ {p}"));
    format!("{} {}{at}", error.sqlstate, error.message)
}

fn shape(plan: &Plan) -> String {
    match plan {
        Plan::Oltp(oltp) => access(&oltp.access),
        Plan::Query(_) => "relational".to_string(),
        Plan::Write(write) => match &write.op {
            planner::WriteOp::Insert(_) => "insert".to_string(),
            planner::WriteOp::Update(op) => format!("update {}", source(&op.source)),
            planner::WriteOp::Delete(op) => format!("delete {}", source(&op.source)),
        },
        other => format!("{other:?}"),
    }
}

fn source(source: &planner::TargetSource) -> String {
    match source {
        planner::TargetSource::Keys { access: a, .. } => access(a),
        planner::TargetSource::Rel { .. } => "relational".to_string(),
        planner::TargetSource::CurrentOf(_) => "cursor".to_string(),
    }
}

fn access(access: &planner::Access) -> String {
    use planner::Access;
    let range = |r: &planner::KeyRange| {
        let bound = |b: &std::ops::Bound<expr::Expr>| match b {
            std::ops::Bound::Unbounded => "",
            std::ops::Bound::Included(_) => "=",
            std::ops::Bound::Excluded(_) => "<",
        };
        let back = if r.reverse { " backward" } else { "" };
        format!("{}:{}..{}{back}", r.prefix.len(), bound(&r.lower), bound(&r.upper))
    };
    match access {
        Access::Values(rows) => format!("values {}", rows.len()),
        Access::PkGet { key } => format!("get {}", key.len()),
        Access::PkMultiGet { keys: planner::KeyList::Keys(keys) } => {
            format!("get each {}", keys.len())
        }
        Access::PkMultiGet { keys: planner::KeyList::Array(_) } => "get each of array".to_string(),
        Access::PkRange(r) => format!("rows {}", range(r)),
        Access::IndexGet { key, .. } => format!("index get {}", key.len()),
        Access::IndexRange { range: r, covering, .. } => {
            format!("index {}{}", range(r), if *covering { " covering" } else { "" })
        }
    }
}
