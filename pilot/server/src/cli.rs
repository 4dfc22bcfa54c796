// SPDX-License-Identifier: Apache-2.0
//! The command line: istiod's flags by name, and what each means here.
//!
//! A flag of istiod that has no effect is taken and named in a warning ([`ServeArgs::without_effect`]), so that istiod's charts and scripts start
//! this server unchanged; a flag that istiod does not have is refused.
//! See <https://istio.io/latest/docs/reference/commands/pilot-discovery/>.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::address::{Address, AddressError};
use crate::log::{Levels, LogOptions};
use crate::settings::parse_duration;

/// The control plane of an Istio-compatible mesh.
#[derive(Debug, Parser)]
#[command(name = "tiphys", version = crate::version::VERSION, arg_required_else_help = true)]
#[command(after_help = "Examples:
  tiphys serve --configDir ./config
  tiphys discovery --kubeconfig ./kubeconfig
  tiphys serve --configDir ./config --grpcAddr 127.0.0.1:15010 --secureGRPCAddr '' --dev-token-issuer ./tokens

Settings of istiod by environment variable (PILOT_DEBOUNCE_AFTER, ...) are obeyed; what is not known is named in the log.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the control plane.
    #[command(visible_alias = "discovery")]
    Serve(Box<ServeArgs>),
    /// Asks a page of a control plane that runs, as `pilot-discovery request` does.
    Request(RequestArgs),
    /// Prints the version.
    Version {
        /// Only the number.
        #[arg(long, short)]
        short: bool,
    },
}

/// Arguments of `request`.
#[derive(Debug, Clone, Args)]
pub struct RequestArgs {
    /// GET, PUT, ...
    pub method: http::Method,
    /// Path of the page, such as /debug/syncz.
    pub path: String,
    /// What is sent.
    #[arg(default_value = "")]
    pub body: String,
    /// Where the control plane's pages are.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:15014")]
    pub address: String,
}

/// Flags of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Folder of YAML and JSON to serve the mesh from, watched for changes; without it the Kubernetes cluster is served.
    #[arg(long = "configDir", value_name = "DIR")]
    pub config_dir: Option<PathBuf>,
    /// MeshConfig file, watched; the defaults are in force while there is none.
    #[arg(long = "meshConfig", value_name = "FILE", default_value = "./etc/istio/config/mesh")]
    pub mesh_config: PathBuf,
    /// MeshNetworks file, watched.
    #[arg(long = "networksConfig", value_name = "FILE", default_value = "./etc/istio/config/meshNetworks")]
    pub networks_config: PathBuf,
    /// Plaintext discovery; '' = off.
    #[arg(long = "grpcAddr", value_name = "ADDRESS", default_value = ":15010")]
    pub grpc_addr: Address,
    /// Discovery and certificates over TLS; '' = off.
    #[arg(long = "secureGRPCAddr", value_name = "ADDRESS", default_value = ":15012")]
    pub secure_grpc_addr: Address,
    /// Health, readiness and debug; '' = off.
    #[arg(long = "httpAddr", value_name = "ADDRESS", default_value = ":8080")]
    pub http_addr: Address,
    /// Webhooks over TLS: injection and validation; '' = off.
    #[arg(long = "httpsAddr", value_name = "ADDRESS", default_value = ":15017")]
    pub https_addr: Address,
    /// Metrics, version and debug; '' = off.
    #[arg(long = "monitoringAddr", value_name = "ADDRESS", default_value = ":15014")]
    pub monitoring_addr: Address,
    /// Name of this cluster.
    #[arg(long = "clusterID", env = "CLUSTER_ID", default_value = "Kubernetes")]
    pub cluster_id: String,
    /// DNS domain of the cluster.
    #[arg(long, default_value = "cluster.local")]
    pub domain: String,
    /// Namespace that this server runs in.
    #[arg(long, short, env = "POD_NAMESPACE", default_value = "istio-system")]
    pub namespace: String,
    /// Folder with the injection's files `config` and `values`, watched; without it the ConfigMap istio-sidecar-injector of the cluster counts.
    #[arg(long = "injection-dir", value_name = "DIR", default_value = "./var/lib/istio/inject")]
    pub injection_dir: PathBuf,
    /// Folder that keeps the self-signed root, or that has the operator's cacerts (ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem).
    #[arg(long = "ca-dir", value_name = "DIR", env = "ROOT_CA_DIR", default_value = "./etc/cacerts")]
    pub ca_dir: PathBuf,
    /// Folder that short-lived tokens for the folder's ServiceAccounts are written to, and kept fresh in. Only for development: without
    /// this flag no such token is issued or accepted.
    #[arg(long = "dev-token-issuer", value_name = "DIR")]
    pub dev_token_issuer: Option<PathBuf>,
    /// The Kubernetes API server.
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,
    /// TLS, HTTP/2 and shutdown.
    #[command(flatten)]
    pub transport: TransportArgs,
    /// Where log levels are asked for and changed.
    #[command(flatten)]
    pub control: ControlArgs,
    /// The log.
    #[command(flatten)]
    pub log: LogArgs,
    /// What istiod has and this server has not.
    #[command(flatten)]
    pub without: WithoutEffectArgs,
}

