// SPDX-License-Identifier: Apache-2.0
//! What there is only with a Kubernetes API server: the client, and the parts that need it. [`start`] is the one place that starts them.

pub mod access;
mod client;
mod default_revision;
pub mod election;
pub mod live_pods;
#[cfg(test)]
mod mock;
pub mod pods;
pub mod rollout_record;
mod root_config_maps;
pub mod root_secret;
pub mod signer;
mod statuses;
mod tags;
pub mod tokens;
mod watches;
mod webhooks;

use std::sync::Arc;

use tiphys_source::kube::{Health, KubeSource, Wanted};
use tiphys_view::Views;
use tokio::sync::{mpsc, watch};

use self::access::AccessReviews;
use self::election::{Elections, Work};
use self::root_config_maps::RootConfigMaps;
use self::statuses::Writes;
use self::tags::Tags;
use crate::cli::ServeArgs;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::tasks::Tasks;
use crate::trust::Trust;
use crate::webhooks::Webhooks;
use crate::writer::{ObjectsQuery, Published};

/// The cluster that this control plane serves.
#[derive(Clone)]
pub struct Cluster {
    /// Its API server's client: clones share connections and the limit of requests.
    pub client: kube::Client,
    /// How well it is followed.
    pub health: Arc<Health>,
    name: String,
}

impl Cluster {
    /// The cluster that the flags and the environment name; none when objects come from a folder.
    ///
    /// # Errors
    /// When there is none, or its credentials cannot be used.
    pub async fn of(args: &ServeArgs) -> anyhow::Result<Option<Self>> {
        if args.config_dir.is_some() {
            return Ok(None);
        }
        let client = client::connect(&args.kubernetes).await?;
        Ok(Some(Self { client, health: Arc::default(), name: args.cluster_id.clone() }))
    }

    /// The objects of the cluster.
    pub fn source(&self, wanted: watch::Receiver<Wanted>) -> KubeSource {
        KubeSource::new(self.client.clone(), &self.name).with_wanted(wanted).with_health(self.health.clone())
    }
}

/// What the parts are made of.
pub struct Parts<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The flags.
    pub args: &'a ServeArgs,
    /// The environment.
    pub settings: &'a Arc<Settings>,
    /// The authority and who accepts credentials.
    pub trust: &'a Trust,
    /// Counts.
    pub metrics: &'a Arc<Metrics>,
    /// What is served.
    pub views: &'a Arc<Views>,
    /// The mesh's settings, what is wrong with objects, and whether the mesh is served.
    pub published: &'a watch::Receiver<Published>,
    /// The statuses that objects should have.
    pub statuses: watch::Receiver<tiphys_status::Wanted>,
    /// Asks for all objects.
    pub queries: &'a mpsc::Sender<ObjectsQuery>,
    /// The webhooks, where they run.
    pub webhooks: Option<&'a Webhooks>,
    /// Who may read Secrets, as streams ask for it.
    pub access: AccessReviews,
    /// Where parts are started; [`Tasks::stop`] tells them to end.
    pub tasks: &'a mut Tasks,
}

/// Starts what needs a cluster, a line for each part.
///
/// # Errors
/// When a part cannot start.
pub async fn start(mut parts: Parts<'_>) -> anyhow::Result<()> {
    tracing::info!("Kubernetes mode: cluster {}", parts.cluster.name);
    watches::count(parts.metrics, parts.cluster.health.clone())?;
    let elections = elections(parts.cluster, parts.args, parts.settings, parts.tasks);
    if let Some(running) = parts.webhooks {
        webhooks::start(&mut parts, running, &elections);
    }
    let Parts { cluster, args, settings, trust, published, views, access, metrics, statuses, tasks, .. } = parts;
    if settings.gateway_statuses {
        let (told, tags) = watch::channel(Tags::new(&settings.revision));
        let (client, namespace) = (cluster.client.clone(), args.namespace.clone());
        tasks.spawn("revision tags", async move {
            tags::follow(client, namespace, told).await;
            Ok(())
        });
        let writes = Writes { wanted: statuses, tags, leads: elections.join(Work::GatewayStatus, tasks) };
        statuses::start(cluster, writes, metrics, tasks)?;
    }
    if let Some(signing) = &trust.signing {
        let writer = RootConfigMaps {
            client: cluster.client.clone(),
            name: settings.identity.root_config_map.clone(),
            roots: signing.trust_changes(),
            published: published.clone(),
        };
        let leads = elections.join(Work::Namespaces, tasks);
        tasks.spawn("root ConfigMaps", async move {
            writer.run(leads).await;
            // The election is over: the control plane stops.
            std::future::pending().await
        });
    }
    let (client, views) = (cluster.client.clone(), views.clone());
    tasks.spawn("access reviews", async move {
        access.run(client, views).await;
        Ok(())
    });
    Ok(())
}

/// Elections by the locks that istiod has.
fn elections(cluster: &Cluster, args: &ServeArgs, settings: &Settings, tasks: &mut Tasks) -> Elections {
    let (default, default_revision) = watch::channel(None);
    let client = cluster.client.clone();
    if settings.identity.elections {
        tasks.spawn("default revision", async move {
            default_revision::follow(client, default).await;
            Ok(())
        });
    }
    Elections {
        client: cluster.client.clone(),
        namespace: args.namespace.clone(),
        identity: settings.instance.clone(),
        revision: settings.revision.clone(),
        default_revision,
        enabled: settings.identity.elections,
    }
}
