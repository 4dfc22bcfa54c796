// SPDX-License-Identifier: Apache-2.0
//! The gateways of one proxy merged into one picture: which servers share a port, which of them are left out because they clash,
//! and which servers each route configuration is made of.

use crate::{Gateway, Host, Marked, Protocol, Server, Str};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A port that a gateway proxy listens at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ServerPort {
    /// Port of the workload.
    pub number: u32,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Address to listen at; empty = all.
    pub bind: Str,
}

/// One server in the merged picture.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MergedServer {
    /// The gateway that it is of.
    pub gateway: Marked<Gateway>,
    /// Its place among the gateway's servers.
    pub index: usize,
    /// Name of its route configuration; none when requests are not routed.
    pub route_name: Option<Str>,
}

impl MergedServer {
    /// The server itself.
    pub fn server(&self) -> &Server {
        // `merge` takes the index from this very list.
        &self.gateway.servers[self.index]
    }
}

/// The servers of one port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MergedPort {
    /// The port.
    pub port: ServerPort,
    /// Its servers; those of plain HTTP share the first one's route configuration.
    pub servers: Vec<MergedServer>,
}

/// A server that is left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Conflict {
    /// Gateway as `NAMESPACE/NAME`.
    pub gateway: Str,
    /// Port that it asked for.
    pub port: u32,
    /// Why it is left out.
    pub reason: String,
}

/// All servers of one proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MergedGateway {
    /// Ports in the order in which they were met.
    pub ports: Vec<MergedPort>,
    /// Servers by the name of their route configuration.
    pub routes: BTreeMap<Str, Vec<MergedServer>>,
    /// Servers that are left out.
    pub conflicts: Vec<Conflict>,
}

/// State of a merge.
#[derive(Default)]
struct Merge {
    merged: MergedGateway,
    /// Port numbers that are taken.
    taken: BTreeSet<u32>,
    /// The first plain text server of a port.
    plain: BTreeMap<u32, ServerPort>,
    /// Hosts of TLS servers by port, with the address they are bound to.
    tls_hosts: BTreeMap<u32, BTreeMap<(Option<Str>, Host), Str>>,
}

impl MergedGateway {
    /// Merges gateways in the given order (oldest first). `resolve` tells at which ports of the workload a gateway's port is
    /// opened.
    pub fn merge(gateways: &[Marked<Gateway>], resolve: impl Fn(&Gateway, u32) -> Vec<u32>) -> Self {
        let mut merge = Merge::default();
        for gateway in gateways {
            for (index, server) in gateway.servers.iter().enumerate() {
                for number in resolve(gateway, server.port) {
                    let route_name = server.route_name(gateway, number);
                    let one = MergedServer { gateway: gateway.clone(), index, route_name };
                    let port = ServerPort { number, protocol: server.protocol, bind: server.bind.clone() };
                    if let Err(reason) = merge.add(one, port) {
                        let conflict = Conflict { gateway: gateway.key(), port: server.port, reason };
                        merge.merged.conflicts.push(conflict);
                    }
                }
            }
        }
        merge.merged
    }
}

impl Merge {
    fn add(&mut self, one: MergedServer, port: ServerPort) -> Result<(), String> {
        if one.server().tls.is_some() {
            self.claim_hosts(one.server(), &port)?;
        }
        if self.taken.insert(port.number) {
            if !one.server().is_tls() {
                self.plain.insert(port.number, port.clone());
            }
            self.open(one, port);
            return Ok(());
        }
        match self.plain.get(&port.number).cloned() {
            Some(current) => self.join_plain(one, port, &current),
            None => self.join_tls(one, port),
        }
    }

    /// Envoy refuses two filter chains of the same server name: the first one to ask for it has it.
    fn claim_hosts(&mut self, server: &Server, port: &ServerPort) -> Result<(), String> {
        let known = self.tls_hosts.entry(port.number).or_default();
        let key = |host: &crate::ServerHost| (host.namespace.clone(), host.host.clone());
        let twice: Vec<String> = server
            .hosts
            .iter()
            .filter(|host| known.get(&key(host)) == Some(&server.bind))
            .map(ToString::to_string)
            .collect();
        if !twice.is_empty() {
            return Err(format!("host {} is served on port {} by another server", twice.join(", "), port.number));
        }
        known.extend(server.hosts.iter().map(|host| (key(host), server.bind.clone())));
        Ok(())
    }

