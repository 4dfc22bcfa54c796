// SPDX-License-Identifier: Apache-2.0
//! The command line of `istio-iptables`. The environment has the same names in capitals (`proxy-uid`: PROXY_UID) and counts less
//! than the command line.

use super::config::{Binary, CaptureConfig, list};
use super::rules;
use crate::duration;
use crate::settings::Environment;

/// The text of `istio-iptables --help`.
pub const HELP: &str = "\
Usage: tiphys-agent istio-iptables [FLAGS]
       tiphys-agent istio-clean-iptables [FLAGS]      (as istio-iptables --cleanup-only)

Leads a pod's connections to Envoy, by iptables or nftables. Each flag but -p may also be given in the environment (proxy-uid: PROXY_UID).

  -p, --envoy-port PORT                          Envoy's port for outbound connections (default: 15001)
  -z, --inbound-capture-port PORT                Envoy's port for inbound connections (default: 15006)
  -e, --inbound-tunnel-port PORT                 port for tunnels, not captured (default: 15008)
  -u, --proxy-uid IDS                            users whose traffic is the proxy's (default: ENVOY_USER's, else 1337)
  -g, --proxy-gid IDS                            groups whose traffic is the proxy's (default: as -u)
  -m, --istio-inbound-interception-mode MODE     REDIRECT or TPROXY (default: REDIRECT)
  -b, --istio-inbound-ports PORTS                inbound ports to capture, * for all (default: none)
  -d, --istio-local-exclude-ports PORTS          inbound ports left out of *
  -i, --istio-service-cidr RANGES                destinations to capture, * for all (default: none)
  -x, --istio-service-exclude-cidr RANGES        destinations left out
  -q, --istio-outbound-ports PORTS               outbound ports to capture whatever the destination
  -o, --istio-local-outbound-ports-exclude PORTS outbound ports left out
  -c, --istio-exclude-interfaces NAMES           interfaces that are left alone
  -k, --kube-virt-interfaces NAMES               interfaces of virtual machines, whose traffic is outbound
  -t, --istio-inbound-tproxy-mark MARK           TPROXY's mark (default: 1337)
  -r, --istio-inbound-tproxy-route-table TABLE   TPROXY's routing table (default: 133)
      --redirect-dns                             DNS goes to the agent (also ISTIO_META_DNS_CAPTURE)
      --capture-all-dns                          not only that to the servers of /etc/resolv.conf
      --drop-invalid                             drop packets that belong to no connection (also INVALID_DROP)
      --dual-stack                               both address families (also ISTIO_DUAL_STACK)
      --run-validation                           see whether rules work; exit code 126 when they do not
      --iptables-probe-port PORT                 port for that (default: 15002)
      --probe-timeout DURATION                   time for that (default: 5s)
      --skip-rule-apply                          apply nothing
  -n, --dry-run                                  print the rules, apply nothing
      --reconcile                                replace other rules of former runs
      --cleanup-only                             remove the rules
      --force-apply                              apply even rules that are there
      --network-namespace FILE                   the network namespace to work in
      --cni-mode                                 work from a node, with no lock shared with it
      --native-nftables                          nftables, without iptables
      --force-iptables-binary legacy|nft         which iptables (default: the one that has rules, else nft, else legacy)

ISTIO_OUTBOUND_OWNER_GROUPS and ..._EXCLUDE: groups whose traffic is captured, or not. ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR: what is loopback.
";

/// Flags with a value: name, letter.
const VALUES: [(&str, &str); 22] = [
    ("envoy-port", "p"),
    ("inbound-capture-port", "z"),
    ("inbound-tunnel-port", "e"),
    ("proxy-uid", "u"),
    ("proxy-gid", "g"),
    ("istio-inbound-interception-mode", "m"),
    ("istio-inbound-ports", "b"),
    ("istio-local-exclude-ports", "d"),
    ("istio-exclude-interfaces", "c"),
    ("istio-service-cidr", "i"),
    ("istio-service-exclude-cidr", "x"),
    ("istio-outbound-ports", "q"),
    ("istio-local-outbound-ports-exclude", "o"),
    ("kube-virt-interfaces", "k"),
    ("istio-inbound-tproxy-mark", "t"),
    ("istio-inbound-tproxy-route-table", "r"),
    ("iptables-probe-port", ""),
    ("probe-timeout", ""),
    ("network-namespace", ""),
    ("force-iptables-binary", ""),
    ("log_output_level", ""),
    ("log_target", ""),
];

