// SPDX-License-Identifier: Apache-2.0
//! The command line, which is pilot-agent's: flags as `--name value` or `--name=value`, and flags that are not known are left out
//! with a warning, so that a deployment made for another version starts.

use std::collections::BTreeMap;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `proxy [sidecar|router|waypoint]`
    Proxy(Box<ProxyArgs>),
    /// `version`
    Version {
        /// `--short` or `-s`.
        short: bool,
    },
    /// `request METHOD PATH [BODY]`, sent to Envoy's admin port.
    Request(RequestArgs),
    /// `wait`, until the proxy is ready.
    Wait(WaitArgs),
    /// Becomes Envoy, which ends when the process given ends.
    ExecEnvoy {
        /// The agent.
        parent: u32,
        /// Envoy's binary and arguments.
        command: Vec<String>,
    },
    /// `istio-iptables`, `istio-clean-iptables`: traffic capture.
    Capture {
        /// Its own arguments.
        args: Vec<String>,
        /// Only remove what is there.
        cleanup: bool,
    },
    /// `help`, `--help`
    Help,
}

/// Flags of `proxy`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyArgs {
    /// Kind of proxy: `sidecar` or `router`.
    pub kind: String,
    /// `--domain`
    pub domain: String,
    /// `--meshConfig`
    pub mesh_config: Option<String>,
    /// `--serviceCluster`
    pub service_cluster: Option<String>,
    /// `--proxyLogLevel`
    pub proxy_log_level: Option<String>,
    /// `--proxyComponentLogLevel`
    pub proxy_component_log_level: Option<String>,
    /// `--concurrency`
    pub concurrency: Option<u32>,
    /// `--templateFile`
    pub template_file: Option<String>,
    /// `--outlierLogPath`
    pub outlier_log_path: Option<String>,
    /// `--stsPort`
    pub sts_port: Option<String>,
    /// `--log_output_level`
    pub log_output_level: Option<String>,
    /// `--log_as_json`
    pub log_as_json: bool,
    /// `--root`: the folder in which relative paths begin.
    pub root: Option<String>,
    /// Flags that were not known.
    pub unknown: Vec<String>,
}

/// What `request` sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestArgs {
    /// The HTTP method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The body.
    pub body: String,
    /// `--debug-port`: another port than Envoy's admin port.
    pub port: Option<u16>,
}

/// Flags of `wait`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitArgs {
    /// `--url`
    pub url: String,
    /// `--timeoutSeconds`
    pub timeout_seconds: u64,
    /// `--periodMillis`
    pub period_millis: u64,
    /// `--requestTimeoutMillis`
    pub request_timeout_millis: u64,
}

/// The text of `--help`.
pub const HELP: &str = "\
Usage: tiphys-agent COMMAND [FLAGS]