/// Flags of the client of the Kubernetes API server.
#[derive(Debug, Clone, Args)]
pub struct KubernetesArgs {
    /// Kubeconfig of the cluster; without it $KUBECONFIG counts, then the pod's own service account.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Requests a second to the API server, on average.
    #[arg(long = "kubernetesApiQPS", value_name = "NUMBER", default_value_t = 80.0, value_parser = parse_positive)]
    pub api_qps: f64,
    /// Requests to the API server at once, before the average holds.
    #[arg(long = "kubernetesApiBurst", value_name = "NUMBER", default_value_t = 160, value_parser = clap::value_parser!(u32).range(1..))]
    pub api_burst: u32,
}

fn parse_positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("not a number above 0".to_owned()),
    }
}

/// Flags of TLS, HTTP/2 and shutdown.
#[derive(Debug, Clone, Args)]
pub struct TransportArgs {
    /// Certificate of the TLS port; without it the CA issues one.
    #[arg(long = "tlsCertFile", value_name = "FILE", requires = "tls_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// Private key of --tlsCertFile.
    #[arg(long = "tlsKeyFile", value_name = "FILE", requires = "tls_cert_file")]
    pub tls_key_file: Option<PathBuf>,
    /// Roots of the mesh, where somebody else issues certificates (ENABLE_CA_SERVER=false).
    #[arg(long = "caCertFile", value_name = "FILE")]
    pub ca_cert_file: Option<PathBuf>,
    /// Lowest version of TLS.
    #[arg(long = "tls-min-version", value_name = "VERSION", default_value = "1.2", value_parser = ["1.2", "1.3"])]
    pub tls_min_version: String,
    /// Idle time after which a client is pinged.
    #[arg(long = "keepaliveInterval", value_name = "TIME", env = "GRPC_KEEPALIVE_INTERVAL", default_value = "30s", value_parser = parse_duration)]
    pub keepalive_interval: Duration,
    /// Time a client has to answer a ping.
    #[arg(long = "keepaliveTimeout", value_name = "TIME", env = "GRPC_KEEPALIVE_TIMEOUT", default_value = "10s", value_parser = parse_duration)]
    pub keepalive_timeout: Duration,
    /// Age, give or take a tenth, at which a connection is to move to another replica, so that replicas share the load; never without it.
    #[arg(long = "keepaliveMaxServerConnectionAge", value_name = "TIME", value_parser = parse_duration)]
    pub max_connection_age: Option<Duration>,
    /// Time that streams get to move elsewhere when the server stops.
    #[arg(long = "shutdownDuration", value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub shutdown_duration: Duration,
}

/// Flags of the control page, which `istioctl admin log` asks.
#[derive(Debug, Clone, Args)]
pub struct ControlArgs {
    /// Port of the log's levels (/scopej); 0 = off. Without it 9876, and off with --configDir.
    #[arg(long = "ctrlz_port", value_name = "PORT")]
    pub ctrlz_port: Option<u16>,
    /// Address of the log's levels; '*' = all.
    #[arg(long = "ctrlz_address", value_name = "HOST", default_value = "localhost")]
    pub ctrlz_address: String,
}

impl ServeArgs {
    /// Where the control page is.
    ///
    /// # Errors
    /// When the address is no host.
    pub fn control_address(&self) -> Result<Address, AddressError> {
        const ISTIODS: u16 = 9876;
        let ControlArgs { ctrlz_port, ctrlz_address } = &self.control;
        let unasked = if self.config_dir.is_some() { 0 } else { ISTIODS };
        let host = if ctrlz_address == "*" { "" } else { ctrlz_address };
        match ctrlz_port.unwrap_or(unasked) {
            0 => Ok(Address::default()),
            port if host.contains(':') => format!("[{host}]:{port}").parse(),
            port => format!("{host}:{port}").parse(),
        }
    }
}

/// Flags of the log.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// Level per scope: SCOPE:LEVEL or LEVEL, with commas between.
    #[arg(long = "log_output_level", value_name = "LEVELS", default_value = "default:info")]
    pub log_output_level: Levels,
    /// One JSON object a line.
    #[arg(long = "log_as_json", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub log_as_json: bool,
    /// Where to: stdout, stderr or a file; may be repeated.
    #[arg(long = "log_target", value_name = "TARGET", default_value = "stdout")]
    pub log_target: Vec<String>,
}

impl From<LogArgs> for LogOptions {
    fn from(args: LogArgs) -> Self {
        Self { levels: args.log_output_level, json: args.log_as_json, targets: args.log_target }
    }
}

