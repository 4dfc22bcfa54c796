// SPDX-License-Identifier: Apache-2.0
//! What runs on a node, with which arguments. The control plane trusts the administrator's token everywhere: what is tested here is
//! what runs on Kubernetes, not Kubernetes.

use crate::plan::{Node, Plan};
use crate::programs::Programs;
use serde_json::{Value, json};

/// The components of a node, as its first process reads them.
pub fn list(plan: &Plan, node: &Node, programs: &Programs) -> Value {
    let mut list = Vec::new();
    if node.number == 1 {
        list.extend([
            ("etcd", None, etcd()),
            ("kube-apiserver", Some("127.0.0.1:2379"), api_server(plan, node)),
            ("kube-controller-manager", Some("127.0.0.1:6443"), controller_manager(plan)),
            ("kube-scheduler", Some("127.0.0.1:6443"), scheduler(plan)),
            ("load-balancer", Some("127.0.0.1:6443"), load_balancer(plan)),
        ]);
    }
    let server = format!("{}:6443", plan.control_plane().ip);
    list.push(("kubelet", Some(server.as_str()), kubelet(plan, node)));
    list.push(("kube-proxy", Some(server.as_str()), kube_proxy(plan, node)));
    let kubernetes = programs.kubernetes.to_string_lossy().into_owned();
    let containerd = vec!["containerd".to_owned(), "--config".to_owned(), text(node.etc().join("containerd.toml"))];
    let mut components = vec![component(node, "containerd", None, containerd)];
    for (name, after, arguments) in list {
        let command = [kubernetes.clone(), name.to_owned()].into_iter().chain(arguments).collect();
        components.push(component(node, name, after, command));
    }
    Value::Array(components)
}

fn component(node: &Node, name: &str, after: Option<&str>, command: Vec<String>) -> Value {
    json!({ "name": name, "after": after, "command": command, "log": node.logs.join(format!("{name}.log")) })
}

fn text(path: std::path::PathBuf) -> String {
    path.to_string_lossy().into_owned()
}

fn flags<const N: usize>(flags: [(&str, String); N]) -> Vec<String> {
    flags.into_iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

fn etcd() -> Vec<String> {
    // It keeps what the API server needs while the cluster is up; a power cut may have it.
    let mut all = flags([
        ("data-dir", "/var/lib/etcd".into()),
        ("listen-client-urls", "http://127.0.0.1:2379".into()),
        ("advertise-client-urls", "http://127.0.0.1:2379".into()),
        ("listen-peer-urls", "http://127.0.0.1:2380".into()),
        ("log-level", "warn".into()),
    ]);
    all.push("--unsafe-no-fsync".into());
    all
}

fn api_server(plan: &Plan, node: &Node) -> Vec<String> {
    let pki = |file: &str| text(plan.pki(file));
    flags([
        ("advertise-address", node.ip.to_string()),
        ("allow-privileged", "true".into()),
        ("audit-log-maxsize", "500".into()),
        ("audit-log-path", text(node.logs.join("audit.log"))),
        ("audit-policy-file", text(node.etc().join("audit.yaml"))),
        ("authorization-mode", "Node,RBAC".into()),
        ("client-ca-file", pki("ca.crt")),
        ("etcd-servers", "http://127.0.0.1:2379".into()),
        ("kubelet-client-certificate", pki("kubelet-client.crt")),
        ("kubelet-client-key", pki("kubelet-client.key")),
        // Nobody resolves the names of nodes.
        ("kubelet-preferred-address-types", "InternalIP".into()),
        ("secure-port", "6443".into()),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local".into()),
        ("service-account-key-file", pki("accounts.pub")),
        ("service-account-signing-key-file", pki("accounts.key")),
        ("service-cluster-ip-range", plan.services()),
        ("tls-cert-file", pki("server.crt")),
        ("tls-private-key-file", pki("server.key")),
        ("token-auth-file", pki("tokens.csv")),
    ])
}

fn controller_manager(plan: &Plan) -> Vec<String> {
    let pki = |file: &str| text(plan.pki(file));
    flags([
        ("kubeconfig", text(plan.kubeconfig())),
        ("allocate-node-cidrs", "false".into()),
        ("cluster-signing-cert-file", pki("ca.crt")),
        ("cluster-signing-key-file", pki("ca.key")),
        ("flex-volume-plugin-dir", "/var/lib/kubelet/volumeplugins".into()),
        ("kube-api-burst", "400".into()),
        ("kube-api-qps", "200".into()),
        ("leader-elect", "false".into()),
        // After an outage of the API server it takes nodes that have not reported yet for lost, and their pods out of Services, which no mesh can
        // make good: tests of outages are not about that race.
        ("node-monitor-grace-period", "10m".into()),
        ("root-ca-file", pki("ca.crt")),
        ("service-account-private-key-file", pki("accounts.key")),
        ("use-service-account-credentials", "false".into()),
    ])
}

fn scheduler(plan: &Plan) -> Vec<String> {
    flags([
        ("kubeconfig", text(plan.kubeconfig())),
        ("kube-api-burst", "400".into()),
        ("kube-api-qps", "200".into()),
        ("leader-elect", "false".into()),
    ])
}

fn load_balancer(plan: &Plan) -> Vec<String> {
    flags([("kubeconfig", text(plan.kubeconfig())), ("addresses", plan.load_balancers())])
}

fn kubelet(plan: &Plan, node: &Node) -> Vec<String> {
    flags([
        ("config", text(node.etc().join("kubelet.yaml"))),
        ("hostname-override", node.name.clone()),
        ("kubeconfig", text(plan.kubeconfig())),
        ("node-ip", node.ip.to_string()),
        (
            "node-labels",
            format!("topology.kubernetes.io/region={},topology.kubernetes.io/zone={}", plan.name, node.zone),
        ),
    ])
}

fn kube_proxy(plan: &Plan, node: &Node) -> Vec<String> {
    flags([
        ("kubeconfig", text(plan.kubeconfig())),
        ("cluster-cidr", plan.pods()),
        ("hostname-override", node.name.clone()),
        ("iptables-min-sync-period", "100ms".into()),
        ("proxy-mode", "iptables".into()),
        // The machine's limits stay as they are.
        ("conntrack-max-per-core", "0".into()),
        ("conntrack-tcp-timeout-close-wait", "0".into()),
        ("conntrack-tcp-timeout-established", "0".into()),
    ])
}
