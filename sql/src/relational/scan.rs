//! A table as DataFusion's provider: pages of a key-value scan, decoded into the columns wanted.

use super::batch::ColumnBuilder;
use super::fault::into_datafusion;
use super::kernel::Slot;
use super::lower::schema_of;
use crate::error::{SqlError, SqlResult};
use async_trait::async_trait;
use catalog::TableDescriptor;
use catalog::keys::RowKeys;
use catalog::rows::RowDecoder;
use core_domain::{KvTransaction, ScanOptions, Span};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::TableProvider;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr as DfExpr, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, PlanProperties, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning};
use datum::{Datum, SqlType, memcmp};
use std::fmt;
use std::sync::Arc;

/// Bytes of keys and values asked for at once.
const PAGE_BYTES: usize = 1 << 20;

/// The columns of one table that a query reads.
#[derive(Clone)]
pub struct TableScan {
    transaction: Arc<dyn KvTransaction>,
    table: Arc<TableDescriptor>,
    columns: Arc<[Column]>,
    schema: SchemaRef,
}

/// What a column of the scan is made from.
#[derive(Clone, Debug)]
enum Column {
    /// A column of the table, by ordinal.
    Stored(usize, SqlType),
    /// The hidden row id.
    RowId,
}

impl TableScan {
    /// `columns` are ordinals; with `row_id` the hidden row id comes last.
    pub fn new(
        transaction: Arc<dyn KvTransaction>,
        table: Arc<TableDescriptor>,
        columns: Vec<usize>,
        row_id: bool,
        slots: &[Slot],
    ) -> SqlResult<Self> {
        let expected = columns.len() + usize::from(row_id);
        if slots.len() != expected {
            return Err(SqlError::internal(format!(
                "{} names for {expected} columns",
                slots.len()
            )));
        }
        let columns = columns
            .into_iter()
            .map(|ordinal| Column::Stored(ordinal, table.columns[ordinal].ty.ty.clone()))
            .chain(row_id.then_some(Column::RowId))
            .collect();
        Ok(Self { transaction, table, columns, schema: Arc::new(schema_of(slots)) })
    }
}

impl fmt::Debug for TableScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableScan {}", self.table.name)
    }
}

#[async_trait]
impl TableProvider for TableScan {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[DfExpr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let kept = projection.unwrap_or(&all);
        let schema: Schema = self.schema.project(kept)?;
        let schema = Arc::new(schema);
        let scan = TableScan {
            columns: kept.iter().map(|&index| self.columns[index].clone()).collect(),
            schema: schema.clone(),
            ..self.clone()
        };
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Ok(Arc::new(ScanExec { scan, limit, properties }))
    }
}

#[derive(Debug)]
struct ScanExec {
    scan: TableScan,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.scan)
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &'static str {
        "ScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let pages = Pages {
            decoder: RowDecoder::new(
                &self.scan.table,
                self.scan.columns.iter().filter_map(|column| match column {
                    Column::Stored(ordinal, _) => Some(*ordinal),
                    Column::RowId => None,
                }),
            ),
            rest: Some(RowKeys::new(&self.scan.table).span()),
            left: self.limit.unwrap_or(usize::MAX),
            scan: self.scan.clone(),
        };
        let stream = futures::stream::try_unfold(pages, |mut pages| async move {
            let batch = pages.next().await.map_err(into_datafusion)?;
            Ok(batch.map(|batch| (batch, pages)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.scan.schema.clone(), stream)))
    }
}

/// A scan under way.
struct Pages {
    scan: TableScan,
    decoder: RowDecoder,
    rest: Option<Span>,
    left: usize,
}

impl Pages {
    async fn next(&mut self) -> SqlResult<Option<RecordBatch>> {
        let Some(span) = self.rest.take().filter(|_| self.left > 0) else { return Ok(None) };
        let options =
            ScanOptions { rows_max: self.left, bytes_max: PAGE_BYTES, ..ScanOptions::default() };
        let page = self.scan.transaction.scan(&span, options).await?;
        self.left -= page.rows.len();
        self.rest = page.rest;
        let count = page.rows.len();
        let mut builders: Vec<ColumnBuilder> = self
            .scan
            .columns
            .iter()
            .map(|column| match column {
                Column::Stored(_, ty) => ColumnBuilder::new(ty, count),
                Column::RowId => ColumnBuilder::new(&SqlType::Int8, count),
            })
            .collect();
        let mut row: Vec<Datum> = Vec::with_capacity(builders.len());
        for (key, value) in &page.rows {
            row.clear();
            self.decoder.decode_into(value, &mut row)?;
            if builders.len() > row.len() {
                let mut suffix = RowKeys::suffix(key);
                row.push(memcmp::decode(&SqlType::Int8.into(), false, false, &mut suffix)?);
            }
            for (builder, datum) in builders.iter_mut().zip(&row) {
                builder.append(datum)?;
            }
        }
        let columns = builders.into_iter().map(ColumnBuilder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(self.scan.schema.clone(), columns, &options)
            .map(Some)
            .map_err(|error| SqlError::internal(error.to_string()))
    }
}
