// SPDX-License-Identifier: Apache-2.0
//! Who is connected to the proxy's port for redirected inbound connections, by the kernel's table (proc(5), `/proc/net/tcp`). Connections that ended less than
//! a minute ago are in it, too. It does not say what goes over a connection.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where REDIRECT leads inbound connections.
const INBOUND: u16 = 15006;
const LISTEN: &str = "0A";
/// A table that is longer is read so far.
const LINES: usize = 20_000;
/// How many addresses are of interest.
const PEERS: usize = 64;

/// Addresses of peers that are not of this machine.
pub fn read(wanted: impl Fn(&IpAddr) -> bool) -> BTreeSet<IpAddr> {
    let mut found = BTreeSet::new();
    for path in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let Ok(file) = File::open(path) else { continue };
        let mut reader = BufReader::with_capacity(4096, file);
        let mut line = String::new();
        for _ in 0..LINES {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 || found.len() >= PEERS {
                break;
            }
            found.extend(peer(&line, INBOUND).filter(|address| !address.is_loopback() && wanted(address)));
        }
    }
    found
}

/// The remote address of a line, when its local port is this one.
fn peer(line: &str, local: u16) -> Option<IpAddr> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (_, port) = fields.next()?.split_once(':')?;
    let (remote, _) = fields.next()?.split_once(':')?;
    if u16::from_str_radix(port, 16) != Ok(local) || fields.next()? == LISTEN {
        return None;
    }
    // Words of 32 bits, each in the byte order of the machine.
    let word = |at: usize| Some(u32::from_str_radix(remote.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    if remote.len() == 8 {
        return Some(IpAddr::from(Ipv4Addr::from(word(0)?)));
    }
    let mut bytes = [0; 16];
    for (place, part) in bytes.chunks_exact_mut(4).enumerate() {
        part.copy_from_slice(&word(place * 8)?);
    }
    Some(IpAddr::from(Ipv6Addr::from(bytes)).to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel() {
        let of = |line: &str| peer(line, INBOUND).map(|ip| ip.to_string());
        // As a machine of little endian writes them.
        if cfg!(target_endian = "little") {
            assert_eq!(of("   1: 0A00F40A:3A9E 0900F40A:C350 01 00000000:00000000").as_deref(), Some("10.244.0.9"));
            let mapped = "   2: 0000000000000000FFFF00000A00F40A:3A9E 0000000000000000FFFF00000900F40A:C350 06 0";
            assert_eq!(of(mapped).as_deref(), Some("10.244.0.9"));
        }
        assert_eq!(of("   0: 00000000:3A9E 00000000:0000 0A 00000000:00000000"), None);
        assert_eq!(of("   3: 0A00F40A:1F90 0900F40A:C350 01 00000000:00000000"), None);
        assert_eq!(of("  sl  local_address rem_address   st tx_queue"), None);
        assert!(read(|_| false).is_empty());
    }
}
