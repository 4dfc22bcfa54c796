// SPDX-License-Identifier: Apache-2.0
//! From a caller's credential to its identities.
//!
//! A connection's facts ([`Peer`]) and a request's headers make [`Credentials`]; each [`Authenticator`] looks for the credential
//! that it knows; the first that accepts gives the [`Caller`]. When none does, the reasons of all go to the log and the caller
//! learns only that it was refused.

mod client_certificate;
mod jwt;
mod kubernetes;

pub use client_certificate::ClientCertificateAuthenticator;
pub use jwt::{JwtAuthenticator, KeySet, TokenError};
pub use kubernetes::{
    KubernetesTokenAuthenticator, KubernetesTokenOptions, LivePods, ReviewError, ReviewedToken, TokenReviewer,
};

use crate::SpiffeId;
use rustls_pki_types::CertificateDer;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// The other end of a connection. The server puts it into each request's extensions; [`crate::TlsConnection`] does so.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Its address.
    pub address: Option<SocketAddr>,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The client's certificates, its own first. They are checked here again, so that it does not matter how the handshake did.
    pub certificates: Arc<Vec<CertificateDer<'static>>>,
}

/// What a caller shows.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The connection.
    pub peer: Peer,
    /// The token of the header `authorization: Bearer TOKEN`.
    pub bearer: Option<String>,
}

impl Credentials {
    /// Takes the credentials from a request's headers and extensions.
    pub fn of(headers: &tonic::metadata::MetadataMap, extensions: &tonic::Extensions) -> Self {
        let peer = extensions.get::<Peer>().cloned().unwrap_or_default();
        let bearer = headers
            .get_all("authorization")
            .iter()
            .filter_map(|v| v.to_str().ok())
            .find_map(|v| v.strip_prefix("Bearer ").or_else(|| v.strip_prefix("bearer ")))
            .map(|t| t.trim().to_string());
        Self { peer, bearer }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bearer = self.bearer.as_ref().map(|_| "redacted");
        f.debug_struct("Credentials").field("peer", &self.peer.address).field("bearer", &bearer).finish()
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The identities that the credential proves, at least one.
    pub identities: Vec<SpiffeId>,
    /// Which authenticator accepted.
    pub authenticator: &'static str,
    /// The pod to which the credential is bound, if it names one.
    pub pod: Option<PodReference>,
}

/// A pod named in a token of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodReference {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// Why a credential was not accepted. The text never holds the credential itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{authenticator}: {reason}")]
pub struct AuthenticationError {
    /// The authenticator that refused.
    pub authenticator: &'static str,
    /// Why.
    pub reason: String,
}

/// Knows one kind of credential.
#[tonic::async_trait]
pub trait Authenticator: Send + Sync {
    /// Its name, for logs.
    fn name(&self) -> &'static str;

    /// `Ok(None)` when the credentials have nothing of this kind.
    ///
    /// # Errors
    /// When there is such a credential and it is not valid.
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Caller>, AuthenticationError>;
}

/// Several authenticators, asked in turn. Cloning shares them.
#[derive(Clone)]
pub struct Authenticators(Arc<[Arc<dyn Authenticator>]>);

impl Authenticators {
    /// Asks in the order given.
    pub fn new(all: Vec<Arc<dyn Authenticator>>) -> Self {
        Self(all.into())
    }

    /// The caller, from the first authenticator that accepts.
    ///
    /// # Errors
    /// The reasons of all that refused; or that there was no credential.
    pub async fn authenticate(&self, credentials: &Credentials) -> Result<Caller, AuthenticationError> {
        let mut reasons = Vec::new();
        for authenticator in self.0.iter() {
            match authenticator.authenticate(credentials).await {
                Ok(Some(caller)) if !caller.identities.is_empty() => return Ok(caller),
                Ok(_) => {}
                Err(error) => reasons.push(error.to_string()),
            }
        }
        let reason = if reasons.is_empty() { "no credential given".to_string() } else { reasons.join("; ") };
        Err(AuthenticationError { authenticator: "all", reason })
    }
}

impl fmt::Debug for Authenticators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|a| a.name())).finish()
    }
}
