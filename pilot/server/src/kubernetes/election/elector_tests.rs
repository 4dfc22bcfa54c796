// SPDX-License-Identifier: Apache-2.0
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::task::{Poll, Waker};
use tokio::sync::Notify;

/// The time of a test: it goes on when nobody has anything to do before it does.
#[derive(Clone)]
struct Time(Arc<Mutex<(Instant, Sleepers)>>);

/// Who waits, by the moment that is waited for.
type Sleepers = BTreeMap<(Instant, u64), Waker>;

impl Time {
    fn new() -> Self {
        Self(Arc::new(Mutex::new((Instant::now(), BTreeMap::new()))))
    }

    fn now(&self) -> Instant {
        self.0.lock().unwrap().0
    }

    /// Sleeps of others end in their order, and whoever wakes has done what it had to when the next one does.
    async fn pass(&self, time: Duration) {
        let end = self.now() + time;
        loop {
            for _ in 0..30 {
                tokio::task::yield_now().await;
            }
            let mut state = self.0.lock().unwrap();
            match state.1.first_key_value().map(|(key, _)| *key).filter(|(moment, _)| *moment <= end) {
                Some(first) => {
                    state.0 = state.0.max(first.0);
                    state.1.remove(&first).into_iter().for_each(Waker::wake);
                }
                None => {
                    state.0 = end;
                    return;
                }
            }
        }
    }

