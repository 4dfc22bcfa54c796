// SPDX-License-Identifier: Apache-2.0
//! Mutual TLS as a workload takes it (PeerAuthentication,
//! <https://istio.io/latest/docs/reference/config/security/peer_authentication/>).

use serde::Serialize;

/// Which connections a workload takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum MutualTls {
    /// Plain text only; TLS is the application's own affair.
    Disable,
    /// Mutual TLS and plain text.
    #[default]
    Permissive,
    /// Mutual TLS only.
    Strict,
}
