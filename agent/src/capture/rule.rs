// SPDX-License-Identifier: Apache-2.0
//! The words in which capture is said: rules of tables and chains, without a tool's spelling.

/// A table of the packet filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Marks.
    Mangle,
    /// Redirection.
    Nat,
    /// What comes before connection tracking.
    Raw,
}

/// A chain: one that the kernel enters, or one of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chain {
    /// What comes in.
    Prerouting,
    /// What this pod sends.
    Output,
    /// Ours: inbound connections.
    Inbound,
    /// Ours: to Envoy's inbound port.
    InRedirect,
    /// Ours: to Envoy's outbound port.
    Redirect,
    /// Ours: outbound connections.
    Outbound,
    /// Ours: DNS.
    OutboundDns,
    /// Ours: packets of connections that Envoy has.
    Divert,
    /// Ours: new connections by TPROXY.
    Tproxy,
    /// Ours: to be dropped.
    Drop,
}

/// For which address family a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 and IPv6.
    Both,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Whether a rule of this family is for IPv6 (or IPv4).
    pub fn includes(self, v6: bool) -> bool {
        match self {
            Self::Both => true,
            Self::V4 => !v6,
            Self::V6 => v6,
        }
    }
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

/// A condition; those with `not` hold when the value is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// Came in by this interface.
    In(String),
    /// Goes out by this interface.
    Out(String),
    /// Source, as a CIDR.
    Source(String),
    /// Destination, as a CIDR.
    Destination(String),
    /// Another destination.
    NotDestination(String),
    /// Transport.
    Protocol(Protocol),
    /// Destination port.
    Port(String),
    /// Another destination port.
    NotPort(String),
    /// None of these destination ports.
    NotPorts(Vec<String>),
    /// Source port.
    SourcePort(String),
    /// The sending process' user.
    User(String),
    /// Another user.
    NotUser(String),
    /// The sending process' group.
    Group(String),
    /// Another group.
    NotGroup(String),
    /// The packet belongs to a known connection.
    Established,
    /// The packet belongs to no connection, and starts none.
    Invalid,
    /// The packet's mark.
    Mark(String),
    /// Another mark.
    NotMark(String),
    /// The connection's mark.
    ConnectionMark(String),
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Back to the chain above.
    Return,
    /// No further rule of this table.
    Accept,
    /// Away with it.
    Drop,
    /// On in another chain.
    Jump(Chain),
    /// To this port of this machine.
    Redirect(String),
    /// To the socket on this port, the destination unchanged.
    Tproxy {
        /// The port.
        port: String,
        /// The mark that the packet gets.
        mark: String,
    },
    /// The packet is marked.
    SetMark(String),
    /// The packet's mark becomes the connection's.
    SaveMark,
    /// The connection's mark becomes the packet's.
    RestoreMark,
    /// Connections are tracked in a zone of their own.
    Zone(u8),
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// For which addresses.
    pub family: Family,
    /// The table.
    pub table: Table,
    /// The chain.
    pub chain: Chain,
    /// The place in the chain, counted from one; at its end when there is none.
    pub position: Option<usize>,
    /// All must hold.
    pub matches: Vec<Match>,
    /// What is done.
    pub target: Target,
}

impl Rule {
    /// A rule at the end of a chain, for both families.
    pub fn new(table: Table, chain: Chain, matches: Vec<Match>, target: Target) -> Self {
        Self { family: Family::Both, table, chain, position: None, matches, target }
    }

    /// The same for one family.
    #[must_use]
    pub fn only(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    /// The same at a place in the chain.
    #[must_use]
    pub fn at(mut self, position: usize) -> Self {
        self.position = Some(position);
        self
    }
}
