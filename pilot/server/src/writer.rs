// SPDX-License-Identifier: Apache-2.0
//! The one writer: changes of objects and of the mesh's settings in, snapshots out to the views.
//!
//! While a snapshot is computed, on a thread of its own, the next changes gather; so a busy mesh batches by itself. Nothing is served before
//! every kind was read once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tiphys_api::mesh::MeshConfig;
use tiphys_api::{Key, Kind, Object, Severity};
use tiphys_ca::{DevTokenIssuer, ServiceAccount};
use tiphys_compile::{Compiler, Snapshot};
use tiphys_source::{Batch, Change, Report, ReportId, in_force, until};
use tiphys_view::{Pushed, Views};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::gather::{Debounce, Due, Gather};
use crate::kubernetes::live_pods::LivePodIndex;
use crate::mesh_text::MeshTexts;
use crate::metrics::Metrics;
use crate::pushes::{Pushes, What};
use crate::rollout::{Rollouts, StepPush};
use crate::statuses::Statuses;

/// A question that only the writer can answer.
pub type ObjectsQuery = oneshot::Sender<Vec<Arc<Object>>>;

/// What others may look at.
#[derive(Debug, Clone)]
pub struct Published {
    /// The mesh's settings in force.
    pub mesh: Arc<MeshConfig>,
    /// What is wrong with objects and files.
    pub reports: Arc<BTreeMap<ReportId, Report>>,
    /// Whether the first full picture is served.
    pub ready: bool,
    /// The objects ProxyConfig.
    pub proxy_configs: Arc<Vec<Arc<Object>>>,
}

impl Published {
    /// What there is before anything was read.
    pub fn first(mesh: MeshConfig) -> Self {
        Self { mesh: Arc::new(mesh), reports: Arc::default(), ready: false, proxy_configs: Arc::default() }
    }
}

/// What the writer works with.
pub struct WriterParts {
    /// Where changes come from.
    pub batches: mpsc::Receiver<Batch>,
    /// Questions.
    pub queries: mpsc::Receiver<ObjectsQuery>,
    /// The texts of MeshConfig; what they said first was taken.
    pub mesh_texts: MeshTexts,
    /// Serves snapshots.
    pub views: Arc<Views>,
    /// How long changes wait.
    pub debounce: Debounce,
    /// Follows pushes.
    pub pushes: Arc<Pushes>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Told of all that others may look at.
    pub published: watch::Sender<Published>,
    /// Told of the mesh's service accounts.
    pub accounts: watch::Sender<BTreeSet<ServiceAccount>>,
    /// Told of the Secrets and ConfigMaps that gateways use.
    pub wanted: watch::Sender<Option<BTreeSet<Key>>>,
    /// Told of the statuses that objects should have.
    pub statuses: Statuses,
    /// Writes their tokens, where it is asked for.
    pub tokens: Option<Arc<DevTokenIssuer>>,
    /// Told of the pods that live.
    pub pods: LivePodIndex,
    /// Takes changes of mutual TLS through their steps.
    pub rollouts: Rollouts,
}

/// The only task that changes the picture of the mesh.
pub struct Writer {
    parts: WriterParts,
    /// None only while a thread works with it.
    compiler: Option<Compiler>,
    gather: Gather,
    waiting_for: BTreeSet<Kind>,
    reports: BTreeMap<ReportId, Report>,
    /// What is wrong with MeshConfig.
    mesh_report: Option<ReportId>,
    started: Instant,
}

/// What a thread made of changes.
struct Made {
    compiler: Compiler,
    generation: u64,
    /// None when nothing that matters changed.
    pushed: Option<Pushed>,
    services: usize,
    took: std::time::Duration,
}

impl Writer {
    /// A writer that has read nothing yet.
    pub fn new(parts: WriterParts, compiler: Compiler) -> Self {
        Self {
            parts,
            compiler: Some(compiler),
            gather: Gather::default(),
            waiting_for: Kind::ALL.iter().copied().collect(),
            reports: BTreeMap::new(),
            mesh_report: None,
            started: Instant::now(),
        }
    }

