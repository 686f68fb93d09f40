//! How does a call travel? As gRPC: the path names it, its messages are framed by `tonic`, and its
//! status comes last. Who calls is asked before the first byte of a message is read.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use hyper::{Request, Response, body::Incoming};
use prost::Message;
use tonic::{Status, Streaming, body::Body, server::Grpc};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::{
    admit::admit,
    calls::Call,
    door::Door,
    error::FlightError,
    limits,
    messages::{Data, Empty, Handshake, Info, PutResult},
    patient::Patient,
};

/// What a client sends.
type Sent = Patient<Incoming>;

const SERVICE: &str = "/arrow.flight.protocol.FlightService/";

/// Answers one call over a connection that is trusted or not; says too whether it was let in.
pub(crate) async fn answer(
    door: Arc<Door>,
    trusted: bool,
    request: Request<Incoming>,
) -> (Response<Body>, bool) {
    let admitted = match admit(&door.gate, trusted, request.headers()).await {
        Ok(admitted) => admitted,
        Err(error) => return (Status::from(error).into_http(), false),
    };
    let call = Call { door, caller: admitted.caller };
    let limit = Duration::from_secs(limits::MESSAGE_SECONDS);
    let request = request.map(|body| Patient::new(body, limit));
    let name = request.uri().path().strip_prefix(SERVICE).map(str::to_owned);
    let response = match name.as_deref() {
        Some("Handshake") => handshake(admitted.bearer, request).await,
        Some("GetFlightInfo") => unary(call, request, Call::info).await,
        Some("GetSchema") => unary(call, request, Call::schema).await,
        Some("DoGet") => many(call, request, Call::get).await,
        Some("DoPut") => put(call, request).await,
        Some("DoAction") => {
            let act = |call: Call, action| async move { call.act(action).await.map(listed) };
            many(call, request, act).await
        }
        Some("ListActions") => {
            let actions = |call: Call, empty| async move { call.actions(empty).await.map(listed) };
            many(call, request, actions).await
        }
        // What can be read is named by queries, not listed.
        Some("ListFlights") => {
            let none = |_: Call, _: Empty| async { Ok(listed(Vec::<Info>::new())) };
            many(call, request, none).await
        }
        other => {
            let what = other.map_or_else(|| "another service".to_owned(), |name| name.to_owned());
            Status::from(FlightError::Unsupported(what)).into_http()
        }
    };
    (response, true)
}

fn codec<O, I>() -> Grpc<ProstCodec<O, I>>
where
    O: Message + Send + 'static,
    I: Message + Default + Send + 'static,
{
    Grpc::new(ProstCodec::default()).max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
}

fn listed<T: Send + 'static>(items: Vec<T>) -> impl Stream<Item = Result<T, Status>> + Send {
    stream::iter(items.into_iter().map(Ok))
}

/// One message in, one out.
async fn unary<I, O, F>(
    call: Call,
    request: Request<Sent>,
    work: impl Fn(Call, I) -> F + Send + Sync,
) -> Response<Body>
where
    I: Message + Default + Send + 'static,
    O: Message + Send + 'static,
    F: Future<Output = Result<O, Status>> + Send,
{
    let service = service_fn(|asked: tonic::Request<I>| {
        let done = work(call.clone(), asked.into_inner());
        async move { done.await.map(tonic::Response::new) }
    });
    codec::<O, I>().unary(service, request).await
}

/// One message in, any number out.
async fn many<I, O, S, F>(
    call: Call,
    request: Request<Sent>,
    work: impl Fn(Call, I) -> F + Send + Sync,
) -> Response<Body>
where
    I: Message + Default + Send + 'static,
    O: Message + Send + 'static,
    S: Stream<Item = Result<O, Status>> + Send + 'static,
    F: Future<Output = Result<S, Status>> + Send,
{
    let service = service_fn(|asked: tonic::Request<I>| {
        let done = work(call.clone(), asked.into_inner());
        async move { done.await.map(tonic::Response::new) }
    });
    codec::<O, I>().server_streaming(service, request).await
}

/// Any number in, one out at their end.
async fn put(call: Call, request: Request<Sent>) -> Response<Body> {
    let service = service_fn(|sent: tonic::Request<Streaming<Data>>| {
        let call = call.clone();
        async move {
            let result = call.put(sent.into_inner()).await?;
            Ok::<_, Status>(tonic::Response::new(listed(vec![result])))
        }
    });
    codec::<PutResult, Data>().streaming(service, request).await
}

/// The caller was let in already: the answer is the word by which the next calls are known. It comes
/// in the header, before the client has said that it is done; a client may be slow to say so.
async fn handshake(bearer: String, request: Request<Sent>) -> Response<Body> {
    let service = service_fn(|sent: tonic::Request<Streaming<Handshake>>| {
        let bearer = bearer.clone();
        async move {
            let silence = stream::once(drain(sent.into_inner())).filter_map(std::future::ready);
            let mut response = tonic::Response::new(silence);
            let word = bearer.parse().map_err(|_| {
                FlightError::Internal("the key cannot stand in a header".to_owned())
            })?;
            response.metadata_mut().insert("authorization", word);
            Ok::<_, Status>(response)
        }
    });
    codec::<Handshake, Handshake>().streaming(service, request).await
}

/// Reads what a client sends to log in, which says nothing more than its header did.
async fn drain(mut sent: Streaming<Handshake>) -> Option<Result<Handshake, Status>> {
    const MESSAGES_MAX: usize = 16;
    let all = async {
        for _ in 0..MESSAGES_MAX {
            if !matches!(sent.message().await, Ok(Some(_))) {
                break;
            }
        }
    };
    // However it ends, the client was let in.
    let _ = tokio::time::timeout(Duration::from_secs(limits::LOGIN_SECONDS), all).await;
    None
}
