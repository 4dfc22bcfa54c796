// SPDX-License-Identifier: Apache-2.0
//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::output::Format;

/// Looks at a mesh's configuration before it is in force.
#[derive(Debug, Parser)]
#[command(name = "tiphysctl", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes:
  0  all is well (there may be warnings)
  1  something is wrong with what was given; stderr or the output says what and where
  2  the command line is wrong

Examples:
  tiphysctl validate -f samples/bookinfo            # every mistake, with file:line:column and field
  tiphysctl render --config samples/bookinfo --proxies proxies.yaml --out rendered
  tiphysctl preflight strict -n shop                # who would be refused by mutual TLS in mode STRICT, and the fix
  tiphysctl completions bash > /etc/bash_completion.d/tiphysctl

'tiphysctl COMMAND --help' says more.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Reads objects as the control plane would and names every mistake.
    Validate(ValidateArgs),
    /// Writes what each proxy would be given, without a control plane.
    Render(RenderArgs),
    /// Puts the sidecar into the pods of workloads, as the webhook would.
    Inject(InjectArgs),
    /// Tells what a change would break, before it is made.
    #[command(subcommand)]
    Preflight(Preflight),
    /// Prints the version.
    Version {
        /// Only the number.
        #[arg(long, short)]
        short: bool,
    },
    /// Prints a script that completes this program's command lines.
    #[command(after_help = "Example:\n  source <(tiphysctl completions bash)")]
    Completions {
        /// For which shell.
        shell: Shell,
    },
}

/// Arguments of `validate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Folders are read with all that is in them (*.yaml, *.yml, *.json), as the control plane does: an object in two files is a
mistake as well. Objects of kinds that the mesh does not read (a Deployment) are warned about.

A line of the table is
  file:line:column: error: Kind namespace/name: field: message

Exit codes: 0 nothing is wrong (there may be warnings), 1 there are errors.

Examples:
  tiphysctl validate -f gateway.yaml
  tiphysctl validate -f ./config --output json | jq -r '.[] | select(.severity == \"error\") | .message'
  kubectl get virtualservices -A -o yaml | tiphysctl validate -f -"
)]
pub struct ValidateArgs {
    /// File or folder; '-' is the standard input. May be repeated.
    #[arg(long = "filename", short = 'f', value_name = "FILE|DIR", required = true)]
    pub files: Vec<PathBuf>,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// Arguments of `inject`.
#[derive(Debug, Args)]
#[command(
    after_help = "Deployments, Jobs, CronJobs, Pods and all else that holds a pod are written with the sidecar in it; other objects stay as they are. What is
not injected (host network, sidecar.istio.io/inject=false) is named on stderr. A file for --injectConfigFile or --valuesFile is what the
ConfigMap istio-sidecar-injector has under `config` or `values`, or that ConfigMap as a whole; the mesh's likewise, with the key `mesh`.
What no file is given for is read from the cluster of the current kubeconfig.

Exit codes: 0 written, 1 a pod cannot be injected or something cannot be read; nothing is written then.

Examples:
  tiphysctl inject -f deployment.yaml | kubectl apply -f -
  helm template istiod charts/istiod -s templates/configmap-injector.yaml > injector.yaml
  tiphysctl inject -f deployment.yaml --injectConfigFile injector.yaml --valuesFile injector.yaml --meshConfigFile mesh.yaml"
)]
pub struct InjectArgs {
    /// File of workloads; '-' is the standard input.
    #[arg(long = "filename", short = 'f', value_name = "FILE")]
    pub file: PathBuf,
    /// File to write to; without it the standard output.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// MeshConfig.
    #[arg(long = "meshConfigFile", value_name = "FILE")]
    pub mesh_config: Option<PathBuf>,
    /// The injection's configuration: policy and templates.
    #[arg(long = "injectConfigFile", value_name = "FILE")]
    pub inject_config: Option<PathBuf>,
    /// What templates read as .Values.
    #[arg(long = "valuesFile", value_name = "FILE")]
    pub values: Option<PathBuf>,
    /// Namespace of the control plane.
    #[arg(long = "istioNamespace", short = 'i', value_name = "NAMESPACE", default_value = "istio-system")]
    pub namespace: String,
    /// Revision of the control plane.
    #[arg(long, short, default_value = "")]
    pub revision: String,
    /// Sidecars are init containers that go on running; the nodes need Kubernetes 1.33.
    #[arg(long = "native-sidecars", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub native_sidecars: bool,
}

/// Arguments of `render`.
#[derive(Debug, Args)]
#[command(
    after_help = "Per proxy a folder is written with lds.json, cds.json, rds.json, eds.json and, where the proxy asks for them, ecds.json and nds.json: arrays
of resources as protobuf JSON, sorted by name. Objects with mistakes are left out, or replaced by a fail-safe form, as in the control plane, and
named on stderr. Settings of istiod by environment variable are obeyed.

