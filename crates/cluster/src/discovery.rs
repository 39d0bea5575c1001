//! From `--join` to addresses: static seeds, and DNS names with several addresses.

use std::collections::BTreeSet;
use std::io;

/// Resolves every `host:port` to the addresses behind it: sorted, without repetition, so that
/// nodes started with the same list agree on it whatever its order.
///
/// A name that does not resolve yet (a peer's DNS entry that is still to come) is an error: forming
/// a cluster from half a list could form two.
///
/// # Errors
/// The resolver's, naming the entry.
pub async fn resolve(join: &[String]) -> io::Result<Vec<String>> {
    let mut addresses = BTreeSet::new();
    for entry in join {
        let found = tokio::net::lookup_host(entry.as_str()).await.map_err(|error| {
            io::Error::new(error.kind(), format!("join address {entry:?}: {error}"))
        })?;
        // "localhost" resolves to both families; a node listens on one of them.
        let found: Vec<_> = found.collect();
        let v4: Vec<_> = found.iter().filter(|a| a.is_ipv4()).collect();
        let chosen = if v4.is_empty() { found.iter().collect() } else { v4 };
        addresses.extend(chosen.into_iter().map(ToString::to_string));
    }
    Ok(addresses.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn order_and_repetition_do_not_matter() {
        let a = resolve(&["127.0.0.1:2".into(), "127.0.0.1:1".into()]).await.unwrap();
        let b = resolve(&["127.0.0.1:1".into(), "127.0.0.1:2".into(), "127.0.0.1:1".into()])
            .await
            .unwrap();
        assert_eq!(a, b);
        assert_eq!(a, ["127.0.0.1:1", "127.0.0.1:2"]);
        assert!(resolve(&["no.such.host.invalid:1".into()]).await.is_err());
    }
}
