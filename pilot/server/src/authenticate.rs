// SPDX-License-Identifier: Apache-2.0
//! Who is at the other end of a discovery stream: a layer around the gRPC services that tells it to them.
//!
//! On the TLS port a discovery stream needs a credential, a client certificate or a bearer token; without a valid one it is refused here. The
//! certificate service authenticates for itself. On the plaintext port nobody proves anything, and the port is there for that.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tiphys_ca::{Authenticators, Credentials};
use tiphys_xds::ConnectionInfo;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Status};
use tower::{Layer, Service};

/// Services whose paths start so authenticate for themselves.
const CERTIFICATES: &str = "/istio.v1.auth.IstioCertificateService/";

/// Puts a [`tiphys_xds::Peer`] into each request.
#[derive(Clone)]
pub struct AuthenticateLayer {
    /// Who accepts credentials; none on a port without TLS.
    authenticators: Option<Authenticators>,
    /// Whether a stream without a valid credential is refused.
    required: bool,
}

impl AuthenticateLayer {
    /// For the plaintext port.
    pub fn plaintext() -> Self {
        Self { authenticators: None, required: false }
    }

    /// For the TLS port.
    pub fn tls(authenticators: Authenticators, required: bool) -> Self {
        Self { authenticators: Some(authenticators), required }
    }
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Authenticate<S> {
        Authenticate { inner, layer: self.clone() }
    }
}

/// See [`AuthenticateLayer`].
#[derive(Clone)]
pub struct Authenticate<S> {
    inner: S,
    layer: AuthenticateLayer,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Body>> for Authenticate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answer {
        // The service that was polled ready is the one to call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        Box::pin(async move {
            if !request.uri().path().starts_with(CERTIFICATES) {
                let tcp = request.extensions().get::<ConnectionInfo>().and_then(|connection| connection.remote);
                match peer_of(credentials_of(&request), tcp, &layer).await {
                    Ok(peer) => drop(request.extensions_mut().insert(peer)),
                    Err(status) => return Ok(status.into_http()),
                }
            }
            inner.call(request).await
        })
    }
}

/// `tcp` is the address of a plaintext connection.
async fn peer_of(
    credentials: Credentials,
    tcp: Option<SocketAddr>,
    layer: &AuthenticateLayer,
) -> Result<tiphys_xds::Peer, Status> {
    let Some(authenticators) = &layer.authenticators else {
        return Ok(tiphys_xds::Peer { address: tcp, ..tiphys_xds::Peer::default() });
    };
    let peer = tiphys_xds::Peer { address: credentials.peer.address, tls: true, identities: Vec::new() };
    match authenticators.authenticate(&credentials).await {
        Ok(caller) => Ok(tiphys_xds::Peer {
            identities: caller.identities.iter().map(|id| Arc::from(id.to_string())).collect(),
            ..peer
        }),
        Err(_) if !layer.required => Ok(peer),
        Err(error) => {
            tracing::warn!(target: "authn", "a stream of {:?} is refused: {error}", credentials.peer.address);
            Err(Status::unauthenticated("authentication failure: show a client certificate of this mesh or a token"))
        }
    }
}

/// The credentials in a request's headers and connection.
pub fn credentials_of<B>(request: &Request<B>) -> Credentials {
    let mut extensions = Extensions::new();
    if let Some(peer) = request.extensions().get::<tiphys_ca::Peer>() {
        extensions.insert(peer.clone());
    }
    Credentials::of(&MetadataMap::from_headers(request.headers().clone()), &extensions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiphys_ca::{AuthenticationError, Authenticator, Caller, SpiffeId};
    use tower::ServiceExt;

    struct Fixed;

    #[tonic::async_trait]
    impl Authenticator for Fixed {
        fn name(&self) -> &'static str {
            "fixed"
        }

        async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Caller>, AuthenticationError> {
            let id = SpiffeId::new("cluster.local", "n", "a").unwrap();
            let good = credentials.bearer.as_deref() == Some("good");
            Ok(good.then(|| Caller { identities: vec![id], authenticator: "fixed", pod: None }))
        }
    }

    async fn call(required: bool, path: &str, token: Option<&str>) -> (Option<Vec<Arc<str>>>, Option<i32>) {
        let service = tower::service_fn(|request: Request<Body>| async move {
            let mut response = Response::new(Body::empty());
            if let Some(peer) = request.extensions().get::<tiphys_xds::Peer>() {
                response.extensions_mut().insert(peer.clone());
            }
            Ok::<_, Infallible>(response)
        });
        let layer = AuthenticateLayer::tls(Authenticators::new(vec![Arc::new(Fixed)]), required);
        let mut request = Request::builder().uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = layer.layer(service).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.headers().get("grpc-status").map(|v| v.to_str().unwrap().parse().unwrap());
        (response.extensions().get::<tiphys_xds::Peer>().map(|p| p.identities.clone()), status)
    }

    #[tokio::test]
    async fn streams_need_a_credential() {
        let ads = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
        assert_eq!(call(true, ads, Some("good")).await, (Some(vec!["spiffe://cluster.local/ns/n/sa/a".into()]), None));
        assert_eq!(call(true, ads, Some("bad")).await, (None, Some(16)));
        assert_eq!(call(true, ads, None).await, (None, Some(16)));
        assert_eq!(call(false, ads, None).await, (Some(vec![]), None));
        assert_eq!(call(true, "/istio.v1.auth.IstioCertificateService/CreateCertificate", None).await, (None, None));
    }
}
