//! The real [`Transport`]: gRPC over one HTTP/2 connection per peer.
//!
//! One unary method carries every service; its message is the service's name and the payload, so
//! no code is generated and payloads are never copied into another schema:
//!
//! ```text
//! byte  0        length n of the service's name
//! bytes 1..1+n   the name
//! rest           payload
//! ```
//!
//! Not here: retries (the caller knows what may be repeated) and ordering between calls.

use crate::transport::{Handler, Transport, TransportError};
use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

const PATH: &str = "/shanghai.Node/Call";
/// The largest message between nodes: a snapshot chunk or a log batch stays well below.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);

type Handlers = Arc<RwLock<HashMap<&'static str, Arc<dyn Handler>>>>;

/// A node's end of the cluster's network.
pub struct GrpcTransport {
    local_address: String,
    handlers: Handlers,
    channels: RwLock<HashMap<String, Channel>>,
}

impl GrpcTransport {
    /// `local_address` is what others dial.
    pub fn new(local_address: String) -> Arc<Self> {
        Arc::new(Self { local_address, handlers: Handlers::default(), channels: RwLock::default() })
    }

    /// Answers calls until `shutdown` completes.
    ///
    /// # Errors
    /// The listener's.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), tonic::transport::Error> {
        // Not the builder's to set for connections from here. Without it each answer waits for the
        // delayed acknowledgement of the one before, 40 ms.
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .add_service(NodeService { handlers: self.handlers.clone() })
            .serve_with_incoming_shutdown(incoming, shutdown)
            .await
    }

    /// The connection to a peer, dialled at first use and again by itself when it breaks.
    fn channel(&self, address: &str) -> Result<Channel, TransportError> {
        if let Some(channel) = self.channels.read().get(address) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| unreachable(address, error))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20);
        let channel = endpoint.connect_lazy();
        Ok(self.channels.write().entry(address.to_owned()).or_insert(channel).clone())
    }
}

#[async_trait]
impl Transport for GrpcTransport {
    fn local_address(&self) -> &str {
        &self.local_address
    }

    async fn call(
        &self,
        address: &str,
        service: &'static str,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, TransportError> {
        let channel = self.channel(address)?;
        let exchange = async {
            let mut grpc = tonic::client::Grpc::new(channel)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX);
            grpc.ready().await.map_err(|error| unreachable(address, error))?;
            let call = Call { service: service.into(), payload };
            let path = PathAndQuery::from_static(PATH);
            match grpc.unary(Request::new(call), path, ClientCodec).await {
                Ok(response) => Ok(response.into_inner()),
                Err(status) => Err(classify(address, &status)),
            }
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(TransportError::TimedOut { address: address.into(), after: timeout }),
        }
    }

    fn register(&self, service: &'static str, handler: Arc<dyn Handler>) {
        self.handlers.write().insert(service, handler);
    }
}

fn unreachable(address: &str, reason: impl ToString) -> TransportError {
    TransportError::Unreachable { address: address.into(), reason: reason.to_string() }
}

/// A refusal is the peer's word; everything else may have been delivered or not.
fn classify(address: &str, status: &Status) -> TransportError {
    let reason = status.message().to_owned();
    match status.code() {
        Code::FailedPrecondition | Code::NotFound => {
            TransportError::Refused { address: address.into(), reason }
        }
        // Connecting failed, before anything was sent.
        Code::Unavailable if reason.contains("connect") => {
            TransportError::Unreachable { address: address.into(), reason }
        }
        _ => TransportError::TimedOut { address: address.into(), after: Duration::ZERO },
    }
}

/// One call on the wire.
struct Call {
    service: String,
    payload: Bytes,
}

struct ClientCodec;

impl Codec for ClientCodec {
    type Encode = Call;
    type Decode = Bytes;
    type Encoder = CallEncoder;
    type Decoder = BytesDecoder;

    fn encoder(&mut self) -> CallEncoder {
        CallEncoder
    }

    fn decoder(&mut self) -> BytesDecoder {
        BytesDecoder
    }
}

struct ServerCodec;

impl Codec for ServerCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = BytesEncoder;
    type Decoder = BytesDecoder;

    fn encoder(&mut self) -> BytesEncoder {
        BytesEncoder
    }

    fn decoder(&mut self) -> BytesDecoder {
        BytesDecoder
    }
}

