// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::capture::iptables::restore_text;
use crate::capture::nftables;

fn config() -> CaptureConfig {
    CaptureConfig { proxy_uid: "1337".into(), proxy_gid: "1337".into(), ..Default::default() }
}

fn v4(config: &CaptureConfig) -> String {
    restore_text(&all(config).unwrap(), false)
}

#[test]
fn what_an_injected_pod_gets() {
    let config = CaptureConfig {
        inbound_include: "*".into(),
        inbound_exclude: "15090,15021,15020".into(),
        ranges_include: "*".into(),
        ..config()
    };
    let expected = "\
*nat
-N ISTIO_INBOUND
-N ISTIO_IN_REDIRECT
-N ISTIO_REDIRECT
-N ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A ISTIO_INBOUND -p tcp --dport 15090 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15021 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15020 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_OUTPUT -o lo -s 127.0.0.6/32 -j RETURN
-A ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
COMMIT
";
    assert_eq!(v4(&config), expected);
    let v6 = restore_text(&all(&config).unwrap(), true);
    assert!(v6.contains("-A ISTIO_OUTPUT -d ::1/128 -j RETURN") && !v6.contains("127.0.0"));
}

#[test]
fn tproxy_marks_and_diverts() {
    let config = CaptureConfig { tproxy: true, inbound_include: "80".into(), ..config() };
    let text = v4(&config);
    for line in [
        "-A ISTIO_INBOUND -p tcp --dport 80 -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT",
        "-A ISTIO_INBOUND -p tcp --dport 80 -j ISTIO_TPROXY",
        "-A ISTIO_TPROXY ! -d 127.0.0.1/32 -p tcp -j TPROXY --tproxy-mark 1337/0xffffffff --on-port 15006",
        "-I ISTIO_INBOUND 3 -p tcp -i lo -m mark ! --mark 1338 -j RETURN",
        "-A OUTPUT -p tcp -m connmark --mark 1337 -j CONNMARK --restore-mark",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} is not in\n{text}");
    }
}

#[test]
fn loopback_that_is_asked_for_is_captured() {
    let config = CaptureConfig { ranges_include: "127.1.2.3/32".into(), ..config() };
    assert!(!v4(&config).contains("! --uid-owner"));
}

#[test]
fn dns_needs_servers_or_everything() {
    let none = CaptureConfig { redirect_dns: true, ..config() };
    assert_eq!(v4(&none), v4(&config()));
    let everything = CaptureConfig { capture_all_dns: true, ..none.clone() };
    assert!(v4(&everything).contains("-A ISTIO_OUTPUT_DNS -p udp --dport 53 -j REDIRECT --to-ports 15053"));
    let servers = ["fd00::a", "10.96.0.10"].map(|a| a.parse().unwrap()).to_vec();
    let some = CaptureConfig { nameservers: servers, ..none };
    assert!(v4(&some).contains("-A ISTIO_INBOUND -p udp --sport 53 -s 10.96.0.10/32 -j CT --zone 1"));
    let v6 = restore_text(&all(&some).unwrap(), true);
    assert!(v6.contains("-A ISTIO_OUTPUT_DNS -p tcp --dport 53 -d fd00::a/128 -j REDIRECT --to-ports 15053"));
}

#[test]
fn ranges_that_are_none_are_named() {
    let bad = CaptureConfig { ranges_include: "10.0.0.0".into(), ..config() };
    assert!(all(&bad).unwrap_err().contains("--istio-service-cidr: \"10.0.0.0\""));
    let bad = CaptureConfig { ranges_exclude: "*".into(), ..config() };
    assert!(all(&bad).unwrap_err().contains("--istio-service-exclude-cidr"));
}

#[test]
fn nftables_has_inserted_rules_in_their_places() {
    let config = CaptureConfig { tproxy: true, inbound_include: "*".into(), ipv6: true, ..config() };
    let script = nftables::script(&all(&config).unwrap(), &config);
    let at = |part: &str| script.find(part).unwrap_or_else(|| panic!("{part} is not in\n{script}"));
    let order = [
        "meta l4proto tcp meta mark 1337 counter return",
        "ip saddr 127.0.0.6/32 iifname \"lo\" counter return",
        "ip6 saddr ::6/128 iifname \"lo\" counter return",
        "iifname \"lo\" meta mark != 1338 counter return",
        "ct state related,established counter jump istio-divert",
    ];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{script}");
    assert!(script.contains("tproxy ip6 to :15006 meta mark set 1337 accept"));
}
