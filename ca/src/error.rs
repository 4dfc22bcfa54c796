// SPDX-License-Identifier: Apache-2.0
//! What can go wrong in the authority, and which gRPC status tells the caller.

use std::path::PathBuf;
use std::time::Duration;

/// An error of the authority. [`CaError::kind`] is the label that istiod's metric `citadel_server_csr_sign_err_count` uses.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The signing request cannot be used.
    #[error("certificate signing request: {0}")]
    Csr(String),
    /// More lifetime was asked for than the authority gives.
    #[error("requested lifetime of {asked:?} is over the maximum of {max:?}")]
    Ttl {
        /// What the request asked for.
        asked: Duration,
        /// What the authority gives at most.
        max: Duration,
    },
    /// The authority cannot sign now.
    #[error("the authority cannot sign: {0}")]
    NotReady(String),
    /// Signing failed.
    #[error("signing: {0}")]
    Signing(String),
    /// A file of the authority cannot be read, written or used.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// The settings of the authority contradict themselves.
    #[error("{0}")]
    Settings(String),
}

impl CaError {
    pub(crate) fn file(path: impl Into<PathBuf>, problem: impl std::fmt::Display) -> Self {
        Self::File { path: path.into(), problem: problem.to_string() }
    }

    /// The value of the label `error` in metrics, as istiod has it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Csr(_) => "CSR_ERROR",
            Self::Ttl { .. } => "TTL_ERROR",
            Self::NotReady(_) => "CA_NOT_READY",
            Self::Signing(_) => "CERT_GEN_ERROR",
            Self::File { .. } | Self::Settings(_) => "UNKNOWN",
        }
    }
}

impl From<&CaError> for tonic::Status {
    fn from(error: &CaError) -> Self {
        let message = format!("CSR signing error ({error})");
        match error {
            CaError::Csr(_) | CaError::Ttl { .. } => Self::invalid_argument(message),
            CaError::NotReady(_) | CaError::Signing(_) => Self::internal(message),
            // Paths and settings are the operator's business; the log has them.
            CaError::File { .. } | CaError::Settings(_) => Self::internal("CSR signing error"),
        }
    }
}
