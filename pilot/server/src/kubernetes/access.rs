// SPDX-License-Identifier: Apache-2.0
//! Whether a proxy's service account may read the Secrets of its namespace: the API server says (SubjectAccessReview), as it would to the
//! account itself.
//!
//! A stream that asks gets "no" while nobody knows; the answer comes a moment later, and the stream asks again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use tiphys_view::{SecretAccess, SecretReader, Views};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

/// How long a yes and a no are believed; then they are asked for again while somebody uses them.
const YES: Duration = Duration::from_secs(300);
const NO: Duration = Duration::from_secs(60);
/// How long an answer that nobody asked for is kept.
const UNUSED: Duration = Duration::from_secs(900);
/// Nobody waits longer for a review, and an API server that fails is asked again after this time.
const REVIEW: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(2);

/// A service account: namespace and name.
type Account = (String, String);

struct Answer {
    may: bool,
    until: Instant,
    used: Instant,
}

#[derive(Default)]
struct Known {
    answers: BTreeMap<Account, Answer>,
    asked: BTreeSet<Account>,
}

/// What is known of service accounts. Clones share it.
#[derive(Clone, Default)]
pub struct AccessReviews {
    known: Arc<Mutex<Known>>,
    epoch: Arc<AtomicU64>,
    wake: Arc<Notify>,
}

impl SecretAccess for AccessReviews {
    fn may_read(&self, reader: &SecretReader<'_>) -> bool {
        let account = (reader.namespace.to_owned(), reader.service_account.to_owned());
        let mut known = self.lock();
        if let Some(answer) = known.answers.get_mut(&account) {
            answer.used = Instant::now();
            return answer.may;
        }
        known.asked.insert(account);
        self.wake.notify_one();
        false
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }
}

impl AccessReviews {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the API server what streams want to know, for as long as it is polled.
    pub async fn run(self, client: Client, views: Arc<Views>) {
        let api: Api<SubjectAccessReview> = Api::all(client);
        loop {
            let (due, next) = self.due(Instant::now());
            if due.is_empty() {
                let next = next.unwrap_or_else(|| Instant::now() + UNUSED);
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = sleep_until(next) => {}
                }
                continue;
            }
            let mut changed = false;
            for account in due {
                match review(&api, &account).await {
                    Ok(may) => changed |= self.note(account, may),
                    Err(error) => {
                        tracing::warn!(target: "authorization", "whether {}/{} may read Secrets: {error:#}", account.0, account.1);
                        self.postpone(account);
                    }
                }
            }
            if changed {
                self.epoch.fetch_add(1, Relaxed);
                views.access_changed();
            }
        }
    }

    /// The accounts to ask for now, and when the next one is due.
    fn due(&self, now: Instant) -> (Vec<Account>, Option<Instant>) {
        let mut known = self.lock();
        known.answers.retain(|_, answer| now < answer.used + UNUSED);
        let mut due: Vec<Account> = std::mem::take(&mut known.asked).into_iter().collect();
        due.extend(known.answers.iter().filter(|(_, answer)| answer.until <= now).map(|(account, _)| account.clone()));
        (due, known.answers.values().map(|answer| answer.until).min())
    }

    /// Whether the answer is another one than before.
    fn note(&self, account: Account, may: bool) -> bool {
        let now = Instant::now();
        let mut known = self.lock();
        let used = known.answers.get(&account).map_or(now, |answer| answer.used);
        let until = now + if may { YES } else { NO };
        known.answers.insert(account, Answer { may, until, used }).is_none_or(|before| before.may != may)
    }

    /// What was known stays in force; what was not is asked again soon.
    fn postpone(&self, account: Account) {
        let now = Instant::now();
        let mut known = self.lock();
        let answer = known.answers.entry(account).or_insert(Answer { may: false, until: now, used: now });
        answer.until = now + AGAIN;
    }
}

/// As istiod asks: whether it may list Secrets in its namespace.
async fn review(api: &Api<SubjectAccessReview>, (namespace, account): &Account) -> anyhow::Result<bool> {
    let attributes = ResourceAttributes {
        namespace: Some(namespace.clone()),
        verb: Some("list".into()),
        resource: Some("secrets".into()),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        resource_attributes: Some(attributes),
        user: Some(format!("system:serviceaccount:{namespace}:{account}")),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let params = PostParams::default();
    let answer = timeout(REVIEW, api.create(&params, &review)).await??;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