Runs beside Envoy: identity, configuration, health. Also usable under the name pilot-agent.

  proxy [sidecar|router]     start the agent and Envoy
      --domain SUFFIX              DNS domain of the proxy (default: NAMESPACE.svc.cluster.local)
      --meshConfig FILE            mesh configuration (default: ./etc/istio/config/mesh, when it is there)
      --serviceCluster NAME        cluster name of the proxy (default: istio-proxy)
      --proxyLogLevel LEVEL        Envoy's log level, also with components: info,upstream:debug (default: warning)
      --proxyComponentLogLevel L   log levels of Envoy's components
      --concurrency N              Envoy's worker threads (default: ProxyConfig's, else one per core)
      --outlierLogPath FILE        Envoy's log of outlier detection
      --log_output_level LEVEL     the agent's log level: none, error, warn, info, debug; also scope:level (default: info)
      --log_as_json                log as JSON
      --root DIR                   folder in which relative paths begin (default: the working directory)
  request METHOD PATH [BODY] send a request to Envoy's admin port, e.g. request GET /clusters
      --debug-port PORT            another port: 15004, 15020 or 15021
  wait                       wait until the proxy is ready
      --url URL                    (default: http://localhost:15021/healthz/ready)
      --timeoutSeconds N           (default: 60)
      --periodMillis N             (default: 500)
      --requestTimeoutMillis N     (default: 500)
  istio-iptables             lead a pod's connections to Envoy; see istio-iptables --help
  istio-clean-iptables       remove what istio-iptables did
  version [--short]          print the version

The environment gives the rest (POD_NAME, POD_NAMESPACE, INSTANCE_IP, SERVICE_ACCOUNT, PROXY_CONFIG, CA_ADDR, ISTIO_META_* ...),
as for pilot-agent; docs/agent.md lists it.
";

/// Reads the arguments after the program's name.
///
/// # Errors
/// Says which argument is wrong and what is right.
pub fn parse(args: &[String]) -> Result<Command, String> {
    let Some((command, rest)) = args.split_first() else { return Ok(Command::Help) };
    match command.as_str() {
        "proxy" => proxy(&Flags::read(rest, &["log_as_json", "profiling"])),
        "version" => {
            let flags = Flags::read(rest, &["short", "s"]);
            Ok(Command::Version { short: flags.on("short") || flags.on("s") })
        }
        "request" => request(&Flags::read(rest, &[])).map(Command::Request),
        "wait" => wait(&Flags::read(rest, &[])),
        "exec-envoy" => match rest.split_first() {
            Some((parent, command)) if !command.is_empty() => {
                let parent = parent.parse().map_err(|_| format!("exec-envoy: {parent:?} is no process"))?;
                Ok(Command::ExecEnvoy { parent, command: command.to_vec() })
            }
            _ => Err("exec-envoy is for the agent's own use".into()),
        },
        "help" | "--help" | "-h" => Ok(Command::Help),
        "istio-iptables" => Ok(Command::Capture { args: rest.to_vec(), cleanup: false }),
        "istio-clean-iptables" => Ok(Command::Capture { args: rest.to_vec(), cleanup: true }),
        other => Err(format!("unknown command {other:?}; see tiphys-agent --help")),
    }
}

fn proxy(flags: &Flags) -> Result<Command, String> {
    if flags.on("help") || flags.on("h") {
        return Ok(Command::Help);
    }
    let kind = match flags.words.as_slice() {
        [] => "sidecar".to_string(),
        [kind] if matches!(kind.as_str(), "sidecar" | "router") => kind.clone(),
        [kind] if matches!(kind.as_str(), "waypoint" | "ztunnel") => {
            return Err(format!(
                "proxy type {kind} belongs to ambient mode, which is not there yet; use sidecar or router"
            ));
        }
        [kind] => return Err(format!("invalid proxy type {kind:?}; use sidecar or router")),
        more => return Err(format!("one proxy type expected, not {more:?}")),
    };
    let concurrency = match flags.get("concurrency") {
        None => None,
        Some(n) => Some(n.parse().map_err(|_| format!("--concurrency: {n:?} is no number of threads"))?),
    };
    const KNOWN: [&str; 15] = [
        "domain",
        "meshConfig",
        "serviceCluster",
        "proxyLogLevel",
        "proxyComponentLogLevel",
        "concurrency",
        "templateFile",
        "outlierLogPath",
        "stsPort",
        "log_output_level",
        "log_as_json",
        "root",
        "profiling",
        "tokenManagerPlugin",
        "log_target",
    ];
    Ok(Command::Proxy(Box::new(ProxyArgs {
        kind,
        domain: flags.get("domain").unwrap_or_default(),
        mesh_config: flags.get("meshConfig"),
        service_cluster: flags.get("serviceCluster"),
        proxy_log_level: flags.get("proxyLogLevel"),
        proxy_component_log_level: flags.get("proxyComponentLogLevel"),
        concurrency,
        template_file: flags.get("templateFile"),
        outlier_log_path: flags.get("outlierLogPath"),
        sts_port: flags.get("stsPort"),
        log_output_level: flags.get("log_output_level"),
        log_as_json: flags.on("log_as_json"),
        root: flags.get("root"),
        unknown: flags.named.keys().filter(|k| !KNOWN.contains(&k.as_str())).cloned().collect(),
    })))
}

fn request(flags: &Flags) -> Result<RequestArgs, String> {
    let port = match flags.get("debug-port").as_deref() {
        None => None,
        Some("15000") => None,
        Some(port @ ("15004" | "15020" | "15021")) => port.parse().ok(),
        Some(other) => return Err(format!("--debug-port: {other:?} is none of 15000, 15004, 15020, 15021")),
    };
    match flags.words.as_slice() {
        [method, path, body @ ..] => Ok(RequestArgs {
            method: method.to_uppercase(),
            path: path.clone(),
            body: body.first().cloned().unwrap_or_default(),
            port,
        }),
        _ => Err("request needs a method and a path, e.g. request GET /clusters".into()),
    }
}

fn wait(flags: &Flags) -> Result<Command, String> {
    let number = |name: &str, default: u64| match flags.get(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| format!("--{name}: {text:?} is no number")),
    };
    Ok(Command::Wait(WaitArgs {
        url: flags.get("url").unwrap_or_else(|| "http://localhost:15021/healthz/ready".into()),
        timeout_seconds: number("timeoutSeconds", 60)?,
        period_millis: number("periodMillis", 500)?,
        request_timeout_millis: number("requestTimeoutMillis", 500)?,
    }))
}

