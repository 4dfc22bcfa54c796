// SPDX-License-Identifier: Apache-2.0
//! The mesh's settings: texts of MeshConfig in, the one that is in force out.
//!
//! The mounted file is primary. Without one the ConfigMap `istio` (`istio-REVISION` for a revision) is, of the cluster or of the folder. Beneath either
//! lies the ConfigMap that SHARED_MESH_CONFIG names: what the primary text sets wins. A text that cannot be read changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tiphys_api::mesh::{MeshConfig, MeshNetworks};
use tiphys_api::{Key, Kind, Object, Origin, Problem, Severity, Spec};
use tiphys_source::dir::{Pace, Text, TextFile, find_once};
use tiphys_source::kube::ConfigMapText;
use tiphys_source::{Change, Located, Outcome, Report, ReportId};

use crate::cli::ServeArgs;
use crate::kubernetes::Cluster;
use crate::settings::Settings;

/// The key of MeshConfig in a ConfigMap.
const KEY: &str = "mesh";
/// The key of MeshNetworks.
const NETWORKS: &str = "meshNetworks";

/// What the texts say: the settings with warnings, or what is wrong.
pub type Read = Result<(MeshConfig, Vec<Report>), Box<Report>>;

/// A watched text.
enum Watched {
    File(Box<TextFile>),
    ConfigMap(ConfigMapText),
}

impl Watched {
    async fn next(&mut self) -> Text {
        match self {
            Self::File(file) => file.next().await,
            Self::ConfigMap(text) => text.next().await,
        }
    }

    fn place(&self) -> PathBuf {
        match self {
            Self::File(file) => file.path().to_owned(),
            Self::ConfigMap(text) => text.place().to_owned(),
        }
    }
}

/// A text, and what it said last.
struct Layer {
    watched: Watched,
    last: Text,
}

impl Layer {
    async fn open(mut watched: Watched) -> Self {
        let last = watched.next().await;
        if last == Text::Missing {
            tracing::info!("there is no {}", watched.place().display());
        }
        Self { watched, last }
    }
}

/// The ConfigMap of the folder, which counts while there is no file.
struct InFolder {
    key: Key,
    place: PathBuf,
    text: Text,
}

impl InFolder {
    fn new(key: Key, object: Option<&Object>) -> Self {
        let mut own = Self { place: PathBuf::from(key.to_string()), key, text: Text::Missing };
        own.take(object);
        own
    }

    /// Takes the object as it is now. Gives whether its text is another.
    fn take(&mut self, object: Option<&Object>) -> bool {
        let data = object.and_then(|object| match &object.spec {
            Spec::ConfigMap(map) => Some(&map.data),
            _ => None,
        });
        if let Some(networks) = data.and_then(|data| data.get(NETWORKS)).filter(|text| names_networks(text)) {
            tracing::warn!(
                "{} data.{NETWORKS} has no effect ({} bytes): there is one network",
                self.key,
                networks.len()
            );
        }
        if let Some(object) = object {
            self.place = PathBuf::from(format!("{}: {} data.{KEY}", object.origin, self.key));
        }
        let text = data.and_then(|data| data.get(KEY)).map_or(Text::Missing, |text| Text::Is(text.clone()));
        std::mem::replace(&mut self.text, text.clone()) != text
    }
}

/// Whether a text of MeshNetworks names any network: the charts write one that does not.
fn names_networks(text: &str) -> bool {
    MeshNetworks::from_yaml(text).map_or(true, |(networks, _)| !networks.networks.is_empty())
}

/// The watched texts of MeshConfig.
pub struct MeshTexts {
    shared: Option<Layer>,
    primary: Layer,
    folder: Option<InFolder>,
}

impl MeshTexts {
    /// Opens what the flags and the environment name, and waits for the first text of each.
    pub async fn open(args: &ServeArgs, settings: &Settings, cluster: Option<&Cluster>) -> Self {
        let config_map = |cluster: &Cluster, name: &str| {
            Watched::ConfigMap(ConfigMapText::watch(cluster.client.clone(), &args.namespace, name, KEY))
        };
        let shared = match cluster {
            Some(cluster) if !settings.shared_mesh_config.is_empty() => {
                Some(Layer::open(config_map(cluster, &settings.shared_mesh_config)).await)
            }
            _ => None,
        };
        let primary = match cluster {
            Some(cluster) if !args.mesh_config.exists() => config_map(cluster, &config_map_name(&settings.revision)),
            _ => Watched::File(Box::new(TextFile::watch(&args.mesh_config, Pace::default()))),
        };
        let folder = args.config_dir.as_ref().map(|root| {
            let name = config_map_name(&settings.revision);
            let key = Key { kind: Kind::ConfigMap, namespace: args.namespace.clone(), name };
            let found = find_once(root, &key);
            InFolder::new(key, found.as_deref())
        });
        Self { shared, primary: Layer::open(primary).await, folder }
    }