/// Flags that are on or off.
const SWITCHES: [(&str, &str); 14] = [
    ("dry-run", "n"),
    ("skip-rule-apply", ""),
    ("run-validation", ""),
    ("redirect-dns", ""),
    ("drop-invalid", ""),
    ("dual-stack", ""),
    ("capture-all-dns", ""),
    ("cni-mode", ""),
    ("reconcile", ""),
    ("cleanup-only", ""),
    ("force-apply", ""),
    ("native-nftables", ""),
    ("log_as_json", ""),
    ("iptables-trace-logging", ""),
];

/// Names that other components have for the same.
const OTHER_NAMES: [(&str, &str); 3] =
    [("redirect-dns", "ISTIO_META_DNS_CAPTURE"), ("drop-invalid", "INVALID_DROP"), ("dual-stack", "ISTIO_DUAL_STACK")];

/// How to log.
pub(super) type Logging = (Option<String>, bool);

/// Reads environment and command line; nothing when help is asked for.
pub(super) fn read(args: &[String], environment: &Environment) -> Result<Option<(CaptureConfig, Logging)>, String> {
    let mut config = CaptureConfig::default();
    let names = VALUES.iter().chain(&SWITCHES).map(|(name, _)| *name).filter(|n| !n.starts_with("log_"));
    for name in names.filter(|n| *n != "envoy-port") {
        let variable = name.replace('-', "_").to_uppercase();
        if let Some(value) = environment.0.get(&variable) {
            set(&mut config, name, value).map_err(|e| format!("{variable}: {e}"))?;
        }
    }
    for (name, variable) in OTHER_NAMES {
        if let Some(value) = environment.get(variable) {
            set(&mut config, name, value).map_err(|e| format!("{variable}: {e}"))?;
        }
    }
    let (mut level, mut json) = (None, false);
    let mut rest = args.iter();
    while let Some(argument) = rest.next() {
        if matches!(argument.as_str(), "--help" | "-h" | "help") {
            return Ok(None);
        }
        let (name, value) = flag(argument)?;
        let switch = SWITCHES.iter().any(|(n, _)| *n == name);
        let value = match value {
            Some(value) => value,
            None if switch => "true".to_string(),
            None => rest.next().cloned().ok_or_else(|| format!("--{name}: a value is missing"))?,
        };
        match name {
            "log_output_level" => level = Some(value),
            "log_as_json" => json = truth(&value).map_err(|e| format!("--{name}: {e}"))?,
            "log_target" => {}
            _ => set(&mut config, name, &value).map_err(|e| format!("--{name}: {e}"))?,
        }
    }
    let group = |name: &str, default: &str| environment.0.get(name).cloned().unwrap_or_else(|| default.into());
    config.groups_include = group("ISTIO_OUTBOUND_OWNER_GROUPS", "*");
    config.groups_exclude = group("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "");
    config.loopback = group("ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "127.0.0.1/32");
    check(&config)?;
    Ok(Some((config, (level, json))))
}

/// A flag's name, and its value when it is in the same argument.
fn flag(argument: &str) -> Result<(&'static str, Option<String>), String> {
    let known = || VALUES.iter().chain(&SWITCHES);
    if let Some(long) = argument.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(n, v)| (n, Some(v.to_string())));
        let found = known().find(|(n, _)| *n == name);
        return found
            .map(|(n, _)| (*n, value))
            .ok_or_else(|| format!("unknown flag --{name}; see istio-iptables --help"));
    }
    let unknown = || format!("{argument:?} is no flag; see istio-iptables --help");
    let letters = argument.strip_prefix('-').filter(|l| !l.is_empty()).ok_or_else(unknown)?;
    let (letter, value) = letters.split_at(letters.chars().next().map_or(0, char::len_utf8));
    let (name, _) = known().find(|(_, l)| *l == letter).ok_or_else(unknown)?;
    let value = (!value.is_empty()).then(|| value.strip_prefix('=').unwrap_or(value).to_string());
    Ok((name, value))
}

fn truth(value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(format!("{other:?} is neither true nor false")),
    }
}

