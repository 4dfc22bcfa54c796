// SPDX-License-Identifier: Apache-2.0
use super::*;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// An object of an API server: written by version.
#[derive(Default)]
struct Object {
    state: Mutex<Option<(u64, Record)>>,
    changed: Notify,
    broken: AtomicBool,
}

/// A lock on it, of one candidate, which can be cut off.
#[derive(Clone)]
struct Shared {
    object: Arc<Object>,
    cut: Arc<AtomicBool>,
    watches: bool,
}

impl Shared {
    fn on(object: &Arc<Object>) -> Self {
        Self { object: object.clone(), cut: Arc::default(), watches: false }
    }

    fn reach(&self) -> Result<(), LockError> {
        let gone = self.cut.load(SeqCst) || self.object.broken.load(SeqCst);
        if gone { Err(LockError::Failed("connection refused".into())) } else { Ok(()) }
    }
}

#[tonic::async_trait]
impl Lock for Shared {
    type Object = u64;

    fn name(&self) -> String {
        "test".into()
    }

    async fn read(&self) -> Result<Option<(u64, Record)>, LockError> {
        tokio::time::sleep(Duration::from_millis(3)).await;
        self.reach()?;
        Ok(self.object.state.lock().unwrap().clone())
    }

    async fn write(&self, seen: Option<u64>, record: &Record) -> Result<u64, LockError> {
        tokio::time::sleep(Duration::from_millis(3)).await;
        self.reach()?;
        let mut state = self.object.state.lock().unwrap();
        if state.as_ref().map(|(version, _)| *version) != seen {
            return Err(LockError::Conflict);
        }
        let version = seen.unwrap_or(0) + 1;
        *state = Some((version, record.clone()));
        self.object.changed.notify_waiters();
        Ok(version)
    }

    async fn changed(&self) {
        if self.watches { self.object.changed.notified().await } else { std::future::pending().await }
    }
}