/// Arguments split into flags and words.
#[derive(Default)]
struct Flags {
    named: BTreeMap<String, String>,
    words: Vec<String>,
}

impl Flags {
    /// `switches` are the flags that take no value from the next argument.
    fn read(args: &[String], switches: &[&str]) -> Self {
        let mut flags = Self::default();
        let mut args = args.iter().peekable();
        while let Some(arg) = args.next() {
            let Some(name) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-').filter(|n| !n.is_empty())) else {
                flags.words.push(arg.clone());
                continue;
            };
            if let Some((name, value)) = name.split_once('=') {
                flags.named.insert(name.into(), value.into());
            } else if switches.contains(&name) || matches!(name, "help" | "h") {
                flags.named.insert(name.into(), "true".into());
            } else {
                let value = args.next_if(|next| !next.starts_with("--")).cloned().unwrap_or_default();
                flags.named.insert(name.into(), value);
            }
        }
        flags
    }

    fn get(&self, name: &str) -> Option<String> {
        self.named.get(name).cloned()
    }

    fn on(&self, name: &str) -> bool {
        self.named.get(name).is_some_and(|v| v != "false")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Command, String> {
        parse(&text.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    fn proxy_args(text: &str) -> ProxyArgs {
        match line(text).unwrap() {
            Command::Proxy(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn as_an_injected_sidecar_calls_it() {
        let args = proxy_args(
            "proxy sidecar --domain default.svc.cluster.local --proxyLogLevel=warning --proxyComponentLogLevel=misc:error \
             --log_output_level=default:info --concurrency 2 --stsPort 0 --log_as_json",
        );
        assert_eq!(args.kind, "sidecar");
        assert_eq!(args.domain, "default.svc.cluster.local");
        assert_eq!(args.proxy_log_level.as_deref(), Some("warning"));
        assert_eq!(args.concurrency, Some(2));
        assert!(args.log_as_json && args.unknown.is_empty());
    }

    #[test]
    fn unknown_flags_are_kept_apart() {
        let args = proxy_args("proxy router --someday 5 --other=x");
        assert_eq!(args.kind, "router");
        assert_eq!(args.unknown, ["other", "someday"]);
    }

    #[test]
    fn what_is_refused() {
        assert!(line("proxy sidekick").unwrap_err().contains("sidecar or router"));
        assert!(line("proxy waypoint").unwrap_err().contains("ambient"));
        assert!(line("proxy --concurrency many").unwrap_err().contains("concurrency"));
        assert!(line("request GET").is_err());
        assert!(line("dance").is_err());
    }

    #[test]
    fn the_other_commands() {
        assert_eq!(line("").unwrap(), Command::Help);
        assert_eq!(
            line("request --debug-port=15020 post /stats?x=1 body").unwrap(),
            Command::Request(RequestArgs {
                method: "POST".into(),
                path: "/stats?x=1".into(),
                body: "body".into(),
                port: Some(15020)
            })
        );
        assert!(matches!(line("wait --timeoutSeconds=3").unwrap(), Command::Wait(w) if w.timeout_seconds == 3));
        let args = vec!["-p".to_string(), "15001".into()];
        assert_eq!(line("istio-iptables -p 15001").unwrap(), Command::Capture { args, cleanup: false });
        assert!(matches!(line("version -s").unwrap(), Command::Version { short: true }));
    }
}