The proxies file is a list; of each proxy it has a name and the xDS Node that the proxy would send:
  - name: web
    node:
      id: sidecar~10.0.0.7~web-1.default~default.svc.cluster.local
      metadata: {NAMESPACE: default, LABELS: {app: web}}

Exit codes: 0 rendered, 1 something could not be read, or an object has a mistake; what could be rendered is written all the same.

Example:
  tiphysctl render --config ./config --mesh-config mesh.yaml --proxies proxies.yaml --out rendered"
)]
pub struct RenderArgs {
    /// File or folder of objects.
    #[arg(long, value_name = "DIR|FILE", required_unless_present = "cases")]
    pub config: Option<PathBuf>,
    /// MeshConfig, over the defaults.
    #[arg(long = "mesh-config", value_name = "FILE")]
    pub mesh_config: Option<PathBuf>,
    /// MeshNetworks.
    #[arg(long = "mesh-networks", value_name = "FILE")]
    pub mesh_networks: Option<PathBuf>,
    /// The proxies to render for.
    #[arg(long, value_name = "FILE", required_unless_present = "cases")]
    pub proxies: Option<PathBuf>,
    /// Folder to write to.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Folder of GROUP/CASE folders, each with input.yaml, proxies.yaml, case.yaml (settings under `env`), meshconfig.yaml and
    /// meshnetworks.yaml: all are rendered in one go.
    #[arg(long, value_name = "DIR", hide = true, conflicts_with_all = ["config", "mesh_config", "mesh_networks", "proxies"])]
    pub cases: Option<PathBuf>,
}

/// What may be looked at before it is made.
#[derive(Debug, Subcommand)]
pub enum Preflight {
    /// Who would be refused by mutual TLS in mode STRICT, why, and the fix for each.
    Strict(StrictArgs),
}

/// Arguments of `preflight strict`.
#[derive(Debug, Args)]
#[command(
    after_help = "STRICT for the whole mesh, for a namespace (-n), or what given PeerAuthentications would do (-f) is held against the mesh as it is. Workloads
that are STRICT already are no news, and exceptions by PeerAuthentications stay exceptions. Told are
  BREAKS   connections that work now and would be refused, with the fix
  warning  what may call and was not seen to, and ports that STRICT would not protect

On a cluster the control plane is asked, through the API server (rights: get and list pods, create pods/portforward, in its namespace), and it asks the
agents beside the servers which connections they took without mutual TLS in the last hour. --since looks back less far, after something
was mended. With --config a folder is looked at: which proxies are connected, and what they took, is not known then.

Exit codes: 0 nothing would break, 1 something would, 2 it could not be found out.

Examples:
  tiphysctl preflight strict                          # the whole mesh
  tiphysctl preflight strict -n shop --since 10       # one namespace; connections of the last 10 minutes
  tiphysctl preflight strict -f strict.yaml           # these policies
  tiphysctl preflight strict --ignore monitoring --ignore batch/report   # clients that are known to call nobody
  tiphysctl preflight strict --config ./manifests -o json | jq -r '.findings[] | .fix'
  tiphysctl preflight strict --address http://127.0.0.1:15014"
)]
pub struct StrictArgs {
    /// The namespace whose servers become STRICT; without it the whole mesh.
    #[arg(long, short, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// PeerAuthentications that would be applied; '-' is the standard input. May be repeated.
    #[arg(long = "filename", short = 'f', value_name = "FILE|DIR")]
    pub files: Vec<PathBuf>,
    /// Clients that do not count. May be repeated.
    #[arg(long, value_name = "NAMESPACE[/WORKLOAD]")]
    pub ignore: Vec<String>,
    /// How far agents look back, in minutes.
    #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub since: u32,
    /// File or folder of objects to look at in place of a cluster.
    #[arg(long, value_name = "DIR|FILE", conflicts_with = "address")]
    pub config: Option<PathBuf>,
    /// MeshConfig, over the defaults; with --config.
    #[arg(long = "mesh-config", value_name = "FILE", requires = "config")]
    pub mesh_config: Option<PathBuf>,
    /// A control plane's port for debug pages.
    #[arg(long, value_name = "URL")]
    pub address: Option<String>,
    /// File of the token to show to it; on its own machine none is needed.
    #[arg(long = "token-file", value_name = "FILE", requires = "address")]
    pub token: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace of the control plane.
    #[arg(long = "istioNamespace", short = 'i', value_name = "NAMESPACE", default_value = "istio-system")]
    pub system: String,
    /// Revision of the control plane.
    #[arg(long, short, default_value = "")]
    pub revision: String,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        assert!(Cli::try_parse_from(["tiphysctl", "render", "--out", "x"]).is_err());
        assert!(Cli::try_parse_from(["tiphysctl", "validate"]).is_err());
    }
}
