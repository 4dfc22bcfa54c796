// SPDX-License-Identifier: Apache-2.0
//! From one root to another without a refused connection.
//!
//! A workload takes over new roots with its next certificate. So a new root is handed out for a time (the overlap: the longest life that a
//! certificate has) before anything is signed under it, and a former root for as long after the last signature under it. Roots that are
//! there from the start count as known to everybody. A renewed root with the key and the name of a known one is known too.

use crate::CaError;
use crate::bundle::{Anchor, SigningBundle, TrustBundle, parse};
use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// How far the change from one signer to another is.
#[derive(Debug)]
pub(crate) struct Rotation {
    roots: Vec<Root>,
    /// What signs now.
    signing: Arc<SigningBundle>,
    /// What is to sign, and from when on.
    next: Option<(Arc<SigningBundle>, OffsetDateTime)>,
}

#[derive(Debug)]
struct Root {
    certificate: CertificateDer<'static>,
    anchor: Anchor,
    /// Since when it is handed out; none: from the start.
    since: Option<OffsetDateTime>,
    /// Until when it is still handed out although it is no longer wanted.
    until: Option<OffsetDateTime>,
}

impl Rotation {
    pub(crate) fn new(first: Arc<SigningBundle>) -> Result<Self, CaError> {
        let root = |certificate: &CertificateDer<'static>| {
            Ok(Root { certificate: certificate.clone(), anchor: Anchor::of(certificate)?, since: None, until: None })
        };
        let roots = first.trust().certificates().iter().map(root).collect::<Result<_, CaError>>()?;
        Ok(Self { roots, signing: first, next: None })
    }

    /// Whether a bundle is another than the one that was adopted last.
    pub(crate) fn differs(&self, bundle: &SigningBundle) -> bool {
        let last = self.next.as_ref().map_or(&self.signing, |(next, _)| next);
        last.certificate() != bundle.certificate() || last.chain() != bundle.chain() || last.trust() != bundle.trust()
    }

    /// Takes over the roots of `wanted`, and has it sign as soon as everybody knows its root.
    pub(crate) fn adopt(
        &mut self,
        wanted: Arc<SigningBundle>,
        now: OffsetDateTime,
        overlap: Duration,
    ) -> Result<(), CaError> {
        for certificate in wanted.trust().certificates() {
            let anchor = Anchor::of(certificate)?;
            if let Some(known) = self.roots.iter_mut().find(|r| r.certificate == *certificate) {
                known.until = None;
                continue;
            }
            let twin = self.roots.iter().find(|r| r.anchor == anchor);
            let since = twin.map_or(Some(now), |twin| twin.since);
            self.roots.push(Root { certificate: certificate.clone(), anchor, since, until: None });
        }
        let known_at = |anchor: &Anchor| {
            let same = self.roots.iter().filter(|r| r.anchor == *anchor);
            same.map(|r| r.since.map_or(now, |since| since + overlap)).min()
        };
        let ready = wanted.anchors().iter().filter_map(known_at).min().unwrap_or(now);
        // An expired signer is worse than a root that some do not know yet.
        let ready = ready.min(self.signing.not_after() - Duration::from_secs(60));
        let end = ready.max(now) + overlap;
        for root in &mut self.roots {
            let is_wanted = wanted.trust().certificates().contains(&root.certificate);
            if !is_wanted && root.until.is_none_or(|until| until < end) {
                root.until = Some(end);
            }
        }
        if ready <= now {
            self.signing = wanted;
            self.next = None;
        } else {
            self.next = Some((wanted, ready));
        }
        Ok(())
    }

    /// Takes the steps whose time has come.
    pub(crate) fn advance(&mut self, now: OffsetDateTime) {
        if let Some((_, ready)) = &self.next
            && *ready <= now
            && let Some((next, _)) = self.next.take()
        {
            self.signing = next;
        }
        self.roots.retain(|r| r.until.is_none_or(|until| now < until));
    }

    /// When the next step is due.
    pub(crate) fn due(&self) -> Option<OffsetDateTime> {
        let ready = self.next.as_ref().map(|(_, ready)| *ready);
        ready.into_iter().chain(self.roots.iter().filter_map(|r| r.until)).min()
    }

    /// When another bundle begins to sign, if one waits for it.
    pub(crate) fn switches_at(&self) -> Option<OffsetDateTime> {
        self.next.as_ref().map(|(_, ready)| *ready)
    }

    /// What signs, with all roots that are to be trusted: those of the signer first.
    pub(crate) fn bundle(&self, now: OffsetDateTime) -> Result<SigningBundle, CaError> {
        let own = self.signing.trust().certificates();
        let others = self.roots.iter().map(|r| &r.certificate).filter(|c| !own.contains(c));
        let usable = |c: &&CertificateDer<'static>| {
            parse(c, "root certificate").is_ok_and(|c| c.validity().not_after.to_datetime() > now)
        };
        let mut all: Vec<CertificateDer<'static>> = own.iter().filter(usable).cloned().collect();
        all.extend(others.filter(usable).cloned());
        if all == own {
            return Ok((*self.signing).clone());
        }
        Ok(self.signing.with_trust(TrustBundle::of(all)?))
    }
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
