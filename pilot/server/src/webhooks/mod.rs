// SPDX-License-Identifier: Apache-2.0
//! The webhooks' port and what they work with: texts of the injection's configuration and MeshConfig in, a new injector out; objects
//! ProxyConfig as they are in force. A text that cannot be used changes nothing.

mod texts;
mod tls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwapOption;
use tiphys_api::{Object, Spec};
use tiphys_webhook::admission::{Admission, NativeSidecars};
use tiphys_webhook::inject::Injector;
use tiphys_webhook::inject::config::{InjectionConfig, Values};
use tiphys_webhook::inject::settings::Objects;
use tiphys_webhook::metrics::WebhookMetrics;
use tiphys_webhook::server;
use tokio::sync::watch;

use self::texts::InjectionTexts;
use crate::cli::ServeArgs;
use crate::kubernetes::Cluster;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::tasks::Tasks;
use crate::trust::Trust;
use crate::writer::Published;

/// What the webhooks are made of.
#[derive(Clone, Copy)]
pub struct WebhookInputs<'a> {
    /// The flags.
    pub args: &'a ServeArgs,
    /// The environment.
    pub settings: &'a Settings,
    /// The certificate that is shown.
    pub trust: &'a Trust,
    /// Counts.
    pub metrics: &'a Metrics,
    /// The mesh's settings.
    pub published: &'a watch::Receiver<Published>,
    /// The cluster, in Kubernetes mode.
    pub cluster: Option<&'a Cluster>,
    /// Where the injection's `config` is put when it is in force.
    pub injection: &'a Arc<ArcSwapOption<String>>,
}

/// Running webhooks.
pub struct Webhooks {
    /// Where they listen.
    pub address: SocketAddr,
    /// What answers.
    pub admission: Arc<Admission>,
}

/// Starts the webhooks, unless they are off: by their address, or, without a cluster, because there is no configuration for them.
///
/// # Errors
/// When the address or a certificate cannot be used.
pub async fn start(inputs: WebhookInputs<'_>, tasks: &mut Tasks) -> anyhow::Result<Option<Webhooks>> {
    let WebhookInputs { args, settings, trust, metrics, published, cluster, injection } = inputs;
    let Some(texts) = InjectionTexts::open(args, settings, cluster) else { return Ok(None) };
    let Some(listener) = args.https_addr.listen().await? else { return Ok(None) };
    let address = listener.local_addr()?;
    let counts = metrics.register(WebhookMetrics::register).context("metrics of the webhooks")?;
    let admission = Arc::new(Admission::new(settings.native_sidecars, settings.openshift, counts));
    tracing::info!("webhooks on {address}; injection is set by {}", texts.place());
    let acceptor = tls::acceptor(&args.transport, &trust.identity)?;
    let stop = tasks.stop.clone();
    let router = server::router(admission.clone());
    tasks.spawn("webhooks", async move {
        tls::serve(listener, acceptor, router, stop).await;
        Ok(())
    });
    let keeper = Keeper {
        admission: admission.clone(),
        published: published.clone(),
        revision: settings.revision.clone(),
        compliance: settings.compliance_policy.clone(),
        injection: injection.clone(),
    };
    tasks.spawn("injection", keeper.run(texts));
    Ok(Some(Webhooks { address, admission }))
}

/// Reads whether sidecars are native.
pub fn parse_native(text: &str) -> Option<NativeSidecars> {
    match text {
        "auto" => Some(NativeSidecars::Auto),
        "true" => Some(NativeSidecars::On),
        "false" => Some(NativeSidecars::Off),
        _ => None,
    }
}

/// Keeps the injector up to date.
struct Keeper {
    admission: Arc<Admission>,
    published: watch::Receiver<Published>,
    revision: String,
    compliance: String,
    injection: Arc<ArcSwapOption<String>>,
}

impl Keeper {
    async fn run(mut self, mut texts: InjectionTexts) -> anyhow::Result<()> {
        let mut mesh = self.published.borrow_and_update().mesh.clone();
        let mut objects = self.published.borrow().proxy_configs.clone();
        self.take_objects(&objects);
        loop {
            let (new_mesh, new_objects) = tokio::select! {
                () = texts.changed() => (None, None),
                changed = self.published.changed() => {
                    changed?;
                    let published = self.published.borrow_and_update();
                    let (now, configs) = (published.mesh.clone(), published.proxy_configs.clone());
                    let fresh = (!Arc::ptr_eq(&now, &mesh)).then_some(now);
                    let other = (!Arc::ptr_eq(&configs, &objects)).then_some(configs);
                    if fresh.is_none() && other.is_none() {
                        continue;
                    }
                    (fresh, other)
                }
            };
            if let Some(new) = new_objects {
                objects = new;
                self.take_objects(&objects);
            }
            mesh = new_mesh.unwrap_or(mesh);
            let Some((text, values)) = texts.both() else { continue };
            let made = InjectionConfig::parse(text).and_then(|config| Ok((config, Values::parse(values)?)));
            let made = made.map_err(|error| error.to_string()).and_then(|(config, values)| {
                Injector::new(config, values, (*mesh).clone(), &self.revision, &self.compliance)
                    .map_err(|error| error.to_string())
            });
            match made {
                Ok(injector) => {
                    self.admission.set_injector(injector);
                    self.injection.store(Some(Arc::new(text.to_owned())));
                    tracing::info!(target: "webhook", "injection follows {}", texts.place());
                }
                Err(error) => {
                    tracing::error!(target: "webhook", "{}: {error}: what was in force stays so", texts.place());
                }
            }
        }
    }

    fn take_objects(&self, objects: &Arc<Vec<Arc<Object>>>) {
        let sorted = Arc::new(by_namespace(objects));
        self.admission.update_surroundings(|known| known.proxy_configs = sorted.clone());
    }
}

/// Objects ProxyConfig by namespace, the oldest first.
fn by_namespace(objects: &[Arc<Object>]) -> Objects {
    let mut sorted: Vec<&Arc<Object>> = objects.iter().collect();
    sorted.sort_by_key(|object| (object.meta.creation, object.meta.namespace.clone(), object.meta.name.clone()));
    let mut found: Objects = BTreeMap::new();
    for object in sorted {
        if let Spec::ProxyConfig(spec) = &object.spec {
            found.entry(object.meta.namespace.clone()).or_default().push(spec.clone());
        }
    }
    found
}
