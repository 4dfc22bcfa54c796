// SPDX-License-Identifier: Apache-2.0
//! What STRICT would break, asked of a running control plane: by the debug page, and by the webhook when a PeerAuthentication comes in.
//!
//! The served picture and the writer's objects go into `tiphys-preflight`, with the proxies that are connected here and what the agents of
//! servers say that they took ([`agents`]).

mod advice;
mod agents;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tiphys_api::{Kind, Object};
use tiphys_compile::Snapshot;
use tiphys_preflight::{Ask, Inputs, Proxies, Proxy, Report, Taken, check};
use tiphys_view::Views;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::http::Shown;
use crate::writer::ObjectsQuery;

pub use advice::PreflightAdviser;

/// What is asked, and how.
#[derive(Debug)]
pub struct Question {
    /// What is asked.
    pub ask: Ask,
    /// The proxies of all replicas; none for those that are connected here.
    pub proxies: Option<Proxies>,
    /// How many minutes agents are to look back.
    pub minutes: u32,
    /// Agents are waited for no longer.
    pub within: Duration,
    /// How many agents are asked at most.
    pub agents: usize,
    /// Only what this namespace may see.
    pub limited: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// The mesh is not known yet, or the control plane ends.
    #[error("busy: ask again")]
    Busy,
}

/// Answers.
#[derive(Clone)]
pub struct Preflight {
    views: Arc<Views>,
    queries: mpsc::Sender<ObjectsQuery>,
    revision: String,
}

impl std::fmt::Debug for Preflight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Preflight").field("revision", &self.revision).finish_non_exhaustive()
    }
}

/// What an answer is made of.
struct Mesh {
    snapshot: Arc<Snapshot>,
    objects: Vec<Arc<Object>>,
    proxies: Proxies,
    ask: Ask,
    revision: String,
}

impl Mesh {
    fn inputs<'a>(&'a self, taken: &'a Taken) -> Inputs<'a> {
        Inputs {
            snapshot: &self.snapshot,
            objects: &self.objects,
            ask: &self.ask,
            proxies: Some(&self.proxies),
            taken,
            revision: &self.revision,
        }
    }
}

impl Preflight {
    /// Answers from what the pages show.
    pub fn of(shown: &Shown) -> Self {
        let revision = shown.settings.revision.clone();
        Self { views: shown.views.clone(), queries: shown.queries.clone(), revision }
    }

    /// The mesh's root namespace, as far as it is served.
    pub fn root_namespace(&self) -> Option<String> {
        Some(self.views.snapshot()?.mesh.root_namespace.to_string())
    }

    /// What would break.
    ///
    /// # Errors
    /// When nobody knows the mesh.
    pub async fn report(&self, question: Question) -> Result<Report, PreflightError> {
        let deadline = Instant::now() + question.within;
        let snapshot = self.views.snapshot().ok_or(PreflightError::Busy)?;
        let mut objects = self.objects().await?;
        if let Some(own) = &question.limited {
            objects.retain(|object| object.meta.namespace == *own || object.kind() == Kind::Namespace);
        }
        let proxies = question.proxies.unwrap_or_else(|| self.connected());
        let mesh = Mesh { snapshot, objects, proxies, ask: question.ask, revision: self.revision.clone() };
        let (mesh, mut agents) = tokio::task::spawn_blocking(move || {
            let agents = tiphys_preflight::agents(&mesh.inputs(&BTreeMap::new()));
            (mesh, agents)
        })
        .await
        .map_err(|_| PreflightError::Busy)?;
        agents.truncate(question.agents);
        let taken = agents::ask(agents, question.minutes, deadline).await;
        let made = tokio::task::spawn_blocking(move || check(mesh.inputs(&taken)));
        let report = made.await.map_err(|_| PreflightError::Busy)?;
        Ok(Report { limited: question.limited.is_some(), ..report })
    }

    /// Objects of the kinds that are looked at.
    async fn objects(&self) -> Result<Vec<Arc<Object>>, PreflightError> {
        let (ask, answer) = oneshot::channel();
        self.queries.send(ask).await.map_err(|_| PreflightError::Busy)?;
        let mut objects = answer.await.map_err(|_| PreflightError::Busy)?;
        objects.retain(|object| matches!(object.kind(), Kind::Pod | Kind::Namespace | Kind::DestinationRule));
        Ok(objects)
    }

    /// The proxies that are connected here.
    fn connected(&self) -> Proxies {
        let clients = self.views.clients().into_iter();
        let connected =
            clients.map(|client| (client.node.id.to_string(), Proxy { version: client.node.version.to_string() }));
        Proxies { all: false, connected: connected.collect() }
    }
}