fn set(config: &mut CaptureConfig, name: &str, value: &str) -> Result<(), String> {
    let text = value.to_string();
    match name {
        "envoy-port" => config.proxy_port = text,
        "inbound-capture-port" => config.inbound_port = text,
        "inbound-tunnel-port" => config.tunnel_port = text,
        "proxy-uid" => config.proxy_uid = text,
        "proxy-gid" => config.proxy_gid = text,
        "istio-inbound-interception-mode" => {
            config.tproxy = match value {
                "TPROXY" => true,
                "REDIRECT" | "" => false,
                other => return Err(format!("{other:?} is no mode; use REDIRECT or TPROXY")),
            }
        }
        "istio-inbound-ports" => config.inbound_include = text,
        "istio-local-exclude-ports" => config.inbound_exclude = text,
        "istio-exclude-interfaces" => config.exclude_interfaces = text,
        "istio-service-cidr" => config.ranges_include = text,
        "istio-service-exclude-cidr" => config.ranges_exclude = text,
        "istio-outbound-ports" => config.outbound_ports_include = text,
        "istio-local-outbound-ports-exclude" => config.outbound_ports_exclude = text,
        "kube-virt-interfaces" => config.virtual_interfaces = text,
        "istio-inbound-tproxy-mark" => config.tproxy_mark = text,
        "istio-inbound-tproxy-route-table" => config.tproxy_table = text,
        "iptables-probe-port" => config.probe_port = value.parse().map_err(|_| format!("{value:?} is no port"))?,
        "probe-timeout" => {
            config.probe_timeout =
                duration::parse(value).ok_or_else(|| format!("{value:?} is no duration such as 5s"))?;
        }
        "network-namespace" => config.network_namespace = Some(text).filter(|t| !t.is_empty()),
        "force-iptables-binary" => {
            config.binary = match value {
                "" => Binary::Any,
                "legacy" => Binary::Legacy,
                "nft" => Binary::Nft,
                other => return Err(format!("{other:?} is neither legacy nor nft")),
            }
        }
        switch => *switch_of(config, switch) = truth(value)?,
    }
    Ok(())
}

fn switch_of<'a>(config: &'a mut CaptureConfig, name: &str) -> &'a mut bool {
    match name {
        "dry-run" => &mut config.dry_run,
        "skip-rule-apply" => &mut config.skip_rule_apply,
        "run-validation" => &mut config.run_validation,
        "redirect-dns" => &mut config.redirect_dns,
        "drop-invalid" => &mut config.drop_invalid,
        "dual-stack" => &mut config.dual_stack,
        "capture-all-dns" => &mut config.capture_all_dns,
        "cni-mode" => &mut config.cni_mode,
        "reconcile" => &mut config.reconcile,
        "cleanup-only" => &mut config.cleanup_only,
        "force-apply" => &mut config.force_apply,
        "native-nftables" => &mut config.native_nftables,
        _ => &mut config.trace,
    }
}