    /// The port has a plain text server already.
    fn join_plain(&mut self, one: MergedServer, port: ServerPort, current: &ServerPort) -> Result<(), String> {
        if current.bind != port.bind {
            self.append(one, port);
            return Ok(());
        }
        let mergeable = port.protocol.is_http() && current.protocol.is_http();
        if !mergeable || one.route_name.is_none() {
            let (number, theirs) = (port.number, current.protocol.as_str());
            return Err(format!("port {number} is served as {theirs}, {} cannot share it", port.protocol.as_str()));
        }
        self.append(one, current.clone());
        Ok(())
    }

    /// The port has only TLS servers so far.
    fn join_tls(&mut self, one: MergedServer, port: ServerPort) -> Result<(), String> {
        let server = one.server();
        if !server.is_tls() {
            self.plain.insert(port.number, port.clone());
            self.open(one, port);
            return Ok(());
        }
        if server.is_http() && one.route_name.as_ref().is_some_and(|name| self.merged.routes.contains_key(name)) {
            return Err(format!("port name {:?} is used twice on port {}", server.port_name, port.number));
        }
        self.append(one, port);
        Ok(())
    }

    fn append(&mut self, one: MergedServer, port: ServerPort) {
        let Some(place) = self.merged.ports.iter().position(|merged| merged.port == port) else {
            if !one.server().is_tls() {
                self.plain.insert(port.number, port.clone());
            }
            return self.open(one, port);
        };
        self.record_route(&one);
        self.merged.ports[place].servers.push(one);
    }

    fn open(&mut self, one: MergedServer, port: ServerPort) {
        self.record_route(&one);
        self.merged.ports.push(MergedPort { port, servers: vec![one] });
    }

    fn record_route(&mut self, one: &MergedServer) {
        if let Some(name) = &one.route_name
            && one.server().is_http()
        {
            self.merged.routes.entry(name.clone()).or_default().push(one.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ServerHost, ServerTls, ServerTlsMode};

    fn server(port: u32, protocol: Protocol, host: &str) -> Server {
        let tls = protocol.is_tls().then(|| ServerTls { mode: ServerTlsMode::Simple, ..ServerTls::default() });
        let hosts = vec![ServerHost::parse(host, "ns")];
        Server { port, port_name: host.into(), protocol, hosts, tls, ..Server::default() }
    }

    fn merge(servers: &[Server]) -> MergedGateway {
        let gateways: Vec<_> = servers
            .iter()
            .enumerate()
            .map(|(n, server)| {
                let (name, namespace) = (format!("g{n}").into(), "ns".into());
                Marked::new(Gateway { name, namespace, servers: vec![server.clone()], ..Gateway::default() })
            })
            .collect();
        MergedGateway::merge(&gateways, |_, port| vec![port + 8000])
    }

    #[test]
    fn plain_http_shares_a_port_and_routes() {
        let merged = merge(&[server(80, Protocol::Http, "a"), server(80, Protocol::Http2, "b")]);
        assert_eq!(merged.ports.len(), 1);
        assert_eq!(merged.ports[0].servers.len(), 2);
        assert_eq!(merged.routes["http.8080"].len(), 2);
    }

    #[test]
    fn tls_servers_share_a_port_by_server_name() {
        let merged = merge(&[
            server(443, Protocol::Https, "a.com"),
            server(443, Protocol::Https, "b.com"),
            server(443, Protocol::Https, "a.com"),
        ]);
        assert_eq!(merged.ports[0].servers.len(), 2);
        assert_eq!(
            merged.routes.keys().map(|k| &**k).collect::<Vec<_>>(),
            ["https.443.a.com.g0.ns", "https.443.b.com.g1.ns"]
        );
        assert_eq!(merged.conflicts.len(), 1);
        assert!(merged.conflicts[0].reason.contains("a.com"));
    }

    #[test]
    fn other_protocols_clash() {
        let merged = merge(&[server(80, Protocol::Http, "a"), server(80, Protocol::Tcp, "b")]);
        assert_eq!(merged.ports.len(), 1);
        assert!(merged.conflicts[0].reason.contains("TCP cannot share"));
    }
}
