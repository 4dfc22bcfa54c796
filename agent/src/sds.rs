// SPDX-License-Identifier: Apache-2.0
//! Envoy's secret discovery service, served on a Unix socket: delta and state of the world.
//!
//! Resources: `default` (the workload's certificate and key), `ROOTCA` (the roots of the mesh), `file-cert:CHAIN~KEY` and
//! `file-root:PATH` (files, also `file-root:system`). Each is sent when asked for, or as soon as it is there, and again whenever it
//! changes. All other secrets, such as `kubernetes://NAME`, come from the control plane over the configuration stream
//! ([`crate::relay`]) and are refused here.

use crate::identity::{SecretStore, stamp};
use crate::uds;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tiphys_proto::envoy::config::core::v3::{DataSource, data_source::Specifier};
use tiphys_proto::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate, secret,
};
use tiphys_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use tiphys_proto::envoy::service::secret::v3::secret_discovery_service_server::{
    SecretDiscoveryService, SecretDiscoveryServiceServer,
};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

const SECRET_TYPE: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
/// How often files are looked at, while any are subscribed to.
const FILE_INTERVAL: Duration = Duration::from_secs(2);
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Serves on a socket for as long as it is polled.
pub async fn serve(listener: UnixListener, store: Arc<SecretStore>) {
    let service = TowerToHyperService::new(SecretDiscoveryServiceServer::new(SecretService { store }));
    loop {
        match uds::accept(&listener).await {
            Ok(stream) => {
                let service = service.clone();
                tokio::spawn(async move {
                    let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
                        tracing::debug!(%error, "Envoy's connection for secrets ended");
                    }
                });
            }
            Err(error) => {
                tracing::error!(%error, "socket for secrets");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

struct SecretService {
    store: Arc<SecretStore>,
}

/// A secret and its version.
struct Versioned {
    name: String,
    version: String,
    secret: Secret,
}

/// A name that is never served here, and why.
struct Refused {
    name: String,
    reason: String,
}

/// A secret as it is now.
#[allow(clippy::large_enum_variant)] // Made and taken apart at once.
enum Found {
    Ready(Versioned),
    /// Not there yet; it will come.
    Later,
    /// Never from here, and why.
    Never(String),
}

/// What one stream has asked for, and which version of it was sent.
struct Watched {
    store: Arc<SecretStore>,
    sent: BTreeMap<String, Option<String>>,
}

impl Watched {
    fn new(store: Arc<SecretStore>) -> Self {
        Self { store, sent: BTreeMap::new() }
    }

    fn has_files(&self) -> bool {
        self.sent.keys().any(|n| n.starts_with("file-"))
    }

    /// The version and content of a secret, unless `held` is its version already.
    fn find(&self, name: &str, held: Option<&str>) -> Option<Found> {
        let certificate = self.store.current();
        let found = match name {
            "default" | "ROOTCA" => match certificate {
                None => Found::Later,
                Some(c) if held == Some(c.version.to_string().as_str()) => return None,
                Some(c) if name == "default" => ready(name, c.version.to_string(), key_pair(name, &c.chain, &c.key)),
                Some(c) => ready(name, c.version.to_string(), roots(name, &c.roots)),
            },
            _ => return from_files(name, held),
        };
        Some(found)
    }

    /// The secrets that are new or have changed since they were sent, and the names that will never be there.
    fn changes(&mut self) -> (Vec<Versioned>, Vec<Refused>) {
        let (mut ready, mut never) = (Vec::new(), Vec::new());
        let names: Vec<(String, Option<String>)> = self.sent.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
        for (name, held) in names {
            match self.find(&name, held.as_deref()) {
                Some(Found::Ready(found)) => {
                    self.sent.insert(name, Some(found.version.clone()));
                    ready.push(found);
                }
                Some(Found::Never(reason)) => {
                    self.sent.remove(&name);
                    never.push(Refused { name, reason });
                }
                Some(Found::Later) | None => {}
            }
        }
        (ready, never)
    }
}

fn ready(name: &str, version: String, secret: Secret) -> Found {
    Found::Ready(Versioned { name: name.into(), version, secret })
}

fn inline(text: &str) -> Option<DataSource> {
    Some(DataSource { specifier: Some(Specifier::InlineBytes(text.as_bytes().to_vec())), watched_directory: None })
}

fn key_pair(name: &str, chain: &str, key: &str) -> Secret {
    let certificate =
        TlsCertificate { certificate_chain: inline(chain), private_key: inline(key), ..Default::default() };
    Secret { name: name.into(), r#type: Some(secret::Type::TlsCertificate(certificate)) }
}

fn roots(name: &str, pem: &str) -> Secret {
    let context = CertificateValidationContext { trusted_ca: inline(pem), ..Default::default() };
    Secret { name: name.into(), r#type: Some(secret::Type::ValidationContext(context)) }
}

/// A secret in files; the version is made of what changes when they are written or replaced.
fn from_files(name: &str, held: Option<&str>) -> Option<Found> {
    let paths: Vec<&str> = if let Some(pair) = name.strip_prefix("file-cert:") {
        match pair.split('~').collect::<Vec<_>>() {
            pair if pair.len() == 2 => pair,
            _ => return Some(Found::Never("expected file-cert:CHAIN~KEY".into())),
        }
    } else if let Some(path) = name.strip_prefix("file-root:") {
        vec![if path == "system" { SYSTEM_ROOTS } else { path }]
    } else {
        return Some(Found::Never("only default, ROOTCA, file-cert: and file-root: are served here".into()));
    };
    let stamps: Option<Vec<_>> = paths.iter().map(|p| stamp(Path::new(p))).collect();
    let Some(stamps) = stamps else { return Some(Found::Later) };
    let version = format!("{stamps:x?}");
    if held == Some(version.as_str()) {
        return None;
    }
    let texts: Result<Vec<String>, _> = paths.iter().map(std::fs::read_to_string).collect();
    match texts.as_deref() {
        Ok([chain, key]) => Some(ready(name, version, key_pair(name, chain, key))),
        Ok([pem]) => Some(ready(name, version, roots(name, pem))),
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(name, %error, "secret in files cannot be read yet");
            Some(Found::Later)
        }
    }
}

type Answers<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl SecretDiscoveryService for SecretService {
    type DeltaSecretsStream = Answers<DeltaDiscoveryResponse>;
    type StreamSecretsStream = Answers<DiscoveryResponse>;

    async fn delta_secrets(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(delta(request.into_inner(), sender, Watched::new(self.store.clone())));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(state_of_the_world(request.into_inner(), sender, Watched::new(self.store.clone())));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn fetch_secrets(&self, _: Request<DiscoveryRequest>) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("secrets are streamed; use StreamSecrets or DeltaSecrets"))
    }
}

async fn delta(
    mut requests: Streaming<DeltaDiscoveryRequest>,
    answers: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    mut watched: Watched,
) {
    let mut news = watched.store.subscribe();
    let mut nonce = 0u64;
    loop {
        tokio::select! {
            request = requests.message() => {
                let Ok(Some(request)) = request else { return };
                if let Some(error) = &request.error_detail {
                    tracing::warn!(message = error.message, "Envoy refused a secret");
                }
                for name in request.resource_names_unsubscribe {
                    watched.sent.remove(&name);
                }
                for name in request.resource_names_subscribe {
                    // Asked for again, it is sent again.
                    watched.sent.insert(name, None);
                }
            }
            alive = news.changed() => if alive.is_err() { return },
            () = tokio::time::sleep(FILE_INTERVAL), if watched.has_files() => {}
            () = answers.closed() => return,
        }
        let (ready, never) = watched.changes();
        if ready.is_empty() && never.is_empty() {
            continue;
        }
        nonce += 1;
        for Refused { name, reason } in &never {
            tracing::warn!(name, reason, "Envoy asked for a secret that is not served here");
        }
        let sent: Vec<&str> = ready.iter().map(|s| s.name.as_str()).collect();
        tracing::info!(secrets = ?sent, "sent to Envoy");
        let resource = |found: Versioned| Resource {
            name: found.name,
            version: found.version,
            resource: Some(tiphys_proto::to_any(&found.secret)),
            ..Default::default()
        };
        let answer = DeltaDiscoveryResponse {
            type_url: SECRET_TYPE.into(),
            nonce: nonce.to_string(),
            resources: ready.into_iter().map(resource).collect(),
            removed_resources: never.into_iter().map(|r| r.name).collect(),
            ..Default::default()
        };
        if answers.send(Ok(answer)).await.is_err() {
            return;
        }
    }
}

async fn state_of_the_world(
    mut requests: Streaming<DiscoveryRequest>,
    answers: mpsc::Sender<Result<DiscoveryResponse, Status>>,
    mut watched: Watched,
) {
    let mut news = watched.store.subscribe();
    let mut nonce = 0u64;
    loop {
        tokio::select! {
            request = requests.message() => {
                let Ok(Some(request)) = request else { return };
                if let Some(error) = &request.error_detail {
                    tracing::warn!(message = error.message, "Envoy refused a secret");
                }
                if !request.response_nonce.is_empty() && request.response_nonce != nonce.to_string() {
                    continue;
                }
                let wanted: BTreeSet<String> = request.resource_names.into_iter().collect();
                watched.sent.retain(|name, _| wanted.contains(name));
                for name in wanted {
                    watched.sent.entry(name).or_default();
                }
            }
            alive = news.changed() => if alive.is_err() { return },
            () = tokio::time::sleep(FILE_INTERVAL), if watched.has_files() => {}
            () = answers.closed() => return,
        }
        let (changed, never) = watched.changes();
        if let Some(Refused { name, reason }) = never.first() {
            tracing::warn!(name, reason, "Envoy asked for a secret that is not served here");
            // Nobody is left to tell when the stream has ended already.
            let _ = answers.send(Err(Status::invalid_argument(format!("secret {name:?}: {reason}")))).await;
            return;
        }
        if changed.is_empty() {
            continue;
        }
        let version = changed.iter().map(|s| s.version.as_str()).max().unwrap_or_default().to_string();
        // The state of the world is everything asked for, not only what has changed.
        let all = watched.sent.keys().filter_map(|n| match watched.find(n, None) {
            Some(Found::Ready(found)) => Some(tiphys_proto::to_any(&found.secret)),
            _ => None,
        });
        nonce += 1;
        let answer = DiscoveryResponse {
            type_url: SECRET_TYPE.into(),
            version_info: version,
            nonce: nonce.to_string(),
            resources: all.collect(),
            ..Default::default()
        };
        let sent: Vec<&str> = changed.iter().map(|s| s.name.as_str()).collect();
        tracing::info!(secrets = ?sent, "sent to Envoy");
        if answers.send(Ok(answer)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
#[path = "sds_tests.rs"]
mod tests;