struct Candidate {
    lock: Shared,
    leads: watch::Receiver<bool>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Candidate {
    fn start(lock: Shared, identity: &str, preference: Preference) -> Self {
        let (leader, leads) = watch::channel(false);
        let stop = CancellationToken::new();
        let elector = Elector { lock: lock.clone(), identity: identity.into(), preference, pace: PACE };
        Self { lock, leads, stop: stop.clone(), task: tokio::spawn(elector.run(leader, stop)) }
    }

    fn leads(&self) -> bool {
        *self.leads.borrow()
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn revision(own: &str, default: Option<&str>) -> Preference {
    Preference::Revision { own: own.into(), default: watch::channel(default.map(str::to_owned)).1 }
}

/// Ten times as fast as in earnest. Records hold whole seconds, so that it cannot be much faster.
const PACE: Pace =
    Pace { lease: Duration::from_secs(3), deadline: Duration::from_millis(1_500), retry: Duration::from_millis(750) };

/// Seconds at that pace.
async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_millis(100) * u32::try_from(seconds).unwrap()).await;
}

fn holder(object: &Object) -> String {
    object.state.lock().unwrap().as_ref().map(|(_, record)| record.holder_identity.clone()).unwrap_or_default()
}

#[tokio::test]
async fn one_of_two_leads_and_gives_back_what_it_leaves() {
    let object = Arc::new(Object::default());
    let a = Candidate::start(Shared::on(&object), "a", Preference::None);
    seconds(1).await;
    let b = Candidate::start(Shared::on(&object), "b", Preference::None);
    for _ in 0..60 {
        assert!(a.leads() && !b.leads());
        seconds(1).await;
    }
    a.stop().await;
    assert_eq!(holder(&object), "");
    seconds(10).await;
    assert!(b.leads());
    assert_eq!(object.state.lock().unwrap().as_ref().unwrap().1.leader_transitions, 1);
}

#[tokio::test]
async fn one_that_watches_takes_over_at_once() {
    let object = Arc::new(Object::default());
    let watching = |object| Shared { watches: true, ..Shared::on(object) };
    let a = Candidate::start(watching(&object), "a", Preference::None);
    seconds(1).await;
    let b = Candidate::start(watching(&object), "b", Preference::None);
    seconds(5).await;
    a.stop().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(b.leads());
}

#[tokio::test]
async fn one_that_is_cut_off_stops_before_another_takes_over() {
    let object = Arc::new(Object::default());
    let a = Candidate::start(Shared::on(&object), "a", Preference::None);
    seconds(1).await;
    let b = Candidate::start(Shared::on(&object), "b", Preference::None);
    seconds(20).await;
    a.lock.cut.store(true, SeqCst);
    let mut both = 0;
    let mut taken_over_after = 0;
    for second in 0..70 {
        both += u32::from(a.leads() && b.leads());
        if b.leads() && taken_over_after == 0 {
            taken_over_after = second;
        }
        seconds(1).await;
    }
    assert_eq!(both, 0);
    assert!((22..=50).contains(&taken_over_after), "{taken_over_after}");
    a.lock.cut.store(false, SeqCst);
    seconds(20).await;
    assert!(!a.leads() && b.leads());
}

#[tokio::test]
async fn a_record_of_istiod_is_respected_until_it_runs_out() {
    let object = Arc::new(Object::default());
    let record = |second| Record {
        holder_identity: "istiod-1".into(),
        holder_key: "default".into(),
        lease_duration_seconds: 3,
        // Its clock is far behind; that does not matter.
        renew_time: Some(OffsetDateTime::UNIX_EPOCH + Duration::from_secs(second)),
        ..Record::default()
    };
    *object.state.lock().unwrap() = Some((1, record(0)));
    let a = Candidate::start(Shared::on(&object), "a", revision("default", Some("default")));
    for renewal in 1..8 {
        seconds(7).await;
        let mut state = object.state.lock().unwrap();
        let version = state.as_ref().unwrap().0 + 1;
        *state = Some((version, record(renewal)));
        drop(state);
        assert!(!a.leads());
    }
    seconds(25).await;
    assert!(!a.leads());
    seconds(25).await;
    assert!(a.leads());
}

#[tokio::test]
async fn the_default_revision_takes_the_lock_and_waits_until_the_other_has_stopped() {
    let object = Arc::new(Object::default());
    let old = Candidate::start(Shared::on(&object), "old-1", revision("old", Some("new")));
    seconds(10).await;
    assert!(old.leads());
    let new = Candidate::start(Shared::on(&object), "new-1", revision("new", Some("new")));
    for _ in 0..120 {
        assert!(!(old.leads() && new.leads()));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(new.leads() && !old.leads());
    // The other one does not take it back.
    seconds(40).await;
    assert!(new.leads());
}

#[tokio::test]
async fn a_process_that_was_restarted_under_the_same_name_waits_like_any_other() {
    let object = Arc::new(Object::default());
    let a = Candidate::start(Shared::on(&object), "a", Preference::None);
    seconds(1).await;
    assert!(a.leads());
    a.task.abort();
    let again = Candidate::start(Shared::on(&object), "a", Preference::None);
    seconds(25).await;
    assert!(!again.leads());
    seconds(20).await;
    assert!(again.leads());
}

#[tokio::test]
async fn nobody_leads_while_the_api_server_is_gone_and_one_does_afterwards() {
    let object = Arc::new(Object::default());
    let names = ["a", "b", "c"];
    let all = names.map(|name| Candidate::start(Shared::on(&object), name, Preference::None));
    seconds(30).await;
    for round in 0..4_u64 {
        object.broken.store(round % 2 == 0, SeqCst);
        for _ in 0..(20 + round * 7) {
            assert!(all.iter().filter(|c| c.leads()).count() <= 1);
            seconds(1).await;
        }
    }
    object.broken.store(false, SeqCst);
    seconds(80).await;
    assert_eq!(all.iter().filter(|c| c.leads()).count(), 1);
}