    /// Runs until its sources end.
    ///
    /// # Errors
    /// When computing fails, which is a bug: a server that goes on would serve an old picture for ever.
    pub async fn run(mut self) -> anyhow::Result<()> {
        loop {
            let ready = self.waiting_for.is_empty();
            let due = self.gather.due(&self.parts.debounce).filter(|_| ready);
            let wake = [due, self.parts.pushes.due(), self.parts.rollouts.due()].into_iter().flatten().min();
            tokio::select! {
                batch = self.parts.batches.recv() => match batch {
                    Some(batch) => self.take(batch).await?,
                    None => return Ok(()),
                },
                () = self.parts.mesh_texts.changed() => self.take_mesh(),
                Some(answer) = self.parts.queries.recv() => self.answer(answer),
                () = until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    let now = Instant::now();
                    self.parts.pushes.close(now);
                    let compiler = self.compiler.as_mut().filter(|_| ready);
                    let step = compiler.is_some_and(|compiler| self.parts.rollouts.look(compiler, now));
                    let due = self.gather.take(&self.parts.debounce, now).filter(|_| ready);
                    if let Some(due) = due.or_else(|| step.then(|| Due::nothing(now))) {
                        self.push(due).await?;
                    }
                }
            }
        }
    }

    async fn take(&mut self, batch: Batch) -> anyhow::Result<()> {
        let Batch { changes, reports, mended, synced } = batch;
        for change in &changes {
            let Key { kind, namespace, name } = &change.key;
            let known = self.compiler.as_ref().is_some_and(|c| c.store().get(*kind, namespace, name).is_some());
            let event = match change.object {
                None => "delete",
                Some(_) if known => "update",
                Some(_) => "add",
            };
            self.parts.metrics.count_event(*kind, event);
            if self.parts.mesh_texts.take(change) {
                self.take_mesh();
            }
        }
        self.parts.pods.take(&changes);
        let store = self.compiler.as_ref().map(Compiler::store);
        let before = |change: &tiphys_source::Change| {
            let key = &change.key;
            store.and_then(|store| store.get(key.kind, &key.namespace, &key.name)).map(|object| &**object)
        };
        self.gather.add(changes, &self.parts.debounce, Instant::now(), before);
        for id in mended {
            if let Some(report) = self.reports.remove(&id).filter(Report::is_error) {
                tracing::info!(target: "validation", "mended: {}", name_report(&report));
            }
        }
        for report in reports {
            log_report(&report);
            self.reports.insert(report.id.clone(), report);
        }
        self.publish();
        if !synced.is_empty() && !self.waiting_for.is_empty() {
            let named = |kind: &Kind| matches!(kind, Kind::Secret | Kind::ConfigMap);
            let others = self.waiting_for.iter().any(|kind| !named(kind));
            self.waiting_for.retain(|kind| !synced.contains(kind));
            if self.waiting_for.is_empty() {
                self.first_picture().await?;
            } else if others && self.waiting_for.iter().all(named) {
                // Only now it is known which of them are wanted.
                self.first_look().await?;
            }
        }
        Ok(())
    }

    /// All that waits, without waiting.
    fn all_due(&mut self) -> Due {
        let all = Debounce { after: std::time::Duration::ZERO, max: std::time::Duration::ZERO, endpoints: true };
        let due = self.gather.take(&all, Instant::now());
        due.unwrap_or(Due::nothing(self.started))
    }

    /// Makes a picture that nobody is served, for what it wants.
    async fn first_look(&mut self) -> anyhow::Result<()> {
        let changes = self.all_due().changes;
        let mut compiler = self.compiler.take().ok_or_else(|| anyhow::anyhow!("the compiler was lost"))?;
        let looked = tokio::task::spawn_blocking(move || {
            apply(&mut compiler, &changes);
            compiler.snapshot();
            compiler
        });
        self.tell_wanted(looked.await?);
        Ok(())
    }

    /// Takes the compiler back, and tells what it wants.
    fn tell_wanted(&mut self, compiler: Compiler) {
        self.parts.wanted.send_if_modified(|wanted| {
            let differs = wanted.as_ref() != Some(compiler.wanted());
            if differs {
                *wanted = Some(compiler.wanted().clone());
            }
            differs
        });
        self.compiler = Some(compiler);
    }

    async fn first_picture(&mut self) -> anyhow::Result<()> {
        let since = self.started;
        // Nothing to wait for any more: all there is goes into the first picture.
        let due = self.all_due();
        self.push(due).await?;
        self.parts.published.send_modify(|published| published.ready = true);
        let objects: usize = self.compiler()?.store().counts().map(|(_, count)| count).sum();
        let errors = self.reports.values().filter(|report| report.is_error()).count();
        tracing::info!(
            "the first picture is complete: {objects} objects, {errors} errors, after {:?}",
            since.elapsed()
        );
        Ok(())
    }

    fn take_mesh(&mut self) {
        if let Some(id) = self.mesh_report.take() {
            self.reports.remove(&id);
        }
        match self.parts.mesh_texts.read() {
            Ok((mesh, warnings)) => {
                warnings.iter().for_each(log_report);
                let before = self.parts.published.borrow().mesh.clone();
                if *before != mesh {
                    if before.trust_domain != mesh.trust_domain {
                        tracing::warn!(
                            "the trust domain changed: certificates are issued for {} until a restart",
                            before.trust_domain
                        );
                    }
                    if let Some(compiler) = &mut self.compiler {
                        compiler.set_mesh(&mesh);
                    }
                    self.parts.published.send_modify(|published| published.mesh = Arc::new(mesh));
                    self.gather.mesh_changed(Instant::now());
                }
            }
            Err(report) => {
                log_report(&report);
                self.mesh_report = Some(report.id.clone());
                self.reports.insert(report.id.clone(), *report);
            }
        }
        self.publish();
    }

    fn compiler(&self) -> anyhow::Result<&Compiler> {
        self.compiler.as_ref().ok_or_else(|| anyhow::anyhow!("the compiler was lost"))
    }

    fn answer(&self, answer: ObjectsQuery) {
        let Some(compiler) = &self.compiler else { return };
        let objects = Kind::ALL.iter().flat_map(|kind| compiler.store().of_kind(*kind).cloned()).collect();
        // Who asked may be gone.
        let _ = answer.send(objects);
    }

    fn publish(&self) {
        let errors = self.reports.values().filter(|report| report.is_error()).count();
        self.parts.metrics.rejected.set(i64::try_from(errors).unwrap_or(i64::MAX));
        let reports = Arc::new(self.reports.clone());
        self.parts.published.send_modify(|published| published.reports = reports);
    }

    /// A proxy of a new account can be started as soon as the account is pushed, so its token has to be there.
    async fn tell_accounts(&self, accounts: BTreeSet<ServiceAccount>) -> anyhow::Result<()> {
        self.parts.accounts.send_replace(accounts.clone());
        if let Some(issuer) = self.parts.tokens.clone() {
            tokio::task::spawn_blocking(move || write_tokens(&issuer, &accounts)).await?;
        }
        Ok(())
    }

    async fn push(&mut self, due: Due) -> anyhow::Result<()> {
        let Due { changes, mesh, since } = due;
        let metrics = self.parts.metrics.clone();
        metrics.debounce.observe(since.elapsed().as_secs_f64());
        // Changes of before the first picture may have been looked at already.
        let first = !self.parts.published.borrow().ready;
        let accounts = first || changes.iter().any(|change| change.key.kind == Kind::ServiceAccount);
        let proxy_configs = first || changes.iter().any(|change| change.key.kind == Kind::ProxyConfig);
        let touched = changes.iter().any(|change| change.key.kind.is_gateway_api());
        let what = match first {
            true => What::first(),
            false if changes.is_empty() && !mesh => What::next_step(),
            false => What::changed(changes.iter().map(|change| &change.key), mesh),
        };
        metrics.push_triggers.with_label_values(&[if mesh { "global" } else { trigger(&changes) }]).inc();
        let mut compiler = self.compiler.take().ok_or_else(|| anyhow::anyhow!("the compiler was lost"))?;
        let (views, pushes) = (self.parts.views.clone(), self.parts.pushes.clone());
        let named = what.clone();
        let made = tokio::task::spawn_blocking(move || {
            let began = std::time::Instant::now();
            apply(&mut compiler, &changes);
            let before = views.snapshot();
            let snapshot = compiler.snapshot();
            let took = began.elapsed();
            let services = snapshot.services.all.len();
            let generation = snapshot.generation;
            let serves = before.as_ref().is_none_or(|served| served.generation != generation);
            let pushed = serves.then(|| {
                log_warnings(&compiler, before.as_deref(), &snapshot);
                pushes.begin(generation, named, since);
                let pushed = views.advance(snapshot);
                pushes.told(generation, pushed);
                pushed
            });
            Made { compiler, generation, pushed, services, took }
        });
        let Made { compiler, generation, pushed, services, took } = made.await?;
        let step = StepPush { generation, changed: pushed.map_or(0, |pushed| pushed.changed), what: &what.names };
        self.parts.rollouts.pushed(compiler.rollout(), step, Instant::now());
        metrics.snapshot.observe(took.as_secs_f64());
        metrics.services.set(i64::try_from(services).unwrap_or(i64::MAX));
        metrics.count_objects(compiler.store().counts());
        if accounts {
            self.tell_accounts(service_accounts(&compiler)).await?;
        }
        if proxy_configs {
            let objects = Arc::new(compiler.store().of_kind(Kind::ProxyConfig).cloned().collect());
            self.parts.published.send_modify(|published| published.proxy_configs = objects);
        }
        self.parts.statuses.tell(&compiler, touched);
        self.tell_wanted(compiler);
        if pushed.is_none() {
            what.had_no_effect(since.elapsed());
        }
        Ok(())
    }
}

