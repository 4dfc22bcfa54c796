// SPDX-License-Identifier: Apache-2.0
//! What the authority counts, under the names that istiod's dashboards know.
//!
//! The counters are plain numbers; whoever serves metrics asks for [`CaCounters::samples`] at each scrape.

use crate::{CaError, Signing};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use time::OffsetDateTime;

/// Counters of one [`crate::CertificateService`].
#[derive(Debug, Default)]
pub struct CaCounters {
    requests: AtomicU64,
    issued: AtomicU64,
    unauthenticated: AtomicU64,
    unparsable: AtomicU64,
    unusable_identity: AtomicU64,
    not_ready: AtomicU64,
    bad_request: AtomicU64,
    bad_ttl: AtomicU64,
    not_signed: AtomicU64,
}

/// One value for a metrics page.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name of the metric.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// `true` for a counter, `false` for a gauge.
    pub counter: bool,
    /// Name and value of its label, if it has one.
    pub label: Option<(&'static str, &'static str)>,
    /// The value.
    pub value: f64,
}

impl CaCounters {
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub(crate) fn issued(&self) {
        self.issued.fetch_add(1, Relaxed);
    }

    pub(crate) fn unauthenticated(&self) {
        self.unauthenticated.fetch_add(1, Relaxed);
    }

    pub(crate) fn unusable_identity(&self) {
        self.unusable_identity.fetch_add(1, Relaxed);
    }

    pub(crate) fn refused(&self, error: &CaError) {
        match error {
            CaError::Csr(_) => {
                self.unparsable.fetch_add(1, Relaxed);
                &self.bad_request
            }
            CaError::Ttl { .. } => &self.bad_ttl,
            CaError::NotReady(_) => &self.not_ready,
            CaError::Signing(_) | CaError::File { .. } | CaError::Settings(_) => &self.not_signed,
        }
        .fetch_add(1, Relaxed);
    }

    /// All values, those about the certificates of who signs included.
    #[allow(clippy::cast_precision_loss)] // Counters and times stay far below 2^52.
    pub fn samples(&self, signing: &Signing) -> Vec<Sample> {
        let counter = |name, help, label, value: &AtomicU64| Sample {
            name,
            help,
            counter: true,
            label,
            value: value.load(Relaxed) as f64,
        };
        let error = |kind, value| {
            let help = "Requests that were not signed, by reason.";
            counter("citadel_server_csr_sign_err_count", help, Some(("error", kind)), value)
        };
        let gauge = |name, help, value: i64| Sample { name, help, counter: false, label: None, value: value as f64 };
        let now = OffsetDateTime::now_utc();
        let root = signing.trust().not_after();
        let chain = match signing {
            Signing::Own(authority) => authority.bundle().not_after(),
            Signing::Registration(_) => root,
        };
        let left = |end: OffsetDateTime| (end - now).whole_seconds();
        vec![
            counter("citadel_server_csr_count", "Certificate signing requests received.", None, &self.requests),
            counter("citadel_server_success_cert_issuance_count", "Certificates issued.", None, &self.issued),
            counter(
                "citadel_server_authentication_failure_count",
                "Requests whose caller was not accepted.",
                None,
                &self.unauthenticated,
            ),
            counter(
                "citadel_server_id_extraction_err_count",
                "Requests for the identity of another that is none.",
                None,
                &self.unusable_identity,
            ),
            counter("citadel_server_csr_parsing_err_count", "Requests that cannot be used.", None, &self.unparsable),
            error("CA_NOT_READY", &self.not_ready),
            error("CERT_GEN_ERROR", &self.not_signed),
            error("CSR_ERROR", &self.bad_request),
            error("TTL_ERROR", &self.bad_ttl),
            gauge(
                "citadel_server_root_cert_expiry_timestamp",
                "Unix time at which the root expires.",
                root.unix_timestamp(),
            ),
            gauge("citadel_server_root_cert_expiry_seconds", "Seconds until the root expires.", left(root)),
            gauge(
                "citadel_server_cert_chain_expiry_timestamp",
                "Unix time at which the signing certificate expires.",
                chain.unix_timestamp(),
            ),
            gauge(
                "citadel_server_cert_chain_expiry_seconds",
                "Seconds until the signing certificate expires.",
                left(chain),
            ),
        ]
    }
}
