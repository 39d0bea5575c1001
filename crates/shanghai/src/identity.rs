//! Who this node is, kept in its engine's `local` family.
//!
//! ```text
//! byte 0      version (1)
//! rest        postcard of `Saved`
//! ```

use anyhow::{Context, Result, bail};
use cluster::Identity;
use serde::{Deserialize, Serialize};
use storage::{Cf, Engine, WriteBatch};

const KEY: &[u8] = b"identity";
const FORMAT: u8 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saved {
    pub identity: Identity,
    /// A founder whose replicas of the first ranges exist: they must never be made twice.
    pub founded: bool,
    /// Rises at every start.
    pub incarnation: u64,
}

pub fn load(engine: &dyn Engine) -> Result<Option<Saved>> {
    let Some(bytes) = engine.get(Cf::Local, KEY)? else { return Ok(None) };
    match bytes.split_first() {
        Some((&FORMAT, body)) => Ok(Some(postcard::from_bytes(body).context("node identity")?)),
        Some((format, _)) => bail!("node identity has format {format}, which is not known here"),
        None => bail!("node identity is empty"),
    }
}

/// Durable when it returns.
pub fn save(engine: &dyn Engine, saved: &Saved) -> Result<()> {
    let mut bytes = vec![FORMAT];
    bytes.extend(postcard::to_stdvec(saved)?);
    let mut batch = WriteBatch::new();
    batch.put(Cf::Local, KEY, bytes);
    Ok(engine.write(batch, true)?)
}
