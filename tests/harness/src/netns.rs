// SPDX-License-Identifier: Apache-2.0
//! Network namespaces for tests of traffic capture: a network of its own with a bridge, and hosts on it whose traffic the agent's
//! `istio-iptables` leads to their sidecars. Nothing of it can be seen from the machine's own network, and all of it is gone
//! when the [`Network`] is dropped.

use anyhow::{Context, Result, bail};
use std::cell::Cell;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The group whose traffic is not captured: the sidecar's own.
pub const SIDECAR_GROUP: u32 = 1337;

/// Ports of the agent and its Envoy, which are reached without capture.
const UNCAPTURED: &str = "15020,15021,15090";

/// Networks that this process has made.
static NETWORKS: AtomicUsize = AtomicUsize::new(0);

/// A network with nothing else on it.
#[derive(Debug)]
pub struct Network {
    prefix: String,
    hosts: Cell<u8>,
}

/// A host on a [`Network`].
#[derive(Clone, Debug)]
pub struct Host {
    namespace: String,
    ip: Ipv4Addr,
}

impl Network {
    /// A new network; `None` to a user who may not make one, which is said aloud.
    ///
    /// # Errors
    /// When a command fails, which the error quotes.
    pub fn new(name: &str) -> Result<Option<Network>> {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: {name} needs root to make network namespaces");
            return Ok(None);
        }
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let network = Network { prefix: format!("tiphys-{}-{number}", std::process::id()), hosts: Cell::new(1) };
        let world = network.world();
        run(&["ip", "netns", "add", &world.namespace])?;
        world.run(&["ip", "link", "set", "lo", "up"])?;
        world.run(&["ip", "link", "add", "bridge", "type", "bridge"])?;
        world.run(&["ip", "address", "add", &format!("{}/24", world.ip), "dev", "bridge"])?;
        world.run(&["ip", "link", "set", "bridge", "up"])?;
        Ok(Some(network))
    }

    /// The host of the control plane, and the way of the others to anywhere.
    pub fn world(&self) -> Host {
        self.at(1)
    }

    /// A further host.
    ///
    /// # Errors
    /// When a command fails, which the error quotes.
    pub fn host(&self) -> Result<Host> {
        self.hosts.set(self.hosts.get() + 1);
        let (world, host) = (self.world(), self.at(self.hosts.get()));
        let (outer, address) = (format!("host{}", self.hosts.get()), format!("{}/24", host.ip));
        run(&["ip", "netns", "add", &host.namespace])?;
        host.run(&["ip", "link", "set", "lo", "up"])?;
        world.run(&["ip", "link", "add", &outer, "type", "veth", "peer", "name", "eth0", "netns", &host.namespace])?;
        world.run(&["ip", "link", "set", &outer, "master", "bridge", "up"])?;
        host.run(&["ip", "address", "add", &address, "dev", "eth0"])?;
        host.run(&["ip", "link", "set", "eth0", "up"])?;
        host.run(&["ip", "route", "add", "default", "via", &world.ip.to_string()])?;
        Ok(host)
    }

    fn at(&self, number: u8) -> Host {
        Host { namespace: format!("{}-{number}", self.prefix), ip: Ipv4Addr::new(10, 211, 0, number) }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for number in 1..=self.hosts.get() {
            // What cannot be removed was not made.
            let _ = run(&["ip", "netns", "delete", &self.at(number).namespace]);
        }
    }
}

impl Host {
    /// Its address.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// A command that runs `program` on this host.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace)).arg(program);
        command
    }

    /// A command that runs `program` on this host as the sidecar: what it sends is not captured.
    pub fn sidecar_command(&self, program: &str) -> Command {
        let mut command = self.command("setpriv");
        command.args(["--regid", &SIDECAR_GROUP.to_string(), "--clear-groups", "--", program]);
        command
    }

    /// The file of its network namespace.
    pub fn namespace(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.namespace)
    }

    /// Captures what comes in and what goes out, less what the sidecar sends, by the agent's `istio-iptables`, in interception mode `mode`
    /// (REDIRECT, TPROXY).
    ///
    /// # Errors
    /// When it fails, which the error quotes.
    pub fn capture(&self, agent: &Path, mode: &str) -> Result<()> {
        let agent = agent.to_str().context("a path in UTF-8")?;
        let group = SIDECAR_GROUP.to_string();
        let ports = ["-p", "15001", "-z", "15006", "-u", &group, "-m", mode, "-i", "*", "-x", ""];
        self.run(&[&[agent, "istio-iptables"][..], &ports, &["-b", "*", "-d", UNCAPTURED]].concat())
    }

    /// Runs a command on this host to its end and gives what it prints.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn output(&self, arguments: &[&str]) -> Result<String> {
        let (program, arguments) = arguments.split_first().context("no command")?;
        let output =
            self.command(program).args(arguments).output().with_context(|| format!("cannot start {program}"))?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        let enter = format!("--net=/run/netns/{}", self.namespace);
        run(&[&["nsenter", &enter], arguments].concat())
    }
}

fn run(command: &[&str]) -> Result<()> {
    let (program, arguments) = command.split_first().context("no command")?;
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!("{} failed: {}", command.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_reach_each_other() -> Result<()> {
        let Some(network) = Network::new("hosts_reach_each_other")? else { return Ok(()) };
        let (a, b) = (network.host()?, network.host()?);
        let connect = |to: &Host| format!("exec 3<>/dev/tcp/{}/7000 && echo connected", to.ip());
        let listen = "import socket; s = socket.create_server(('', 7000)); print('on', flush=True); s.accept()";
        let mut server = b.command("python3").args(["-c", listen]).stdout(std::process::Stdio::piped()).spawn()?;
        let mut on = [0; 3];
        std::io::Read::read_exact(&mut server.stdout.take().context("its output")?, &mut on)?;
        assert_eq!(a.output(&["bash", "-c", &connect(&b)])?, "connected\n");
        assert!(a.output(&["bash", "-c", &connect(&a)])?.contains("refused"));
        server.kill()?;
        server.wait()?;
        Ok(())
    }
}
