// SPDX-License-Identifier: Apache-2.0
//! The two texts of the injection's configuration: files of a folder, or, in a cluster without that folder, keys of a ConfigMap.

use std::path::Path;

use tiphys_source::dir::{Pace, Text, TextFile};
use tiphys_source::kube::ConfigMapText;

use crate::cli::ServeArgs;
use crate::kubernetes::Cluster;
use crate::settings::Settings;

/// Keys of the ConfigMap, and names of the files.
const KEYS: [&str; 2] = ["config", "values"];

enum Watched {
    File(Box<TextFile>),
    ConfigMap(ConfigMapText),
}

struct Layer {
    watched: Watched,
    last: Option<String>,
}

impl Layer {
    async fn next(&mut self) {
        let (text, place) = match &mut self.watched {
            Watched::File(file) => (file.next().await, file.path().to_owned()),
            Watched::ConfigMap(text) => (text.next().await, text.place().to_owned()),
        };
        match text {
            Text::Is(text) => self.last = Some(text),
            Text::Missing => tracing::warn!(target: "webhook", "there is no {}", place.display()),
            Text::Unreadable(why) => tracing::error!(target: "webhook", "{}: {why}", place.display()),
        }
    }
}

/// The watched texts.
pub struct InjectionTexts {
    place: String,
    config: Layer,
    values: Layer,
}

impl InjectionTexts {
    /// Starts watching; none where there is neither the folder nor a cluster.
    pub fn open(args: &ServeArgs, settings: &Settings, cluster: Option<&Cluster>) -> Option<Self> {
        let folder = &args.injection_dir;
        if folder.join(KEYS[0]).exists() {
            let [config, values] = KEYS.map(|key| file(&folder.join(key)));
            return Some(Self { place: folder.display().to_string(), config, values });
        }
        let cluster = cluster?;
        let name = match settings.revision.as_str() {
            "" | "default" => "istio-sidecar-injector".to_owned(),
            revision => format!("istio-sidecar-injector-{revision}"),
        };
        let [config, values] = KEYS.map(|key| {
            let text = ConfigMapText::watch(cluster.client.clone(), &args.namespace, &name, key);
            Layer { watched: Watched::ConfigMap(text), last: None }
        });
        Some(Self { place: format!("ConfigMap {}/{name}", args.namespace), config, values })
    }

    /// Where they are.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Waits until one of them changes.
    pub async fn changed(&mut self) {
        tokio::select! {
            () = self.config.next() => {}
            () = self.values.next() => {}
        }
    }

    /// Config and values, once both are known.
    pub fn both(&self) -> Option<(&str, &str)> {
        Some((self.config.last.as_deref()?, self.values.last.as_deref()?))
    }
}

fn file(path: &Path) -> Layer {
    Layer { watched: Watched::File(Box::new(TextFile::watch(path, Pace::default()))), last: None }
}
