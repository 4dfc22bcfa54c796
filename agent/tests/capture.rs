// SPDX-License-Identifier: Apache-2.0
//! Traffic capture in network namespaces, by each of the packet filters that are installed. Needs root; skipped aloud without it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod support;

use rustix::net::sockopt::{ip_original_dst, ipv6_original_dst};
use rustix::process::{Gid, Uid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space, set_thread_gid, set_thread_uid};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Command, Output};
use std::time::Duration;
use tiphys_harness::netns::{Host, Network};

const SOON: Duration = Duration::from_secs(2);
const BACKENDS: [&[&str]; 3] =
    [&["--force-iptables-binary=nft"], &["--force-iptables-binary=legacy"], &["--native-nftables"]];

/// Runs a closure on a host, on a thread of its own.
fn on<T: Send + 'static>(host: &Host, work: impl FnOnce() -> T + Send + 'static) -> T {
    let namespace = std::fs::File::open(host.namespace()).unwrap();
    let thread = std::thread::spawn(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        work()
    });
    thread.join().unwrap()
}

/// Answers each connection to a port with the port, and where the connection was meant to go.
fn listen(host: &Host, port: u16) {
    let listener = on(host, move || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let meant = match stream.peer_addr().unwrap().ip().to_canonical() {
                IpAddr::V4(_) => ip_original_dst(&stream).map(SocketAddr::V4),
                IpAddr::V6(_) => ipv6_original_dst(&stream).map(SocketAddr::V6),
            };
            let meant = meant.map(|a| a.to_string()).unwrap_or_default();
            let _ = write!(stream, "{port} for {meant}");
        }
    });
}

/// Answers each datagram with the port, as a user: it is by the user that an agent's answers are known.
fn listen_udp(host: &Host, user: u32, address: impl Into<SocketAddr>) {
    let address = address.into();
    let port = address.port();
    let socket = on(host, move || {
        Caller::become_it(user, user);
        UdpSocket::bind(address).unwrap()
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(port.to_string().as_bytes(), from);
        }
    });
}

#[derive(Clone, Copy)]
struct Caller<'a> {
    host: &'a Host,
    user: u32,
    group: u32,
}

impl Caller<'_> {
    fn become_it(user: u32, group: u32) {
        if group != 0 {
            set_thread_gid(Gid::from_raw(group)).unwrap();
        }
        if user != 0 {
            set_thread_uid(Uid::from_raw(user)).unwrap();
        }
    }

    /// Who answers, and for what address.
    fn call(&self, to: impl Into<SocketAddr>) -> String {
        let (to, user, group) = (to.into(), self.user, self.group);
        on(self.host, move || {
            Self::become_it(user, group);
            let mut answer = String::new();
            match TcpStream::connect_timeout(&to, SOON).and_then(|mut s| s.read_to_string(&mut answer)) {
                Ok(_) => answer,
                Err(error) => error.to_string(),
            }
        })
    }

    fn ask(&self, to: impl Into<SocketAddr>) -> String {
        let (to, user, group) = (to.into(), self.user, self.group);
        on(self.host, move || {
            Self::become_it(user, group);
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            // Answers of another than the one asked are not taken.
            socket.connect(to).unwrap();
            socket.send(b"?").unwrap();
            let mut buffer = [0; 64];
            socket
                .recv(&mut buffer)
                .map_or_else(|e| e.to_string(), |n| String::from_utf8_lossy(&buffer[..n]).into_owned())
        })
    }
}

fn application(host: &Host) -> Caller<'_> {
    Caller { host, user: 1000, group: 1000 }
}

fn envoy(host: &Host) -> Caller<'_> {
    Caller { host, user: 1337, group: 1337 }
}

fn run(host: &Host, arguments: &[&str]) -> Output {
    host.command(env!("CARGO_BIN_EXE_tiphys-agent"))
        .arg("istio-iptables")
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .output()
        .unwrap()
}

