// SPDX-License-Identifier: Apache-2.0
//! Names of clusters, as dashboards, EnvoyFilters and `istioctl` know them.

use crate::Str;
use std::fmt;

/// Refuses every connection.
pub const BLACK_HOLE: &str = "BlackHoleCluster";
/// Sends outbound traffic on to the address that the application dialled.
pub const PASSTHROUGH: &str = "PassthroughCluster";
/// Sends inbound traffic on to the application.
pub const INBOUND_PASSTHROUGH: &str = "InboundPassthroughCluster";

/// The name of a cluster of a service's port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterName<'a> {
    /// `outbound|PORT|SUBSET|HOST`
    Outbound {
        /// Port of the service.
        port: u32,
        /// Subset; empty = the whole service.
        subset: &'a str,
        /// Host of the service.
        host: &'a str,
    },
    /// `outbound_.PORT_.SUBSET_.HOST`: the name that clients ask for by SNI, and the cluster that an AUTO_PASSTHROUGH gateway has for it.
    Sni {
        /// Port of the service.
        port: u32,
        /// Subset; empty = the whole service.
        subset: &'a str,
        /// Host of the service.
        host: &'a str,
    },
    /// `inbound|PORT||`
    Inbound {
        /// Port of the workload.
        port: u32,
    },
}

impl fmt::Display for ClusterName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outbound { port, subset, host } => write!(f, "outbound|{port}|{subset}|{host}"),
            Self::Sni { port, subset, host } => write!(f, "outbound_.{port}_.{subset}_.{host}"),
            Self::Inbound { port } => write!(f, "inbound|{port}||"),
        }
    }
}

impl<'a> ClusterName<'a> {
    /// Reads a name back.
    pub fn parse(name: &'a str) -> Option<Self> {
        if let Some(rest) = name.strip_prefix("outbound_.") {
            let mut parts = rest.splitn(3, "_.");
            let port = parts.next()?.parse().ok()?;
            return Some(Self::Sni { port, subset: parts.next()?, host: parts.next()? });
        }
        let mut parts = name.splitn(4, '|');
        let direction = parts.next()?;
        let port = parts.next()?.parse().ok()?;
        let (subset, host) = (parts.next()?, parts.next()?);
        match direction {
            "outbound" => Some(Self::Outbound { port, subset, host }),
            "inbound" => Some(Self::Inbound { port }),
            _ => None,
        }
    }

    /// The name as shared text.
    pub fn to_str(&self) -> Str {
        self.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::ClusterName;

    #[test]
    fn names_are_written_and_read() {
        for name in
            ["outbound|80||a.b", "outbound|80|v1|a.b", "outbound_.80_.v1_.a.b", "outbound_.80_._.a.b", "inbound|80||"]
        {
            assert_eq!(ClusterName::parse(name).unwrap().to_string(), name);
        }
        assert_eq!(ClusterName::parse("BlackHoleCluster"), None);
        assert_eq!(ClusterName::parse("outbound|x||a"), None);
    }
}