    /// Takes note of an object of the folder. Gives whether what the texts say may be another now.
    pub fn take(&mut self, change: &Change) -> bool {
        let Some(folder) = self.folder.as_mut().filter(|folder| folder.key == change.key) else { return false };
        folder.take(change.object.as_deref()) && self.primary.last == Text::Missing
    }

    /// What the texts say now.
    pub fn read(&self) -> Read {
        let mut all = (MeshConfig::default(), Vec::new());
        let primary = match &self.folder {
            Some(folder) if self.primary.last == Text::Missing => (folder.place.clone(), &folder.text),
            _ => (self.primary.watched.place(), &self.primary.last),
        };
        let shared = self.shared.iter().map(|layer| (layer.watched.place(), &layer.last));
        for (place, text) in shared.chain([primary]) {
            let (mesh, reports) = lay(&all.0, &place, text)?;
            all.0 = mesh;
            all.1.extend(reports);
        }
        Ok(all)
    }

    /// Waits until a text changes. No change is lost when the caller drops the future and asks again.
    pub async fn changed(&mut self) {
        let shared = async {
            match &mut self.shared {
                Some(layer) => layer.last = layer.watched.next().await,
                None => std::future::pending().await,
            }
        };
        let primary = &mut self.primary;
        tokio::select! {
            () = shared => {}
            text = primary.watched.next() => primary.last = text,
        }
    }
}

/// The ConfigMap of a revision.
fn config_map_name(revision: &str) -> String {
    match revision {
        "" | "default" => "istio".to_owned(),
        revision => format!("istio-{revision}"),
    }
}

/// Lays a text over settings.
fn lay(beneath: &MeshConfig, path: &Path, text: &Text) -> Read {
    let report = |line: usize, column: usize, problem: Problem| {
        let place: Arc<Path> = Arc::from(path);
        let origin = Origin { file: Some(place.clone()), line, column };
        let outcome = if problem.severity == Severity::Error { Outcome::Kept } else { Outcome::InForce };
        let problems = vec![Located { origin: origin.clone(), problem }];
        Report { id: ReportId { place, key: None, nth: 0 }, origin, problems, outcome }
    };
    match text {
        Text::Missing => Ok((beneath.clone(), Vec::new())),
        Text::Unreadable(why) => Err(Box::new(report(0, 0, Problem::error("", format!("cannot be read: {why}"))))),
        Text::Is(text) => match beneath.merge_yaml(text) {
            Ok((mesh, mut warnings)) => {
                warnings.extend(tiphys_compile::mesh_problems(&mesh));
                let place = |path: &str| tiphys_api::locate_field(text, path).unwrap_or((1, 1));
                let reports = warnings.into_iter().map(|w| {
                    let (line, column) = place(&w.path);
                    report(line, column, w)
                });
                Ok((mesh, reports.collect()))
            }
            Err(e) => Err(Box::new(report(e.line, e.column, Problem::error(e.path, e.message)))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primary_text_wins_over_the_shared_one() {
        let (shared, primary) =
            (Text::Is("trustDomain: a\nrootNamespace: r".into()), Text::Is("trustDomain: b".into()));
        let (mesh, _) = lay(&MeshConfig::default(), Path::new("shared"), &shared).unwrap();
        let (mesh, _) = lay(&mesh, Path::new("primary"), &primary).unwrap();
        assert_eq!((mesh.trust_domain.as_str(), mesh.root_namespace.as_str()), ("b", "r"));
    }

    #[test]
    fn a_revision_has_its_own_config_map() {
        assert_eq!(
            [config_map_name(""), config_map_name("default"), config_map_name("v2")],
            ["istio", "istio", "istio-v2"]
        );
    }
}