fn apply(host: &Host, arguments: &[&str]) {
    let output = run(host, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// All packet filters, without what changes by itself.
fn state(host: &Host) -> String {
    let mut all = String::new();
    for program in ["iptables-legacy-save", "ip6tables-legacy-save", "iptables-nft-save", "ip6tables-nft-save"] {
        let text = host.output(&[program]).unwrap_or_default();
        let lines = text.lines().filter(|l| !l.starts_with('#'));
        all.extend(lines.map(|l| format!("{}\n", l.split(" [").next().unwrap())));
    }
    all + &host.output(&["nft", "--stateless", "list", "ruleset"]).unwrap_or_default()
}

fn installed(backend: &[&str]) -> bool {
    let program = match backend[0] {
        "--native-nftables" => "nft",
        "--force-iptables-binary=nft" => "iptables-nft",
        _ => "iptables-legacy",
    };
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        println!("SKIPPED: there is no {program}");
    }
    there
}

#[test]
fn connections_are_redirected_and_exclusions_are_not() {
    for backend in BACKENDS.into_iter().filter(|b| installed(b)) {
        println!("{backend:?}");
        let Some(network) = Network::new("connections_are_redirected").unwrap() else { return };
        let (world, pod, peer) = (network.world(), network.host().unwrap(), network.host().unwrap());
        for (host, ports) in [(&pod, &[15001, 15006, 80, 9090][..]), (&peer, &[80, 7070]), (&world, &[80])] {
            ports.iter().for_each(|port| listen(host, *port));
        }
        let (own, other, excluded) = (IpAddr::V4(pod.ip()), IpAddr::V4(peer.ip()), IpAddr::V4(world.ip()));
        let arguments = "-p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x 10.211.0.1/32 -b * -d 15020,9090 -o 7070";
        let arguments: Vec<&str> = arguments.split(' ').chain(backend.iter().copied()).collect();
        apply(&pod, &arguments);
        let captured = |caller: Caller<'_>, to: (IpAddr, u16), by: u16| {
            assert_eq!(caller.call(to), format!("{by} for {}", SocketAddr::from(to)), "{to:?}");
        };
        // Inbound: the exclusion is answered by the application itself.
        captured(application(&peer), (own, 80), 15006);
        assert!(application(&peer).call((own, 9090)).starts_with("9090"));
        // Outbound: not the excluded port, not the excluded range, not what Envoy sends, by user or group.
        captured(application(&pod), (other, 80), 15001);
        assert!(application(&pod).call((other, 7070)).starts_with("7070"));
        assert!(application(&pod).call((excluded, 80)).starts_with("80"));
        for own in [envoy(&pod), Caller { user: 1000, ..envoy(&pod) }, Caller { group: 1000, ..envoy(&pod) }] {
            assert!(own.call((other, 80)).starts_with("80 for"));
        }
        // To itself: the application by its address or loopback is let through; Envoy comes to its inbound side.
        assert!(application(&pod).call((own, 80)).starts_with("80"));
        assert!(application(&pod).call(([127, 0, 0, 1], 80)).starts_with("80"));
        captured(envoy(&pod), (own, 80), 15006);

        let before = state(&pod);
        assert!(before.to_lowercase().contains("istio"), "{before}");
        apply(&pod, &arguments);
        assert_eq!(before, state(&pod), "applied twice");

        // Other rules: by --reconcile only.
        let mut more = arguments.clone();
        more.extend(["-o", "80,7070", "--reconcile"]);
        apply(&pod, &more);
        assert!(application(&pod).call((other, 80)).starts_with("80"));
        captured(application(&peer), (own, 80), 15006);
        more.push("--cleanup-only");
        apply(&pod, &more);
        assert!(!state(&pod).to_lowercase().contains("istio"), "{}", state(&pod));
        assert!(application(&peer).call((own, 80)).starts_with("80"));
    }
}

#[test]
fn ipv6_and_lists_of_ports_and_ranges() {
    for backend in BACKENDS.into_iter().filter(|b| installed(b)) {
        println!("{backend:?}");
        let Some(network) = Network::new("ipv6").unwrap() else { return };
        let (pod, peer) = (network.host().unwrap(), network.host().unwrap());
        let address = |host: &Host| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host.ip().octets()[3].into());
        for host in [&pod, &peer] {
            let cidr = format!("{}/64", address(host));
            host.output(&["ip", "-6", "address", "add", &cidr, "dev", "eth0", "nodad"]).unwrap();
        }
        for (host, ports) in [(&pod, &[15001, 15006, 80, 81][..]), (&peer, &[80])] {
            ports.iter().for_each(|port| listen(host, *port));
        }
        let (own, other) = (IpAddr::V6(address(&pod)), IpAddr::V6(address(&peer)));
        let common = ["-u", "1337", "-b", "80", "-i", "fd00::3/128,10.211.0.3/32", "--dual-stack", "--drop-invalid"];
        apply(&pod, &[&common[..], backend].concat());
        assert_eq!(application(&peer).call((own, 80)), format!("15006 for [{own}]:80"));
        assert!(application(&peer).call((own, 81)).starts_with("81"));
        assert_eq!(application(&pod).call((other, 80)), format!("15001 for [{other}]:80"));
        assert_eq!(application(&pod).call((peer.ip(), 80)), format!("15001 for {}:80", peer.ip()));
        assert!(envoy(&pod).call((other, 80)).starts_with("80"));
        // The address from which Envoy connects to the application.
        assert!(pod.output(&["ip", "-6", "address", "show", "dev", "lo"]).unwrap().contains("::6/128"));
        let before = state(&pod);
        apply(&pod, &[&common[..], backend].concat());
        assert_eq!(before, state(&pod), "applied twice");
        // Without IPv6 it is left alone.
        apply(&pod, &[&common[..], backend, &["--cleanup-only"]].concat());
        apply(&pod, &[&["-b", "*", "-i", "*"], backend].concat());
        assert!(application(&pod).call((other, 80)).starts_with("80"));
        assert!(application(&pod).call((peer.ip(), 80)).starts_with("15001"));
    }
}

