//! What a statement answers: rows as a stream, a tag, or the start of a COPY.

use crate::error::SqlResult;
use crate::prepared::ColumnDesc;
use crate::relational::Kept;
use async_trait::async_trait;
use bytes::Bytes;
use datum::Datum;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One row, in the order of the statement's columns.
pub type Row = Vec<Datum>;

pub enum Outcome {
    /// Rows follow; the tag comes from the stream once it has ended.
    Rows { columns: Arc<[ColumnDesc]>, rows: RowStream },
    /// Done; the CommandComplete tag.
    Complete { tag: String },
    /// Send CopyInResponse, then hand the data to `Session::copy_write` and `copy_finish`.
    CopyIn(Box<CopyIn>),
    /// Send CopyOutResponse, then `next` until `None`, then its tag.
    CopyOut(Box<CopyOut>),
    /// The text held no statement.
    Empty,
}

/// Produces rows; implemented by the executors.
#[async_trait]
pub trait RowSource: Send {
    /// The next rows, at most `rows_max` (at least one); `None` at the end.
    async fn next(&mut self, rows_max: usize) -> SqlResult<Option<Vec<Row>>>;
}

/// Rows as they are asked for. Dropping it early is fine.
pub struct RowStream {
    source: Source,
    returned: u64,
    pub(crate) tag: TagKind,
    /// Set when the stream fails, so that the session's transaction is known to have failed.
    failed: Option<Arc<AtomicBool>>,
    /// Counts the rows that are in memory.
    _kept: Option<Kept>,
}

enum Source {
    Ready(std::vec::IntoIter<Row>),
    Pull(Box<dyn RowSource>),
    Done,
}

#[derive(Clone, Debug)]
pub(crate) enum TagKind {
    /// "SELECT n", n the rows returned.
    Counted(&'static str),
    /// Known before: "INSERT 0 3", "SHOW".
    Fixed(String),
}

impl RowStream {
    /// Rows that are there already ("SELECT n").
    pub fn ready(rows: Vec<Row>) -> Self {
        Self::with_tag(Source::Ready(rows.into_iter()), TagKind::Counted("SELECT "))
    }

    /// Rows that are there already, with a tag of their own.
    pub fn ready_tagged(rows: Vec<Row>, tag: impl Into<String>) -> Self {
        Self::with_tag(Source::Ready(rows.into_iter()), TagKind::Fixed(tag.into()))
    }

    /// Rows that `source` produces on demand ("SELECT n").
    pub fn pull(source: Box<dyn RowSource>) -> Self {
        Self::with_tag(Source::Pull(source), TagKind::Counted("SELECT "))
    }

    fn with_tag(source: Source, tag: TagKind) -> Self {
        Self { source, returned: 0, tag, failed: None, _kept: None }
    }

    pub(crate) fn counted(mut self, word: &'static str) -> Self {
        self.tag = TagKind::Counted(word);
        self
    }

    /// What has counted the rows that are ready.
    pub(crate) fn keeping(mut self, kept: Kept) -> Self {
        self._kept = Some(kept);
        self
    }

    pub(crate) fn noting_failure_in(mut self, failed: Arc<AtomicBool>) -> Self {
        self.failed = Some(failed);
        self
    }

    /// Whether every row is in memory already (no more I/O, no more errors).
    pub fn is_ready(&self) -> bool {
        !matches!(self.source, Source::Pull(_))
    }

    /// As [`next`](Self::next), of rows that are in memory; `None` if that would have to wait.
    pub fn next_ready(&mut self, rows_max: usize) -> Option<Option<Vec<Row>>> {
        let rows = match &mut self.source {
            Source::Done => return Some(None),
            Source::Pull(_) => return None,
            Source::Ready(rows) if rows.len() <= rows_max => std::mem::take(rows).collect(),
            Source::Ready(rows) => rows.by_ref().take(rows_max.max(1)).collect::<Vec<Row>>(),
        };
        if rows.is_empty() {
            self.source = Source::Done;
            return Some(None);
        }
        self.returned += rows.len() as u64;
        Some(Some(rows))
    }