/// Flags of istiod that are taken and do nothing.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Taken from istiod, without effect")]
pub struct WithoutEffectArgs {
    /// The registry is the folder at --configDir, else the cluster.
    #[arg(long)]
    pub registries: Option<String>,
    /// There is one cluster.
    #[arg(long = "clusterRegistriesNamespace")]
    pub cluster_registries_namespace: Option<String>,
    /// There is no CNI.
    #[arg(long = "cniNamespace")]
    pub cni_namespace: Option<String>,
    /// There is one cluster.
    #[arg(long = "clusterAliases")]
    pub cluster_aliases: Option<String>,
    /// All suites offered are safe.
    #[arg(long = "tls-cipher-suites")]
    pub tls_cipher_suites: Option<String>,
    /// Go's profiles do not exist here.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub profile: Option<String>,
    /// Callers are not logged.
    #[arg(long = "log_caller")]
    pub log_caller: Option<String>,
    /// Stack traces are not logged.
    #[arg(long = "log_stacktrace_level")]
    pub log_stacktrace_level: Option<String>,
    /// The Kubernetes client's levels are those of the log.
    #[arg(long)]
    pub vklog: Option<String>,
}

impl ServeArgs {
    /// Flags that were given and do nothing, with why.
    pub fn without_effect(&self) -> Vec<(&'static str, &'static str)> {
        const ONE_CLUSTER: &str = "there is one cluster";
        let w = &self.without;
        [
            ("--registries", &w.registries, "objects come from the cluster, or from --configDir"),
            ("--clusterRegistriesNamespace", &w.cluster_registries_namespace, ONE_CLUSTER),
            ("--cniNamespace", &w.cni_namespace, "there is no CNI plugin"),
            ("--clusterAliases", &w.cluster_aliases, ONE_CLUSTER),
            ("--tls-cipher-suites", &w.tls_cipher_suites, "only safe cipher suites are offered"),
            ("--profile", &w.profile, "there are no Go profiles"),
            ("--log_caller", &w.log_caller, "callers are not logged"),
            ("--log_stacktrace_level", &w.log_stacktrace_level, "stack traces are not logged"),
            ("--vklog", &w.vklog, "levels of the Kubernetes client are those of --log_output_level"),
        ]
        .into_iter()
        .filter(|(_, value, _)| value.is_some())
        .map(|(flag, _, why)| (flag, why))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn serve(args: &[&str]) -> ServeArgs {
        match Cli::try_parse_from([&["tiphys", "discovery"], args].concat()).unwrap().command {
            Command::Serve(args) => *args,
            _ => panic!("serve was asked for"),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn istiods_own_arguments_start_this_server() {
        let args = serve(&[
            "--monitoringAddr=:15014",
            "--log_output_level=default:info",
            "--domain",
            "cluster.local",
            "--keepaliveMaxServerConnectionAge",
            "30m",
            "--ctrlz_port=9876",
            "--registries=Kubernetes",
        ]);
        assert_eq!(args.without_effect().iter().map(|(flag, _)| *flag).collect::<Vec<_>>(), ["--registries"]);
        assert_eq!(args.transport.max_connection_age, Some(Duration::from_secs(1_800)));
        assert_eq!(args.grpc_addr.to_string(), ":15010");
    }

    #[test]
    fn an_empty_address_is_off() {
        let args = serve(&["--grpcAddr", "", "--secureGRPCAddr=", "--log_as_json", "--profile=false"]);
        assert!(args.grpc_addr.is_off() && args.secure_grpc_addr.is_off());
        assert!(args.log.log_as_json);
        assert!(serve(&["--log_as_json=true"]).log.log_as_json);
    }

    #[test]
    fn where_the_control_page_is() {
        let of = |args: &[&str]| serve(args).control_address().unwrap().to_string();
        assert_eq!(of(&[]), "localhost:9876");
        assert_eq!(of(&["--ctrlz_port=0"]), "");
        assert_eq!(of(&["--ctrlz_port=1", "--ctrlz_address=*"]), ":1");
        assert_eq!(of(&["--ctrlz_port=1", "--ctrlz_address=::1"]), "[::1]:1");
        assert_eq!(of(&["--configDir=a"]), "");
        assert_eq!(of(&["--configDir=a", "--ctrlz_port=1"]), "localhost:1");
        assert!(serve(&["--ctrlz_address=a b"]).control_address().is_err());
    }

    #[test]
    fn unknown_flags_are_refused() {
        assert!(Cli::try_parse_from(["tiphys", "serve", "--nosuch"]).is_err());
        assert!(Cli::try_parse_from(["tiphys", "serve", "--keepaliveInterval", "soon"]).is_err());
        assert!(Cli::try_parse_from(["tiphys", "serve", "--log_output_level", "ads:loud"]).is_err());
        assert!(Cli::try_parse_from(["tiphys", "serve", "--tlsCertFile", "x"]).is_err());
    }
}
