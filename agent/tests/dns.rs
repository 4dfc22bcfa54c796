// SPDX-License-Identifier: Apache-2.0
//! The DNS proxy of the agent: names from the control plane, the others from a server of resolv.conf.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod support;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use support::{Agent, AgentOptions, CLUSTER, ControlPlane, LISTENER, envoy, memory};
use tiphys_proto::google::protobuf::Any;
use tiphys_proto::istio::networking::nds::v1::NameTable;
use tiphys_proto::istio::networking::nds::v1::name_table::NameInfo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

const SOON: Duration = Duration::from_secs(20);
const NAMES: &str = "type.googleapis.com/istio.networking.nds.v1.NameTable";

/// A loopback address that no other test has, nor another run of these tests on the same machine.
fn own(number: u8) -> String {
    let pid = std::process::id();
    format!("127.{}.{}.{number}", 64 + (pid >> 8) % 128, pid % 256)
}

fn names(count: usize) -> (String, Any) {
    let info = |short: String, ip: String| NameInfo {
        ips: vec![ip],
        registry: "Kubernetes".into(),
        shortname: short,
        namespace: "default".into(),
        ..NameInfo::default()
    };
    let table: BTreeMap<String, NameInfo> = (0..count)
        .map(|n| {
            let ip = format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255);
            (format!("svc-{n}.default.svc.cluster.local"), info(format!("svc-{n}"), ip))
        })
        .collect();
    let value = prost::Message::encode_to_vec(&NameTable { table }).into();
    ("names".into(), Any { type_url: NAMES.into(), value })
}

/// A server that knows every name as 192.0.2.1, by UDP and TCP.
async fn server(address: SocketAddr) {
    let udp = UdpSocket::bind(address).await.unwrap();
    let tcp = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
            udp.send_to(&answer(&buffer[..length]), from).await.unwrap();
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut query).await.unwrap();
            let answer = answer(&query);
            stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
}

fn answer(query: &[u8]) -> Vec<u8> {
    let mut message = Message::from_vec(query).unwrap().into_response();
    let name = message.queries[0].name().clone();
    message.add_answer(Record::from_rdata(name, 60, RData::A(std::net::Ipv4Addr::new(192, 0, 2, 1).into())));
    message.to_vec().unwrap()
}

fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

fn read(answer: &[u8]) -> Result<Vec<String>, ResponseCode> {
    let message = Message::from_vec(answer).unwrap();
    match message.metadata.response_code {
        ResponseCode::NoError => Ok(message.answers.iter().map(|r| format!("{} {}", r.name, r.data)).collect()),
        other => Err(other),
    }
}

async fn by_udp(agent: SocketAddr, name: &str, kind: RecordType) -> Result<Vec<String>, ResponseCode> {
    let socket = UdpSocket::bind((IpAddr::from([127, 0, 0, 1]), 0)).await.unwrap();
    socket.send_to(&query(name, kind), agent).await.unwrap();
    let mut buffer = [0; 4096];
    let length = tokio::time::timeout(SOON, socket.recv(&mut buffer)).await.unwrap().unwrap();
    read(&buffer[..length])
}

async fn by_tcp(stream: &mut TcpStream, name: &str) -> Result<Vec<String>, ResponseCode> {
    let query = query(name, RecordType::A);
    stream.write_u16(u16::try_from(query.len()).unwrap()).await.unwrap();
    stream.write_all(&query).await.unwrap();
    let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut answer).await.unwrap();
    read(&answer)
}

async fn names_of_the_mesh_and_of_others(address: &str, delta: &str) {
    let Some(envoy) = envoy() else {
        println!("SKIPPED: there is no Envoy; run `make setup`, or name one with TIPHYS_ENVOY");
        return;
    };
    let plane = ControlPlane::start().await;
    for kind in [LISTENER, CLUSTER] {
        plane.seen.resources.lock().unwrap().insert(kind.into(), Vec::new());
    }
    let hosts = 5_000;
    plane.seen.resources.lock().unwrap().insert(NAMES.into(), vec![names(hosts)]);
    let upstream: SocketAddr = format!("{address}:5353").parse().unwrap();
    server(upstream).await;
    let resolv_conf = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(resolv_conf.path(), format!("search default.svc.cluster.local x\nnameserver {upstream}\n")).unwrap();
    let env = vec![
        ("ENVOY_BINARY", envoy.display().to_string()),
        ("ISTIO_DELTA_XDS", delta.to_string()),
        ("ISTIO_META_DNS_CAPTURE", "true".to_string()),
        ("DNS_PROXY_ADDR", format!("{address}:15053")),
        ("TIPHYS_RESOLV_CONF", resolv_conf.path().display().to_string()),
    ];
    let agent = Agent::start(&plane, &AgentOptions { address, env, proxy_config: String::new() });
    agent.until("ready", SOON, async || matches!(agent.get(15021, "/healthz/ready").await, Ok((200, _)))).await;
    assert!(plane.seen.refused.lock().unwrap().is_empty(), "{:?}", plane.seen.refused);

    let proxy: SocketAddr = format!("{address}:15053").parse().unwrap();
    let known = |name: &str| Ok(vec![format!("{name} 10.0.0.7")]);
    for name in ["svc-7.", "svc-7.default.", "svc-7.default.svc.", "svc-7.default.svc.cluster.local."] {
        assert_eq!(by_udp(proxy, name, RecordType::A).await, known(name));
    }
    assert_eq!(by_udp(proxy, "svc-7.", RecordType::AAAA).await, Ok(vec![]));
    let other = Ok(vec!["example.com. 192.0.2.1".to_string()]);
    assert_eq!(by_udp(proxy, "example.com.", RecordType::A).await, other);
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    assert_eq!(by_tcp(&mut stream, "svc-8.").await, Ok(vec!["svc-8. 10.0.0.8".to_string()]));
    assert_eq!(by_tcp(&mut stream, "example.com.").await, other);

    let (resident, private) = memory(agent.pid());
    println!("memory with {hosts} names (delta={delta}): {resident} KiB resident, {private} KiB private anonymous");
    let limit = if cfg!(debug_assertions) { 32 } else { 15 };
    assert!(resident < limit * 1024, "{resident} KiB resident");
    let (status, shown) = agent.get(15020, "/debug/ndsz").await.unwrap();
    assert!(status == 200 && shown.matches("\"ips\"").count() == hosts);
    let (_, metrics) = agent.get(15020, "/stats/prometheus").await.unwrap();
    assert!(metrics.contains("istio_agent_dns_upstream_requests_total 2\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_by_delta() {
    names_of_the_mesh_and_of_others(&own(41), "true").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_by_state_of_the_world() {
    names_of_the_mesh_and_of_others(&own(42), "false").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_names_nothing_is_known() {
    let plane = ControlPlane::start().await;
    let address = own(43);
    let env = vec![
        ("DISABLE_ENVOY", "true".to_string()),
        ("ISTIO_META_DNS_CAPTURE", "true".to_string()),
        ("DNS_PROXY_ADDR", format!("{address}:15053")),
    ];
    let agent = Agent::start(&plane, &AgentOptions { address: &address, env, proxy_config: String::new() });
    agent.until("status", SOON, async || agent.get(15020, "/healthz/ready").await.is_ok()).await;
    let proxy: SocketAddr = format!("{address}:15053").parse().unwrap();
    assert_eq!(by_udp(proxy, "svc-7.", RecordType::A).await, Err(ResponseCode::ServFail));
    assert_eq!(agent.get(15020, "/debug/ndsz").await, Ok((404, "{}".into())));
}