    /// At most `rows_max` rows; fewer does not mean the end. `None` means the end, also when asked
    /// again.
    ///
    /// # Errors
    /// Whatever the execution meets; the stream has then ended and the transaction has failed.
    pub async fn next(&mut self, rows_max: usize) -> SqlResult<Option<Vec<Row>>> {
        if let Some(rows) = self.next_ready(rows_max) {
            return Ok(rows);
        }
        let rows = match &mut self.source {
            Source::Done | Source::Ready(_) => None,
            Source::Pull(source) => match source.next(rows_max.max(1)).await {
                Ok(rows) => rows,
                Err(error) => {
                    self.source = Source::Done;
                    if let Some(failed) = &self.failed {
                        failed.store(true, Ordering::Release);
                    }
                    return Err(error);
                }
            },
        };
        match &rows {
            Some(rows) => self.returned += rows.len() as u64,
            None => self.source = Source::Done,
        }
        Ok(rows)
    }

    /// Every row that is left.
    ///
    /// # Errors
    /// As [`RowStream::next`]; 53200 if they are too many to keep.
    pub async fn collect(&mut self) -> SqlResult<Vec<Row>> {
        Ok(self.collect_kept().await?.0)
    }

    async fn collect_kept(&mut self) -> SqlResult<(Vec<Row>, Kept)> {
        let kept = Kept::new();
        let mut all = Vec::new();
        while let Some(mut rows) = self.next(usize::MAX).await? {
            kept.rows_once(&rows)?;
            all.append(&mut rows);
        }
        Ok((all, kept))
    }

    /// Makes every row that is left ready.
    ///
    /// # Errors
    /// As [`RowStream::collect`].
    pub(crate) async fn read_ahead(&mut self) -> SqlResult<()> {
        if self.is_ready() {
            return Ok(());
        }
        let returned = self.returned;
        let (rows, kept) = self.collect_kept().await?;
        self.source = Source::Ready(rows.into_iter());
        self.returned = returned;
        self._kept = Some(kept);
        Ok(())
    }

    /// The CommandComplete tag, once `next` has answered `None`.
    pub fn tag(&self) -> String {
        match &self.tag {
            TagKind::Counted(word) => format!("{word}{}", self.returned),
            TagKind::Fixed(tag) => tag.clone(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    Text,
    Csv,
    Binary,
}

impl CopyFormat {
    /// The format code of CopyInResponse and CopyOutResponse, for the whole and for each column.
    pub fn is_binary(self) -> bool {
        self == CopyFormat::Binary
    }
}

/// A COPY FROM STDIN under way.
pub struct CopyIn {
    pub format: CopyFormat,
    pub columns: usize,
    pub(crate) state: crate::copy::CopyInState,
}

/// A COPY TO STDOUT under way.
pub struct CopyOut {
    pub format: CopyFormat,
    pub columns: usize,
    pub(crate) rows: RowStream,
    pub(crate) encoder: crate::copy::Encoder,
    pub(crate) copied: u64,
    pub(crate) stage: CopyOutStage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyOutStage {
    Header,
    Rows,
    Done,
}

impl CopyOut {
    /// Rows encoded into one chunk at most.
    const ROWS_PER_CHUNK: usize = 500;

    /// The next CopyData payload; `None` at the end.
    ///
    /// # Errors
    /// As [`RowStream::next`].
    pub async fn next(&mut self) -> SqlResult<Option<Bytes>> {
        let mut chunk = Vec::new();
        loop {
            match self.stage {
                CopyOutStage::Header => {
                    self.encoder.header(&mut chunk);
                    self.stage = CopyOutStage::Rows;
                    if !chunk.is_empty() {
                        return Ok(Some(chunk.into()));
                    }
                }
                CopyOutStage::Rows => match self.rows.next(Self::ROWS_PER_CHUNK).await? {
                    Some(rows) => {
                        for row in &rows {
                            self.encoder.row(row, &mut chunk)?;
                        }
                        self.copied += rows.len() as u64;
                        return Ok(Some(chunk.into()));
                    }
                    None => {
                        self.encoder.trailer(&mut chunk);
                        self.stage = CopyOutStage::Done;
                        if !chunk.is_empty() {
                            return Ok(Some(chunk.into()));
                        }
                    }
                },
                CopyOutStage::Done => return Ok(None),
            }
        }
    }

    pub fn tag(&self) -> String {
        format!("COPY {}", self.copied)
    }
}
