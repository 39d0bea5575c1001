//! The session layer, on a key-value store in memory.

use core_domain::ClusterId;
use std::sync::Arc;

pub async fn server() -> Arc<sql::Server> {
    let kv = Arc::new(testkit::MemoryKv::new());
    sql::Server::new(kv, sql::ServerConfig::single(ClusterId::default(), [7; 32]))
}

/// Who may enter with `password`.
pub async fn create_role(server: &Arc<sql::Server>, name: &str, password: &str) {
    let params = sql::ConnectParams {
        user: "shanghai".into(),
        database: "shanghai".into(),
        ..sql::ConnectParams::default()
    };
    let mut session = server.connect(params).await.expect("a session");
    let sql = format!("create role {name} login password '{password}'");
    let prepared = session.prepare(&sql, &[]).await.expect("planned");
    session.execute(&prepared, Vec::new()).await.expect("created");
    session.close().await;
}
