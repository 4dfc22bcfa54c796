// SPDX-License-Identifier: Apache-2.0
//! Credentials of gateways. Their content is never printed.

use crate::Str;
use std::fmt;

/// What a gateway terminates TLS with, or checks clients against; PEM.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Credential {
    /// Certificate chain, leaf first; empty when there is none.
    pub certificate: Str,
    /// Private key of the leaf; empty when there is none.
    pub key: Str,
    /// Certificates of those who sign clients; empty when there is none.
    pub authorities: Str,
    /// Certificates that are called back.
    pub revoked: Revoked,
}

/// Certificates that are called back (<https://www.rfc-editor.org/rfc/rfc5280#section-5>).
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// Nobody says that there are any.
    #[default]
    Nothing,
    /// Lists of them, in PEM.
    Lists(Str),
    /// There is a list that cannot be read: nobody can be told from those whose certificate is on it.
    Unreadable,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is = |text: &Str| if text.is_empty() { "absent" } else { "redacted" };
        f.debug_struct("Credential")
            .field("certificate", &is(&self.certificate))
            .field("key", &is(&self.key))
            .field("authorities", &is(&self.authorities))
            .finish_non_exhaustive()
    }
}
