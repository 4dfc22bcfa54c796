// SPDX-License-Identifier: Apache-2.0
//! The configuration that is measured: many ServiceEntries of a few endpoints each on HTTP port 80, and VirtualServices for some.
//!
//! The three objects that change have files of their own, so that a change rewrites one small file.

use anyhow::{Context, Result};
use clap::Args;
use std::fmt::Write;
use std::path::Path;

/// How large the case is.
#[derive(Args, Clone, Debug)]
pub struct Size {
    /// How many services.
    #[arg(long, default_value_t = 1_000)]
    pub services: usize,
    /// How many endpoints each service has.
    #[arg(long, default_value_t = 3)]
    pub endpoints: usize,
    /// How many services have a VirtualService.
    #[arg(long, default_value_t = 101)]
    pub virtual_services: usize,
}

/// The namespace of all objects and sidecars.
pub const NAMESPACE: &str = "bench";

/// One of the objects that change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An endpoint of a service has another address.
    Endpoint,
    /// A VirtualService has another timeout.
    VirtualService,
    /// A DestinationRule has one more subset, or one less.
    DestinationRule,
}

impl Change {
    /// All changes, in the order of measuring.
    pub const ALL: [Self; 3] = [Self::Endpoint, Self::VirtualService, Self::DestinationRule];

    /// What it is called in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::VirtualService => "VirtualService",
            Self::DestinationRule => "DestinationRule",
        }
    }

    /// The file of the object.
    pub fn file(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint.yaml",
            Self::VirtualService => "virtualservice.yaml",
            Self::DestinationRule => "destinationrule.yaml",
        }
    }

    /// Writes the object in its given version, whole at once.
    pub fn write(self, folder: &Path, size: &Size, version: usize) -> Result<()> {
        let text = match self {
            Self::Endpoint => service_entry(size, 0, version),
            Self::VirtualService => virtual_service(0, version),
            Self::DestinationRule => destination_rule(version),
        };
        put(folder, self.file(), &text)
    }
}

/// Writes the case into a folder.
pub fn write(folder: &Path, size: &Size) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n");
    put(folder, "namespace.yaml", &namespace)?;
    for change in Change::ALL {
        change.write(folder, size, 0)?;
    }
    for begin in (1..size.services).step_by(100) {
        let services = begin..(begin + 100).min(size.services);
        let text: String = services.map(|i| service_entry(size, i, 0)).collect();
        put(folder, &format!("serviceentries-{begin:05}.yaml"), &text)?;
    }
    let text: String = (1..size.virtual_services).map(|i| virtual_service(i, 0)).collect();
    put(folder, "virtualservices.yaml", &text)
}

/// A reader sees the old file or the new one, never a part.
fn put(folder: &Path, name: &str, text: &str) -> Result<()> {
    let (path, draft) = (folder.join(name), folder.join(format!(".{name}.draft")));
    std::fs::write(&draft, text).with_context(|| format!("cannot write {}", draft.display()))?;
    std::fs::rename(&draft, &path).with_context(|| format!("cannot write {}", path.display()))
}

fn host(i: usize) -> String {
    format!("service-{i:05}.bench.example")
}

fn head(kind: &str, group: &str, name: &str) -> String {
    format!("---\napiVersion: {group}/v1\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: {NAMESPACE}\nspec:\n")
}

fn service_entry(size: &Size, i: usize, version: usize) -> String {
    let mut text = head("ServiceEntry", "networking.istio.io", &format!("service-{i:05}"));
    let _ = write!(
        text,
        "  hosts: [{}]\n  location: MESH_INTERNAL\n  resolution: STATIC\n  ports:\n  - {{number: 80, name: http, protocol: HTTP}}\n  endpoints:\n",
        host(i)
    );
    for e in 0..size.endpoints {
        // Only the first endpoint moves, within a range of its own.
        let last = if e == 0 { 100 + version % 150 } else { e };
        let (second, third) = (100 + i / 250, i % 250);
        let subset = 1 + e % 2;
        let _ = writeln!(
            text,
            "  - {{address: 10.{second}.{third}.{last}, labels: {{app: service-{i:05}, version: v{subset}}}}}"
        );
    }
    text
}

fn virtual_service(i: usize, version: usize) -> String {
    let mut text = head("VirtualService", "networking.istio.io", &format!("service-{i:05}"));
    let (own, other) = (host(i), host(i + 1));
    let _ = write!(
        text,
        "  hosts: [{own}]\n  http:\n  - match:\n    - headers: {{x-canary: {{exact: \"true\"}}}}\n    route:\n    - destination: {{host: {other}}}\n  - timeout: {}s\n    route:\n    - destination: {{host: {own}}}\n      weight: 90\n    - destination: {{host: {other}}}\n      weight: 10\n",
        5 + version % 2
    );
    text
}

fn destination_rule(version: usize) -> String {
    let mut text = head("DestinationRule", "networking.istio.io", "service-00000");
    let _ = write!(text, "  host: {}\n  subsets:\n  - {{name: v1, labels: {{version: v1}}}}\n", host(0));
    if version % 2 == 1 {
        text.push_str("  - {name: v2, labels: {version: v2}}\n");
    }
    text
}
