// SPDX-License-Identifier: Apache-2.0
//! Whether capture works: a connection to an address where nobody listens must arrive at Envoy's port, with the destination that it
//! was made for. Envoy is not there yet, so we listen in its place.

use super::config::CaptureConfig;
use rustix::net::sockopt::{ip_original_dst, ipv6_original_dst, set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::process::Uid;
use rustix::thread::set_thread_uid;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Between two tries.
const PERIOD: Duration = Duration::from_millis(200);

/// Sees whether a connection to the passthrough address comes to Envoy's port.
///
/// # Errors
/// Says that it does not, or why nothing could be seen.
pub(super) fn run(config: &CaptureConfig) -> Result<(), String> {
    let v6 = config.host.is_some_and(|h| h.is_ipv6());
    // What the proxy sends from 127.0.0.6 or ::6 is let through; what is sent to it is captured.
    let (own, target) = if v6 {
        (IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::from(6)))
    } else {
        (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6)))
    };
    let mut listeners = Vec::new();
    for port in [&config.proxy_port, &config.inbound_port] {
        let port = port.parse::<u16>().map_err(|e| format!("{port}: {e}"))?;
        match open(SocketAddr::new(own, port)) {
            Ok(listener) => listeners.push(listener),
            Err(error) => tracing::warn!(port, %error, "cannot listen"),
        }
    }
    if listeners.is_empty() {
        return Err("neither of the proxy's ports is free to listen on".into());
    }
    let target = SocketAddr::new(target, config.probe_port);
    let until = Instant::now() + config.probe_timeout;
    loop {
        let tried = connect(target, config);
        for listener in &listeners {
            while let Ok((stream, _)) = listener.accept() {
                if original_port(&stream, v6) == Some(config.probe_port) {
                    tracing::info!(%target, "validation passed: the connection came to the proxy's port");
                    return Ok(());
                }
            }
        }
        if Instant::now() >= until {
            let why = tried.err().map_or("it went elsewhere".to_string(), |e| e.to_string());
            return Err(format!("a connection to {target} does not come to the proxy's port: {why}"));
        }
        std::thread::sleep(PERIOD);
    }
}

/// Connects as the proxy's user: what others send to loopback is let through. That user is what a pod's validation runs as; root
/// becomes it on a thread of its own.
fn connect(target: SocketAddr, config: &CaptureConfig) -> std::io::Result<TcpStream> {
    let user = super::config::list(&config.proxy_uid).next().and_then(|id| id.parse().ok());
    let (Some(user), true) = (user, rustix::process::geteuid().is_root()) else {
        return TcpStream::connect_timeout(&target, PERIOD);
    };
    let thread = std::thread::spawn(move || {
        set_thread_uid(Uid::from_raw(user))?;
        TcpStream::connect_timeout(&target, PERIOD)
    });
    thread.join().unwrap_or_else(|_| Err(std::io::Error::other("the connecting thread panicked")))
}

/// Another agent's validation may be running on the same ports.
fn open(address: SocketAddr) -> std::io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    set_socket_reuseaddr(&socket, true)?;
    set_socket_reuseport(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, 16)?;
    Ok(TcpListener::from(socket))
}

fn original_port(stream: &TcpStream, v6: bool) -> Option<u16> {
    if v6 { ipv6_original_dst(stream).ok().map(|a| a.port()) } else { ip_original_dst(stream).ok().map(|a| a.port()) }
}