#[test]
fn dns_goes_to_the_agent_and_the_agents_to_the_server() {
    for backend in BACKENDS.into_iter().filter(|b| installed(b)) {
        println!("{backend:?}");
        let Some(network) = Network::new("dns").unwrap() else { return };
        let (pod, server) = (network.host().unwrap(), network.host().unwrap());
        listen(&pod, 15053);
        listen_udp(&pod, 1337, ([127, 0, 0, 1], 15053));
        listen(&server, 53);
        listen_udp(&server, 0, (server.ip(), 53));
        apply(&pod, &[&["-u", "1337", "--redirect-dns", "--capture-all-dns"], backend].concat());
        let to = (server.ip(), 53);
        assert_eq!(application(&pod).ask(to), "15053");
        assert_eq!(envoy(&pod).ask(to), "53");
        assert!(application(&pod).call(to).starts_with("15053"));
        assert!(envoy(&pod).call(to).starts_with("53"));
    }
}

#[test]
fn validation_tells_whether_rules_are_there() {
    let Some(network) = Network::new("validation").unwrap() else { return };
    let pod = network.host().unwrap();
    let validate = ["--run-validation", "--skip-rule-apply", "--probe-timeout", "500ms", "-u", "1337"];
    assert_eq!(run(&pod, &validate).status.code(), Some(126));
    apply(&pod, &["-u", "1337", "-b", "*", "-i", "*", "--run-validation"]);
    assert_eq!(run(&pod, &validate).status.code(), Some(0));
    // From outside, as a node's agent would do it.
    let namespace = pod.namespace();
    let inside = ["istio-clean-iptables", "--cni-mode", "--network-namespace", namespace.to_str().unwrap()];
    let cleaned = Command::new(env!("CARGO_BIN_EXE_tiphys-agent")).args(inside).output().unwrap();
    assert!(cleaned.status.success(), "{}", String::from_utf8_lossy(&cleaned.stderr));
    assert_eq!(run(&pod, &validate).status.code(), Some(126));
}

#[test]
fn a_dry_run_prints_and_changes_nothing() {
    let Some(network) = Network::new("dry run").unwrap() else { return };
    let pod = network.host().unwrap();
    let output = run(&pod, &["--dry-run", "-b", "*", "-i", "*"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("-A ISTIO_OUTPUT -j ISTIO_REDIRECT"), "{text}");
    assert!(!state(&pod).contains("ISTIO"));
    let wrong = run(&pod, &["-b", "eighty"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--istio-inbound-ports: \"eighty\" is no port"));
}

/// An Envoy that answers on 15006 with the addresses that it sees.
const TRANSPARENT: &str = r#"{
  "static_resources": { "listeners": [{
    "name": "in", "transparent": true,
    "address": { "socket_address": { "address": "0.0.0.0", "port_value": 15006 } },
    "listener_filters": [{ "name": "original_dst", "typed_config": {
      "@type": "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst" } }],
    "filter_chains": [{ "filters": [{ "name": "hcm", "typed_config": {
      "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
      "stat_prefix": "in",
      "http_filters": [{ "name": "router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } }],
      "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [{
        "match": { "prefix": "/" },
        "response_headers_to_add": [{ "header": { "key": "x-seen",
          "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% to %DOWNSTREAM_LOCAL_ADDRESS%" } }],
        "direct_response": { "status": 200 } }] }] }
    } }] }]
  }] }
}"#;

#[test]
fn tproxy_keeps_both_addresses() {
    let Some(envoy_binary) = support::envoy() else {
        println!("SKIPPED: there is no Envoy; run `make setup`, or name one with TIPHYS_ENVOY");
        return;
    };
    for backend in BACKENDS.into_iter().filter(|b| installed(b)) {
        println!("{backend:?}");
        let Some(network) = Network::new("tproxy").unwrap() else { return };
        let (pod, peer) = (network.host().unwrap(), network.host().unwrap());
        listen(&pod, 9090);
        let arguments = [&["-u", "1337", "-m", "TPROXY", "-b", "*", "-d", "9090", "-i", "*"], backend].concat();
        apply(&pod, &arguments);
        apply(&pod, &arguments);
        assert!(pod.output(&["ip", "rule"]).unwrap().contains("fwmark 0x539 lookup 133"));
        let mut command = pod.command(envoy_binary.to_str().unwrap());
        command.args(["--config-yaml", TRANSPARENT, "--concurrency", "1", "-l", "error", "--use-dynamic-base-id"]);
        let mut child = command.spawn().unwrap();
        let url = format!("http://{}:8080/", pod.ip());
        let ask = || peer.output(&["curl", "-si", "-m", "2", &url]).unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(15);
        let mut answer = ask();
        while !answer.contains("x-seen") && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(100));
            answer = ask();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(answer.contains(&format!("x-seen: {} to {}:8080", peer.ip(), pod.ip())), "{answer}");
        assert!(application(&peer).call((pod.ip(), 9090)).starts_with("9090"));
    }
}