fn apply(compiler: &mut Compiler, changes: &[Change]) {
    for change in changes {
        in_force(change).into_iter().for_each(|(key, object)| compiler.apply(key, object));
    }
}

/// How many new warnings one push tells.
const TOLD: usize = 20;

/// Tells what is left out of objects, or replaced by a fail-safe form, and was not before; with the file where the object stands.
fn log_warnings(compiler: &Compiler, before: Option<&Snapshot>, snapshot: &Snapshot) {
    let known = |key: &Key, problem| {
        before.and_then(|before| before.warnings.get(key)).is_some_and(|problems| problems.contains(problem))
    };
    let all = snapshot.warnings.iter().flat_map(|(key, problems)| problems.iter().map(move |problem| (key, problem)));
    let new: Vec<_> = all.filter(|(key, problem)| !known(key, problem)).collect();
    for (key, problem) in new.iter().take(TOLD) {
        let object = compiler.store().get(key.kind, &key.namespace, &key.name);
        let place = object.map(|object| object.origin.to_string()).filter(|place| !place.is_empty());
        let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
        tracing::warn!(target: "model", "{place}{key}: {problem}");
    }
    if new.len() > TOLD {
        tracing::warn!(target: "model", "and {} more: see /debug/push_status", new.len() - TOLD);
    }
}