/// Only what is safe to write into a rule gets into one.
fn check(config: &CaptureConfig) -> Result<(), String> {
    let port = |p: &str| {
        p.parse::<u16>().is_ok()
            || p.split_once(':').is_some_and(|(a, b)| a.parse::<u16>().is_ok() && b.parse::<u16>().is_ok())
    };
    for (name, value) in [
        ("envoy-port", &config.proxy_port),
        ("inbound-capture-port", &config.inbound_port),
        ("inbound-tunnel-port", &config.tunnel_port),
    ] {
        if value.parse::<u16>().is_err() {
            return Err(format!("--{name}: {value:?} is no port"));
        }
    }
    for (name, value) in [
        ("istio-inbound-ports", &config.inbound_include),
        ("istio-local-exclude-ports", &config.inbound_exclude),
        ("istio-outbound-ports", &config.outbound_ports_include),
        ("istio-local-outbound-ports-exclude", &config.outbound_ports_exclude),
    ] {
        let all = value == "*" && name == "istio-inbound-ports";
        if let Some(bad) = list(value).find(|p| !all && !port(p)) {
            return Err(format!("--{name}: {bad:?} is no port"));
        }
    }
    let word = |w: &str| w.len() <= 64 && w.chars().all(|c| c.is_ascii_alphanumeric() || "_-.@+:".contains(c));
    for (name, value) in [
        ("--proxy-uid", &config.proxy_uid),
        ("--proxy-gid", &config.proxy_gid),
        ("--istio-exclude-interfaces", &config.exclude_interfaces),
        ("--kube-virt-interfaces", &config.virtual_interfaces),
        ("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", &config.groups_exclude),
    ] {
        if let Some(bad) = list(value).find(|w| !word(w)) {
            return Err(format!("{name}: {bad:?} is no name or number"));
        }
    }
    for (name, value) in
        [("istio-inbound-tproxy-mark", &config.tproxy_mark), ("istio-inbound-tproxy-route-table", &config.tproxy_table)]
    {
        if value.parse::<u32>().is_err() {
            return Err(format!("--{name}: {value:?} is no number"));
        }
    }
    let groups = &config.groups_include;
    if let Some(bad) = list(groups).find(|w| groups != "*" && !word(w)) {
        return Err(format!("ISTIO_OUTBOUND_OWNER_GROUPS: {bad:?} is no name or number"));
    }
    // All of them are conditions of one rule, and kernels limit how many one has.
    if list(groups).count() > 64 {
        return Err("ISTIO_OUTBOUND_OWNER_GROUPS: at most 64 groups; exclude the others instead".into());
    }
    match rules::cidr(&config.loopback) {
        Some((address, 8..=32)) if address.is_ipv4() && address.is_loopback() => Ok(()),
        _ => Err(format!("ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR: {:?} is no range within 127.0.0.0/8", config.loopback)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str], env: &[(&str, &str)]) -> Result<CaptureConfig, String> {
        let env = Environment(env.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect());
        let args: Vec<String> = line.iter().map(ToString::to_string).collect();
        read(&args, &env).map(|read| read.unwrap().0)
    }

    #[test]
    fn as_an_injected_init_container_calls_it() {
        let line =
            "-p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x  -b * -d 15090,15021,15020 --log_output_level=default:info";
        let config = parse(&line.split(' ').collect::<Vec<_>>(), &[("ISTIO_META_DNS_CAPTURE", "true")]).unwrap();
        assert_eq!((config.proxy_uid.as_str(), config.ranges_include.as_str(), config.tproxy), ("1337", "*", false));
        assert_eq!((config.inbound_include.as_str(), config.inbound_exclude.as_str()), ("*", "15090,15021,15020"));
        assert!(config.redirect_dns && !config.run_validation && config.ranges_exclude.is_empty());
        let config = parse(&["--run-validation", "--skip-rule-apply"], &[]).unwrap();
        assert!(config.run_validation && config.skip_rule_apply);
    }

    #[test]
    fn the_command_line_counts_more_than_the_environment() {
        let env = [
            ("PROXY_UID", "5"),
            ("DRY_RUN", "true"),
            ("ENVOY_PORT", "1"),
            ("INVALID_DROP", "true"),
            ("PROBE_TIMEOUT", "2s"),
        ];
        let config = parse(&["-u=7", "--dry-run=false", "-z15007"], &env).unwrap();
        assert_eq!((config.proxy_uid.as_str(), config.dry_run, config.drop_invalid), ("7", false, true));
        assert_eq!((config.proxy_port.as_str(), config.inbound_port.as_str()), ("15001", "15007"));
        assert_eq!(config.probe_timeout, std::time::Duration::from_secs(2));
    }

    #[test]
    fn what_is_refused_is_named() {
        for (line, part) in [
            (&["--someday"][..], "--someday"),
            (&["-p"], "--envoy-port"),
            (&["-p", "x"], "envoy-port"),
            (&["-b", "80,a\nb"], "istio-inbound-ports"),
            (&["-m", "MAGIC"], "REDIRECT or TPROXY"),
            (&["-u", "1 -j ACCEPT"], "proxy-uid"),
            (&["-n=perhaps"], "dry-run"),
            (&["stray"], "stray"),
            (&["--force-iptables-binary", "other"], "neither legacy nor nft"),
        ] {
            let error = parse(line, &[]).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let many = (0..65).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        assert!(parse(&[], &[("ISTIO_OUTBOUND_OWNER_GROUPS", &many)]).unwrap_err().contains("64"));
        assert!(
            parse(&[], &[("ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "10.0.0.1/32")]).unwrap_err().contains("127.0.0.0/8")
        );
    }
}
