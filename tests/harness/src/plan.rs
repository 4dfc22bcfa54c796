// SPDX-License-Identifier: Apache-2.0
//! Which programs stand for the workloads of a sample. The YAML says what the mesh is; this says what runs for it: an agent with
//! its Envoy for each workload in the mesh, and an echo service for each application.

use std::collections::BTreeMap;

/// What runs for a workload.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Name, unique in the plan: that of its WorkloadEntry.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Last part of its address.
    pub host: u8,
    /// Its place in the mesh.
    pub role: Role,
    /// The application.
    pub app: Option<App>,
}

/// A workload's place in the mesh.
#[derive(Clone, Debug)]
pub enum Role {
    /// A gateway.
    Gateway(Identity),
    /// An application with a sidecar, which takes what the application sends on host + 100.
    Sidecar(Identity),
    /// An application without a sidecar.
    Outside,
}

/// As whom a proxy introduces itself.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its service account.
    pub account: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// An echo service, and where it serves.
#[derive(Clone, Debug, Default)]
pub struct App {
    /// The service's name in its answers.
    pub service: String,
    /// The version in its answers.
    pub version: String,
    /// Port of HTTP/1 and h2c.
    pub http: Option<u16>,
    /// Port of HTTP over TLS, with a certificate for this name.
    pub https: Option<(u16, String)>,
    /// Port of lines of text.
    pub tcp: Option<u16>,
}

impl Workload {
    /// The service account and labels of a workload in the mesh.
    pub fn identity(&self) -> Option<&Identity> {
        match &self.role {
            Role::Gateway(identity) | Role::Sidecar(identity) => Some(identity),
            Role::Outside => None,
        }
    }

    /// An application of bookinfo with its sidecar.
    pub fn bookinfo(service: &str, version: &str, host: u8) -> Workload {
        let labels = [("app", service), ("version", version)].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let identity = Identity { account: format!("bookinfo-{service}"), labels: labels.into() };
        let app = App { service: service.to_owned(), version: version.to_owned(), http: Some(8080), ..App::default() };
        Workload {
            name: format!("{service}-{version}"),
            namespace: "bookinfo".to_owned(),
            host,
            role: Role::Sidecar(identity),
            app: Some(app),
        }
    }
}

/// The workloads of `samples/bookinfo`.
pub fn bookinfo() -> Vec<Workload> {
    let gateway = "istio-ingressgateway".to_owned();
    let labels = [("app", gateway.as_str()), ("istio", "ingressgateway")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let identity = Identity { account: gateway.clone(), labels: labels.into() };
    let gateway = Workload {
        name: gateway,
        namespace: "istio-system".to_owned(),
        host: 10,
        role: Role::Gateway(identity),
        app: None,
    };
    let outside = |service: &str, host, app: App| Workload {
        name: service.to_owned(),
        namespace: "bookinfo".to_owned(),
        host,
        role: Role::Outside,
        app: Some(App { service: service.to_owned(), version: "v1".to_owned(), ..app }),
    };
    let mut details = Workload::bookinfo("details", "v1", 12);
    if let Some(app) = &mut details.app {
        app.tcp = Some(8090);
    }
    vec![
        gateway,
        Workload::bookinfo("productpage", "v1", 11),
        details,
        Workload::bookinfo("reviews", "v1", 13),
        Workload::bookinfo("reviews", "v2", 14),
        Workload::bookinfo("reviews", "v3", 15),
        Workload::bookinfo("ratings", "v1", 16),
        outside("example", 21, App { http: Some(9080), ..App::default() }),
        outside("secure", 22, App { https: Some((8443, "secure.bookinfo.example".to_owned())), ..App::default() }),
    ]
}