    async fn sleep_until(&self, moment: Instant) {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let key = (moment, NUMBERS.fetch_add(1, SeqCst));
        std::future::poll_fn(|cx| {
            let mut state = self.0.lock().unwrap();
            if state.0 >= moment {
                return Poll::Ready(());
            }
            state.1.insert(key, cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// What a candidate's clock says.
struct TheirClock {
    time: Time,
    start: Instant,
    ahead: Arc<AtomicI64>,
}

#[tonic::async_trait]
impl Clock for TheirClock {
    fn now(&self) -> Instant {
        self.time.now()
    }

    fn utc(&self) -> OffsetDateTime {
        let noon = OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000);
        noon + (self.time.now() - self.start) + time::Duration::seconds(self.ahead.load(SeqCst))
    }

    async fn sleep_until(&self, moment: Instant) {
        self.time.sleep_until(moment).await;
    }
}

/// An object of an API server: written by version.
struct Object {
    state: Mutex<Option<(u64, Record)>>,
    changed: Notify,
    broken: AtomicBool,
    time: Time,
}

impl Object {
    fn new() -> Arc<Self> {
        let (state, changed, broken) = (Mutex::default(), Notify::new(), AtomicBool::new(false));
        Arc::new(Self { state, changed, broken, time: Time::new() })
    }

    async fn seconds(&self, seconds: u64) {
        self.time.pass(Duration::from_secs(seconds)).await;
    }

    async fn milliseconds(&self, milliseconds: u64) {
        self.time.pass(Duration::from_millis(milliseconds)).await;
    }

    /// How long a request takes.
    async fn request(&self) {
        self.time.sleep_until(self.time.now() + Duration::from_millis(3)).await;
    }
}

/// A lock on it, of one candidate, which can be cut off.
#[derive(Clone)]
struct Shared {
    object: Arc<Object>,
    cut: Arc<AtomicBool>,
    watches: bool,
    /// How many seconds its clock is ahead.
    ahead: Arc<AtomicI64>,
}

impl Shared {
    fn on(object: &Arc<Object>) -> Self {
        Self { object: object.clone(), cut: Arc::default(), watches: false, ahead: Arc::default() }
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
        self.object.request().await;
        self.reach()?;
        Ok(self.object.state.lock().unwrap().clone())
    }

    async fn write(&self, seen: Option<u64>, record: &Record) -> Result<u64, LockError> {
        self.object.request().await;
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
        Self::start_as(lock, identity, preference, false)
    }

    fn start_as(lock: Shared, identity: &str, preference: Preference, is_pod: bool) -> Self {
        let (leader, leads) = watch::channel(false);
        let stop = CancellationToken::new();
        let time = lock.object.time.clone();
        let clock = Arc::new(TheirClock { start: time.now(), time, ahead: lock.ahead.clone() });
        let pace = Pace::default();
        let elector = Elector { lock: lock.clone(), identity: identity.into(), is_pod, preference, pace, clock };
        Self { lock, leads, stop: stop.clone(), task: tokio::spawn(elector.run(leader, stop)) }
    }

    fn leads(&self) -> bool {
        *self.leads.borrow()
    }

    async fn stop(self) {
        self.stop.cancel();
        let time = self.lock.object.time.clone();
        while !self.task.is_finished() {
            time.pass(Duration::from_millis(1)).await;
        }
    }
}

fn revision(own: &str, default: Option<&str>) -> Preference {
    Preference::Revision { own: own.into(), default: watch::channel(default.map(str::to_owned)).1 }
}

fn holder(object: &Object) -> String {
    object.state.lock().unwrap().as_ref().map(|(_, record)| record.holder_identity.clone()).unwrap_or_default()
}

#[tokio::test]
async fn one_of_two_leads_and_gives_back_what_it_leaves() {
    let object = Object::new();
    let a = Candidate::start(Shared::on(&object), "a", Preference::None);
    object.seconds(1).await;
    let b = Candidate::start(Shared::on(&object), "b", Preference::None);
    for _ in 0..60 {
        assert!(a.leads() && !b.leads());
        object.seconds(1).await;
    }
    a.stop().await;
    assert_eq!(holder(&object), "");
    object.seconds(10).await;
    assert!(b.leads());
    assert_eq!(object.state.lock().unwrap().as_ref().unwrap().1.leader_transitions, 1);
}

#[tokio::test]
async fn one_that_watches_takes_over_at_once() {
    let object = Object::new();
    let watching = |object| Shared { watches: true, ..Shared::on(object) };
    let a = Candidate::start(watching(&object), "a", Preference::None);
    object.seconds(1).await;
    let b = Candidate::start(watching(&object), "b", Preference::None);
    object.seconds(5).await;
    a.stop().await;
    object.milliseconds(100).await;
    assert!(b.leads());
}

#[tokio::test]
async fn one_that_is_cut_off_stops_before_another_takes_over() {
    let object = Object::new();
    let a = Candidate::start(Shared::on(&object), "a", Preference::None);
    object.seconds(1).await;
    let b = Candidate::start(Shared::on(&object), "b", Preference::None);
    object.seconds(20).await;
    a.lock.cut.store(true, SeqCst);
    let mut both = 0;
    let mut taken_over_after = 0;
    for second in 0..70 {
        both += u32::from(a.leads() && b.leads());
        if b.leads() && taken_over_after == 0 {
            taken_over_after = second;
        }
        object.seconds(1).await;
    }
    assert_eq!(both, 0);
    assert!((22..=50).contains(&taken_over_after), "{taken_over_after}");
    a.lock.cut.store(false, SeqCst);
    object.seconds(20).await;
    assert!(!a.leads() && b.leads());
}

#[tokio::test]
async fn a_record_of_istiod_is_respected_until_it_runs_out() {
    let object = Object::new();
    let record = |second| Record {
        holder_identity: "istiod-1".into(),
        holder_key: "default".into(),
        lease_duration_seconds: 30,
        // Its clock is far behind; that does not matter.
        renew_time: Some(OffsetDateTime::UNIX_EPOCH + Duration::from_secs(second)),
        ..Record::default()
    };
    *object.state.lock().unwrap() = Some((1, record(0)));
    let a = Candidate::start(Shared::on(&object), "a", revision("default", Some("default")));
    for renewal in 1..8 {
        object.seconds(7).await;
        let mut state = object.state.lock().unwrap();
        let version = state.as_ref().unwrap().0 + 1;
        *state = Some((version, record(renewal)));
        drop(state);
        assert!(!a.leads());
    }
    object.seconds(25).await;
    assert!(!a.leads());
    object.seconds(25).await;
    assert!(a.leads());
}

#[tokio::test]
async fn the_default_revision_takes_the_lock_and_waits_until_the_other_has_stopped() {
    let object = Object::new();
    let old = Candidate::start(Shared::on(&object), "old-1", revision("old", Some("new")));
    object.seconds(10).await;
    assert!(old.leads());
    let new = Candidate::start(Shared::on(&object), "new-1", revision("new", Some("new")));
    for _ in 0..120 {
        assert!(!(old.leads() && new.leads()));
        object.milliseconds(500).await;
    }
    assert!(new.leads() && !old.leads());
    // The other one does not take it back.
    object.seconds(40).await;
    assert!(new.leads());
}

#[tokio::test]
async fn a_process_that_was_restarted_under_the_same_name_waits_like_any_other() {
    let object = Object::new();
    let a = Candidate::start(Shared::on(&object), "a", Preference::None);
    object.seconds(1).await;
    assert!(a.leads());
    a.task.abort();
    let again = Candidate::start(Shared::on(&object), "a", Preference::None);
    object.seconds(25).await;
    assert!(!again.leads());
    object.seconds(20).await;
    assert!(again.leads());
}

#[tokio::test]
async fn a_container_that_was_restarted_leads_on() {
    let object = Object::new();
    let pod = |name| Candidate::start_as(Shared::on(&object), name, revision("default", None), true);
    let a = pod("a");
    object.seconds(1).await;
    let b = pod("b");
    object.seconds(20).await;
    assert!(a.leads() && !b.leads());
    a.task.abort();
    let again = pod("a");
    object.seconds(1).await;
    assert!(again.leads() && !b.leads());
}

#[tokio::test]
async fn nobody_leads_while_the_api_server_is_gone_and_one_does_afterwards() {
    let object = Object::new();
    let names = ["a", "b", "c"];
    let all = names.map(|name| Candidate::start(Shared::on(&object), name, Preference::None));
    object.seconds(30).await;
    for round in 0..4_u64 {
        object.broken.store(round % 2 == 0, SeqCst);
        for _ in 0..(20 + round * 7) {
            assert!(all.iter().filter(|c| c.leads()).count() <= 1);
            object.seconds(1).await;
        }
    }
    object.broken.store(false, SeqCst);
    object.seconds(80).await;
    assert_eq!(all.iter().filter(|c| c.leads()).count(), 1);
}

#[tokio::test]
async fn clocks_that_differ_or_are_set_back_do_not_matter() {
    let object = Object::new();
    let a = Candidate::start(Shared::on(&object), "a", Preference::None);
    object.seconds(1).await;
    let b = Candidate::start(Shared::on(&object), "b", Preference::None);
    b.lock.ahead.store(7_200, SeqCst);
    let renewed = || object.state.lock().unwrap().as_ref().unwrap().1.renew_time;
    for _ in 0..40 {
        // Set back by as much as passes, so that each renewal would say the same time.
        let before = renewed();
        object.seconds(9).await;
        a.lock.ahead.fetch_sub(9, SeqCst);
        assert!(a.leads() && !b.leads());
        assert_ne!(renewed(), before, "a renewal must be seen");
    }
    a.lock.cut.store(true, SeqCst);
    for _ in 0..60 {
        assert!(!(a.leads() && b.leads()));
        object.seconds(1).await;
    }
    assert!(b.leads());
}

#[tokio::test]
async fn who_deletes_the_lock_does_not_stop_its_holder() {
    let object = Object::new();
    let a = Candidate::start(Shared::on(&object), "a", Preference::None);
    object.seconds(1).await;
    let b = Candidate::start(Shared { watches: true, ..Shared::on(&object) }, "b", Preference::None);
    object.seconds(20).await;
    *object.state.lock().unwrap() = None;
    object.changed.notify_waiters();
    for _ in 0..300 {
        object.milliseconds(100).await;
        assert!(!(a.leads() && b.leads()));
    }
    object.seconds(10).await;
    assert!(!a.leads() && b.leads());
}

/// What happens to three candidates.
async fn any(events: Vec<(u8, u8, u8)>) {
    let object = Object::new();
    let start = |name: &str| Candidate::start(Shared::on(&object), name, Preference::None);
    let names = ["a", "b", "c"];
    let mut all = names.map(start);
    for (who, what, wait) in events {
        let who = usize::from(who);
        let lock = &all[who].lock;
        match what {
            0 => lock.cut.store(true, SeqCst),
            1 => lock.cut.store(false, SeqCst),
            2 => drop(lock.ahead.fetch_sub(i64::from(wait), SeqCst)),
            3 => object.broken.store(true, SeqCst),
            4 => object.broken.store(false, SeqCst),
            _ => {
                all[who].task.abort();
                all[who] = start(names[who]);
            }
        }
        for _ in 0..u32::from(wait) * 2 {
            assert!(all.iter().filter(|candidate| candidate.leads()).count() <= 1, "two lead");
            object.milliseconds(500).await;
        }
    }
    object.broken.store(false, SeqCst);
    all.iter().for_each(|candidate| candidate.lock.cut.store(false, SeqCst));
    object.seconds(80).await;
    assert_eq!(all.iter().filter(|candidate| candidate.leads()).count(), 1, "one leads in the end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_happens_no_two_lead(events in prop::collection::vec((0_u8..3, 0_u8..6, 0_u8..40), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(any(events));
    }
}
