// SPDX-License-Identifier: Apache-2.0
//! A discovery service with ready-made tables as large as those of the generated case. When one of the files that `run` changes
//! has another content, one resource has: so it shows what the service costs without the making of configuration.

use crate::case::{self, Change};
use anyhow::Result;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tiphys_proto::envoy::config::cluster::v3::{Cluster, cluster};
use tiphys_proto::envoy::config::core::v3::{AggregatedConfigSource, ConfigSource as From, Node, config_source};
use tiphys_proto::envoy::config::endpoint::v3::ClusterLoadAssignment;
use tiphys_proto::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use tiphys_proto::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use tiphys_proto::envoy::extensions::filters::network::http_connection_manager::v3 as http;
use tiphys_xds::{
    AdsService, ClientView, ConfigSource, Entry, Options, Peer, ResourceType, Signal, Signals, Table, incoming,
};
use tonic::service::Routes;

/// The arguments of a control plane that matter here; others are taken and passed over.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The folder with the generated case.
    #[arg(long = "configDir")]
    config: PathBuf,
    /// Where to listen for plaintext xDS.
    #[arg(long = "grpcAddr")]
    address: SocketAddr,
    #[arg(long = "secureGRPCAddr", hide = true)]
    secure: Option<String>,
    #[arg(long = "httpAddr", hide = true)]
    http: Option<String>,
    #[arg(long = "httpsAddr", hide = true)]
    https: Option<String>,
    #[arg(long = "monitoringAddr", hide = true)]
    monitoring: Option<String>,
    #[command(flatten)]
    size: case::Size,
}

struct Stub {
    view: RwLock<Arc<ClientView>>,
    signals: Signals,
}

impl ConfigSource for Stub {
    type Client = ();

    fn connect(&self, _: &Node, _: &Peer, signal: &Arc<Signal>) -> Result<(), tonic::Status> {
        self.signals.add(signal);
        Ok(())
    }

    fn view(&self, (): &()) -> Arc<ClientView> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Serves until it is killed.
pub async fn serve(settings: &Settings) -> Result<()> {
    let stub = Arc::new(Stub { view: RwLock::new(Arc::new(first(settings))), signals: Signals::default() });
    let options = Options::default();
    let ads = AdsService::new(Arc::clone(&stub), options.clone());
    let server = options.transport().layer(ads).add_routes(Routes::default());
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(settings.address)?;
    let mut server = tokio::spawn(server.serve_with_incoming(incoming(socket.listen(4096)?)));
    let read = |change: Change| std::fs::read(settings.config.join(change.file())).unwrap_or_default();
    let mut seen = Change::ALL.map(read);
    loop {
        tokio::select! {
            ended = &mut server => return Ok(ended??),
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
        for (change, seen) in Change::ALL.iter().zip(&mut seen) {
            let now = read(*change);
            if now != *seen {
                *seen = now;
                let view = stub.view(&());
                let view = next(&view, *change, settings, view.generation() + 1);
                *stub.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
                stub.signals.raise();
            }
        }
    }
}

fn name(i: usize) -> String {
    format!("outbound|80||service-{i:05}.bench.example")
}

fn first(settings: &Settings) -> ClientView {
    let services = 0..settings.size.services;
    let clusters = services.clone().map(|i| cluster(&name(i))).collect();
    let endpoints = services.map(|i| endpoints(&name(i), settings, 0)).collect();
    ClientView::new(0)
        .with(ResourceType::CLUSTER, Table::from_entries(clusters))
        .with(ResourceType::ENDPOINT, Table::from_entries(endpoints))
        .with(ResourceType::LISTENER, Table::from_entries(vec![listener()]))
        .with(ResourceType::ROUTE, Table::from_entries(vec![routes(settings, 0)]))
}

fn next(view: &ClientView, change: Change, settings: &Settings, generation: u64) -> ClientView {
    let table = |ty| view.table(ty).cloned().unwrap_or_default();
    let [mut clusters, mut assignments] = [ResourceType::CLUSTER, ResourceType::ENDPOINT].map(table);
    let mut route = table(ResourceType::ROUTE);
    match change {
        Change::Endpoint => assignments = assignments.patch(vec![endpoints(&name(0), settings, generation)], &[]),
        Change::VirtualService => route = route.patch(vec![routes(settings, generation)], &[]),
        Change::DestinationRule => {
            let subset = "outbound|80|v2|service-00000.bench.example";
            let there = clusters.contains(subset);
            let gone = if there { vec![Arc::from(subset)] } else { Vec::new() };
            let new = |entry| if there { Vec::new() } else { vec![entry] };
            clusters = clusters.patch(new(cluster(subset)), &gone);
            assignments = assignments.patch(new(endpoints(subset, settings, generation)), &gone);
        }
    }
    ClientView::new(generation)
        .with(ResourceType::CLUSTER, clusters)
        .with(ResourceType::ENDPOINT, assignments)
        .with(ResourceType::LISTENER, table(ResourceType::LISTENER))
        .with(ResourceType::ROUTE, route)
}

fn ads() -> From {
    From {
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(AggregatedConfigSource::default())),
        ..Default::default()
    }
}

/// A cluster as large as those of a mesh with mutual TLS.
fn cluster(name: &str) -> Entry {
    let eds = cluster::EdsClusterConfig { eds_config: Some(ads()), service_name: name.into() };
    let message = Cluster {
        name: name.into(),
        alt_stat_name: "x".repeat(900),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds.into())),
        eds_cluster_config: Some(eds),
        ..Default::default()
    };
    Entry::of(name, &message)
}

fn endpoints(name: &str, settings: &Settings, version: u64) -> Entry {
    let filler = format!("{version:08}").repeat(25 * settings.size.endpoints / 2);
    let named = std::iter::once((filler, Default::default())).collect();
    let message = ClusterLoadAssignment { cluster_name: name.into(), named_endpoints: named, ..Default::default() };
    Entry::of(name, &message)
}

fn listener() -> Entry {
    let rds = http::Rds { config_source: Some(ads()), route_config_name: "80".into() };
    let manager = http::HttpConnectionManager {
        route_specifier: Some(http::http_connection_manager::RouteSpecifier::Rds(rds)),
        ..Default::default()
    };
    let config = filter::ConfigType::TypedConfig(tiphys_proto::to_any(&manager));
    let filters = vec![Filter { config_type: Some(config), ..Default::default() }];
    let chain = FilterChain { filters, ..Default::default() };
    let name = "0.0.0.0_80";
    Entry::of(name, &Listener { name: name.into(), filter_chains: vec![chain], ..Default::default() })
}

fn routes(settings: &Settings, version: u64) -> Entry {
    let host = |i| VirtualHost { name: name(i), domains: vec![format!("{i:400}")], ..Default::default() };
    let mut virtual_hosts: Vec<VirtualHost> = (0..settings.size.services).map(host).collect();
    if let Some(first) = virtual_hosts.first_mut() {
        first.domains.push(version.to_string());
    }
    Entry::of("80", &RouteConfiguration { name: "80".into(), virtual_hosts, ..Default::default() })
}