struct CallEncoder;

impl Encoder for CallEncoder {
    type Item = Call;
    type Error = Status;

    fn encode(&mut self, call: Call, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let length = u8::try_from(call.service.len())
            .map_err(|_| Status::internal("service name over 255 bytes"))?;
        dst.reserve(1 + call.service.len() + call.payload.len());
        dst.put_u8(length);
        dst.put_slice(call.service.as_bytes());
        dst.put_slice(&call.payload);
        Ok(())
    }
}

struct BytesEncoder;

impl Encoder for BytesEncoder {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, bytes: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put(bytes);
        Ok(())
    }
}

struct BytesDecoder;

impl Decoder for BytesDecoder {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(src.copy_to_bytes(src.remaining())))
    }
}

/// The receiving end of the one method.
#[derive(Clone)]
struct NodeService {
    handlers: Handlers,
}

impl tonic::server::NamedService for NodeService {
    const NAME: &'static str = "shanghai.Node";
}

impl tonic::codegen::Service<http::Request<Body>> for NodeService {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = CallMethod { handlers: self.handlers.clone() };
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ServerCodec)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX);
            Ok(grpc.unary(method, request).await)
        })
    }
}

struct CallMethod {
    handlers: Handlers,
}

impl tonic::server::UnaryService<Bytes> for CallMethod {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let handlers = self.handlers.clone();
        Box::pin(async move {
            let (service, payload) = split(request.into_inner())?;
            let handler = handlers
                .read()
                .get(service.as_str())
                .cloned()
                .ok_or_else(|| Status::not_found(format!("no service {service:?} here")))?;
            handler.handle(payload).await.map(Response::new).map_err(Status::failed_precondition)
        })
    }
}

fn split(mut message: Bytes) -> Result<(String, Bytes), Status> {
    let malformed = || Status::invalid_argument("malformed call");
    if message.is_empty() {
        return Err(malformed());
    }
    let length = usize::from(message.get_u8());
    if message.len() < length {
        return Err(malformed());
    }
    let name = BytesMut::from(message.split_to(length));
    let name = String::from_utf8(name.to_vec()).map_err(|_| malformed())?;
    Ok((name, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;

    #[async_trait]
    impl Handler for Echo {
        async fn handle(&self, payload: Bytes) -> Result<Bytes, String> {
            match payload.as_ref() {
                b"no" => Err("not today".into()),
                _ => Ok(payload),
            }
        }
    }

    async fn start() -> (Arc<GrpcTransport>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let transport = GrpcTransport::new(address.clone());
        transport.register("echo", Arc::new(Echo));
        let serving = transport.clone();
        tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });
        (transport, address)
    }

    #[tokio::test]
    async fn calls_are_answered_refused_or_unreachable() {
        let (_server, address) = start().await;
        let client = GrpcTransport::new("client".into());
        let second = Duration::from_secs(5);
        let big = Bytes::from(vec![7; 5 << 20]);
        assert_eq!(client.call(&address, "echo", big.clone(), second).await, Ok(big));
        let refused = client.call(&address, "echo", Bytes::from_static(b"no"), second).await;
        assert!(
            matches!(&refused, Err(TransportError::Refused { reason, .. }) if reason == "not today"),
            "{refused:?}"
        );
        let unknown = client.call(&address, "nobody", Bytes::new(), second).await;
        assert!(matches!(unknown, Err(TransportError::Refused { .. })), "{unknown:?}");
        let nowhere = client.call("127.0.0.1:1", "echo", Bytes::new(), second).await;
        assert!(matches!(nowhere, Err(TransportError::Unreachable { .. })), "{nowhere:?}");
    }

    /// A delayed acknowledgement takes 40 ms, so that these calls would take two seconds.
    #[tokio::test(flavor = "multi_thread")]
    async fn answers_wait_for_no_acknowledgement() {
        let (_server, address) = start().await;
        let client = GrpcTransport::new("client".into());
        let began = std::time::Instant::now();
        for _ in 0..50 {
            let answer = client.call(&address, "echo", Bytes::from_static(b"x"), CONNECT_TIMEOUT);
            answer.await.unwrap();
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}
