// SPDX-License-Identifier: Apache-2.0
//! Configuration files of a node's components.

use crate::images;
use crate::plan::{Node, Plan};
use crate::state::write_private;
use anyhow::Result;
use serde_json::{Value, json};

/// Where Debian's package puts the CNI plugins.
const CNI_PLUGINS: &str = "/usr/lib/cni";

/// Writes them all.
///
/// # Errors
/// When one cannot be written.
pub fn write(plan: &Plan, node: &Node) -> Result<()> {
    write_private(&node.etc().join("audit.yaml"), &audit().to_string())?;
    write_private(&node.etc().join("kubelet.yaml"), &kubelet(plan).to_string())?;
    write_private(&node.etc().join("containerd.toml"), &containerd(images::snapshotter(node)?))?;
    write_private(&node.folder.join("lib/cni/net.d/10-pods.conflist"), &cni(node).to_string())
}

/// What control planes of the mesh ask of the API server is written down, without contents: tests hold it against their roles.
/// <https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/>
fn audit() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "omitManagedFields": true,
        "rules": [
            { "level": "Metadata", "userGroups": ["system:serviceaccounts:istio-system"] },
            { "level": "None" },
        ],
    })
}

/// <https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/>
fn kubelet(plan: &Plan) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": plan.pki("ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "cgroupDriver": "cgroupfs",
        // Without the groups of quality of service there is nothing of the machine that the node would have to own.
        "cgroupsPerQOS": false,
        "clusterDNS": [plan.dns_ip()],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "enforceNodeAllocatable": [],
        // Nothing is evicted, and no image removed, because the machine's disk is full of other things.
        "evictionHard": { "memory.available": "100Mi" },
        "imageGCHighThresholdPercent": 100,
        "failCgroupV1": false,
        "failSwapOn": false,
        "kubeAPIBurst": 200,
        "kubeAPIQPS": 100,
        "localStorageCapacityIsolation": false,
        "maxPods": 250,
        "oomScoreAdj": 0,
        // Names outside of the cluster are not resolved.
        "resolvConf": "/dev/null",
        "serializeImagePulls": false,
        "volumePluginDir": "/var/lib/kubelet/volumeplugins",
    })
}

/// <https://github.com/containerd/containerd/blob/release/1.6/docs/cri/config.md>
fn containerd(snapshotter: &str) -> String {
    format!(
        r#"version = 2
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
disable_apparmor = true
# What newer versions of containerd do on their own: programs that are not root may listen on port 80.
enable_unprivileged_ports = true
enable_unprivileged_icmp = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = "/var/lib/cni/net.d"
"#,
        pause = images::PAUSE
    )
}

/// Each pod has a cable of its own to the node, which routes: no pod reaches another past the node's rules for Services.
fn cni(node: &Node) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni",
                    "ranges": [[{ "subnet": node.pods }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}