/// istiod's name for the reason of a push.
fn trigger(changes: &[Change]) -> &'static str {
    match changes.first().map(|change| change.key.kind) {
        Some(Kind::EndpointSlice | Kind::Endpoints | Kind::Pod) => "endpoint",
        Some(Kind::Service | Kind::ServiceEntry) => "service",
        Some(Kind::Secret) => "secret",
        _ => "config",
    }
}

/// Writes the tokens that are due; trouble is logged.
pub fn write_tokens(issuer: &DevTokenIssuer, accounts: &BTreeSet<ServiceAccount>) {
    match issuer.refresh(accounts) {
        Ok(0) => {}
        Ok(count) => tracing::info!("wrote {count} development tokens for {} service accounts", accounts.len()),
        Err(error) => tracing::error!("development tokens: {error}"),
    }
}

fn service_accounts(compiler: &Compiler) -> BTreeSet<ServiceAccount> {
    let accounts = compiler.store().of_kind(Kind::ServiceAccount);
    accounts.map(|o| ServiceAccount { namespace: o.meta.namespace.clone(), name: o.meta.name.clone() }).collect()
}

/// One line of the log for each problem.
pub fn log_report(report: &Report) {
    let outcome = report.outcome;
    for (line, located) in report.lines().zip(&report.problems) {
        match located.problem.severity {
            Severity::Error => tracing::error!(target: "validation", "{line} ({outcome})"),
            Severity::Warning => tracing::warn!(target: "validation", "{line}"),
        }
    }
}

fn name_report(report: &Report) -> String {
    let key = report.id.key.as_ref().map(|key| format!(" {key}")).unwrap_or_default();
    format!("{}{key}", report.origin)
}
