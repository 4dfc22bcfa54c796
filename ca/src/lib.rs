// SPDX-License-Identifier: Apache-2.0
//! The certificate authority of the mesh: who may have which identity, and the certificates that prove it.
//!
//! The way of a request:
//!
//! 1. [`CertificateService`] receives a certificate signing request over gRPC (`istio.v1.auth.IstioCertificateService`).
//! 2. An [`Authenticator`] turns the caller's credential (a bearer token, or the client certificate of the connection) into a
//!    [`Caller`] with [`SpiffeId`]s. Nothing that the caller writes into the request can change these.
//! 3. [`Authority::issue`] checks the request ([`csr`]), takes the public key out of it and nothing else, and signs a certificate
//!    for the caller's identities with the current [`SigningBundle`].
//! 4. The answer is the certificate, the chain up to the root, and as last element the roots.
//!
//! [`ServerIdentity`] is the control plane's own serving certificate from the same authority; [`DevTokenIssuer`] stands in for the
//! Kubernetes token service where there is none. This crate knows nothing of mesh configuration nor of Kubernetes' API.

pub mod authenticate;
mod authority;
mod bundle;
mod counters;
pub mod csr;
mod dev_token;
mod error;
mod files;
pub mod folder;
mod node;
mod registration;
mod root;
mod rotation;
mod service;
mod serving;
mod spiffe;
#[cfg(test)]
mod testing;

pub use authenticate::{AuthenticationError, Authenticator, Authenticators, Caller, Credentials, Peer};
pub use authority::{Authority, AuthorityOptions, IssueRequest, Issued, Lifetimes, TrustDomains};
pub use bundle::{BundleParts, SigningBundle, TrustBundle};
pub use counters::{CaCounters, Sample};
pub use dev_token::{DevTokenIssuer, DevTokenOptions, ServiceAccount};
pub use error::CaError;
pub use node::{NodeAuthorizer, PodDirectory, PodFacts, parse_accounts};
pub use registration::{
    CertificateSigner, Registered, RegistrationAuthority, RegistrationOptions, SignerRequest, SignerRoots,
};
pub use root::{RootOptions, SelfSignedRoot};
pub use service::{CertificateService, Signing};
pub use serving::{ServerIdentity, ServerNames, TlsConnection, server_config};
pub use spiffe::{SpiffeError, SpiffeId};
