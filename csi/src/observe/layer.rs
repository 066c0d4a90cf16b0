//! Around every call: a span that its lines are in, one line at its end, and its numbers.
#![forbid(unsafe_code)]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::rpc::{RpcMetrics, code_name, is_reading, rpc_of};

/// Makes services observed.
#[derive(Debug, Clone)]
pub(crate) struct ObserveLayer(pub(super) RpcMetrics);

impl<S> Layer<S> for ObserveLayer {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner, metrics: self.0.clone() }
    }
}

/// A service whose calls are observed.
#[derive(Debug, Clone)]
pub(crate) struct Observed<S> {
    inner: S,
    metrics: RpcMetrics,
}

impl<S, B> Service<Request<B>> for Observed<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<ObservedBody>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let rpc = rpc_of(request.uri().path());
        // An error's level, so that a filter that lets only warnings through keeps their context.
        let span = tracing::error_span!("rpc", rpc, object = Empty, id = Empty);
        let call = Call::begin(rpc, span.clone(), self.metrics.clone());
        let answer = self.inner.call(request).instrument(span);
        Box::pin(async move { Ok(call.watch(answer.await?)) })
    }
}

/// A call that is running. One that is dropped before its end was given up by its client.
#[derive(Debug)]
struct Call {
    rpc: &'static str,
    began: Instant,
    span: Span,
    metrics: RpcMetrics,
    ended: bool,
}

impl Call {
    fn begin(rpc: &'static str, span: Span, metrics: RpcMetrics) -> Self {
        Self { rpc, began: Instant::now(), span, metrics, ended: false }
    }

    /// The status is in the headers of an answer without a body, otherwise behind the body.
    fn watch(self, response: Response<Body>) -> Response<ObservedBody> {
        let mut call = Some(self);
        if let Some(status) = Status::from_header_map(response.headers())
            && let Some(mut call) = call.take()
        {
            call.end(status.code(), status.message());
        }
        response.map(|inner| ObservedBody { inner, call })
    }

    fn end(&mut self, code: Code, message: &str) {
        self.ended = true;
        let taken = self.began.elapsed();
        self.metrics.count(self.rpc, code, taken);
        let _in = self.span.enter();
        let name = code_name(code);
        match code {
            Code::Ok if is_reading(self.rpc) => tracing::debug!(code = name, ?taken, "done"),
            Code::Ok => tracing::info!(code = name, ?taken, "done"),
            _ => tracing::warn!(code = name, ?taken, "failed: {message}"),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Code::Cancelled, "the client did not wait; what it began goes on");
        }
    }
}

/// An answer whose end is seen.
#[derive(Debug)]
pub(crate) struct ObservedBody {
    inner: Body,
    call: Option<Call>,
}

impl http_body::Body for ObservedBody {
    type Data = <Body as http_body::Body>::Data;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        let trailers = match &frame {
            Some(Ok(frame)) => frame.trailers_ref(),
            _ => None,
        };
        if let Some(status) = trailers.and_then(Status::from_header_map)
            && let Some(mut call) = self.call.take()
        {
            call.end(status.code(), status.message());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{pending, poll_fn};

    use http::{HeaderMap, HeaderValue};
    use http_body::Body as _;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;
    use tower::service_fn;

    use super::*;

    fn status(code: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static(code),
        )])
    }

    /// A body of nothing but trailers.
    struct Trailers(Option<HeaderMap>);

    impl http_body::Body for Trailers {
        type Data = <Body as http_body::Body>::Data;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
            Poll::Ready(self.0.take().map(|trailers| Ok(Frame::trailers(trailers))))
        }
    }

    /// The calls that were counted, as `rpc code`.
    fn counted(registry: &Registry) -> Vec<String> {
        let mut text = String::new();
        encode(&mut text, registry).unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("thinly_csi_rpcs_total{"));
        let mut counted: Vec<String> = lines
            .map(|line| line.replace(['"', '}'], "").replace("rpc=", "").replace(",code=", " "))
            .collect();
        counted.sort_unstable();
        counted
    }

    fn request(path: &str) -> Request<()> {
        Request::builder().uri(path).body(()).unwrap()
    }

    #[tokio::test]
    async fn the_code_is_taken_from_the_headers_or_from_behind_the_body() {
        let mut registry = Registry::default();
        let layer = ObserveLayer(RpcMetrics::new(&mut registry));
        let mut service = layer.layer(service_fn(async |request: Request<()>| {
            let body = if request.uri().path().ends_with("Probe") {
                Body::new(Trailers(Some(status("0"))))
            } else {
                Body::empty()
            };
            let mut response = Response::new(body);
            if !request.uri().path().ends_with("Probe") {
                *response.headers_mut() = status("5");
            }
            Ok::<_, Infallible>(response)
        }));
        service.call(request("/csi.v1.Node/NodeExpandVolume")).await.unwrap();
        assert_eq!(counted(&registry), ["NodeExpandVolume NotFound 1"]);
        let mut answer = service.call(request("/csi.v1.Identity/Probe")).await.unwrap();
        assert_eq!(counted(&registry).len(), 1, "counted before its end");
        let body = answer.body_mut();
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        assert!(frame.unwrap().unwrap().is_trailers());
        drop(answer);
        assert_eq!(counted(&registry), ["NodeExpandVolume NotFound 1", "Probe OK 1"]);
    }

    #[tokio::test]
    async fn a_call_that_its_client_gives_up_is_counted_as_that() {
        let mut registry = Registry::default();
        let layer = ObserveLayer(RpcMetrics::new(&mut registry));
        let mut hanging =
            layer.layer(service_fn(|_: Request<()>| pending::<Result<_, Infallible>>()));
        drop(hanging.call(request("/csi.v1.Controller/CreateVolume")));
        let mut service = layer.layer(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new(Body::new(Trailers(Some(status("0"))))))
        }));
        drop(service.call(request("/made/up")).await.unwrap());
        assert_eq!(counted(&registry), ["CreateVolume Canceled 1", "unknown Canceled 1"]);
    }
}
