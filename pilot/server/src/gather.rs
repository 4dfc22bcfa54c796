// SPDX-License-Identifier: Apache-2.0
//! Changes that wait to be pushed together. Endpoints go at once; configuration waits until it is quiet for a while, but not for ever, so that what
//! was written together goes out together.

use std::time::Duration;

use tiphys_api::istio::networking::ServiceEntry;
use tiphys_api::istio::networking::service_entry::Resolution;
use tiphys_api::{Kind, Object, Spec};
use tiphys_source::Change;
use tokio::time::Instant;

/// How long to wait.
#[derive(Debug, Clone, Copy)]
pub struct Debounce {
    /// Quiet time.
    pub after: Duration,
    /// Longest time.
    pub max: Duration,
    /// Whether endpoints wait as well.
    pub endpoints: bool,
}

/// Changes that wait.
#[derive(Debug, Default)]
pub struct Gather {
    config: Vec<Change>,
    endpoints: Vec<Change>,
    /// Settings of the mesh changed: they have no object.
    mesh: bool,
    config_since: Option<(Instant, Instant)>,
    endpoints_since: Option<Instant>,
}

/// Changes that are due.
#[derive(Debug)]
pub struct Due {
    /// What changed, in the order of arrival.
    pub changes: Vec<Change>,
    /// Whether the mesh's settings changed.
    pub mesh: bool,
    /// When the first of them came.
    pub since: Instant,
}

/// Whether a change says where a service's endpoints are and nothing else that is not theirs.
fn is_of_endpoints(change: &Change, before: Option<&Object>) -> bool {
    match change.key.kind {
        Kind::EndpointSlice | Kind::Endpoints | Kind::Pod | Kind::WorkloadEntry => true,
        Kind::ServiceEntry => match (change.object.as_deref(), before) {
            (Some(Object { meta, spec: Spec::ServiceEntry(now), .. }), Some(before)) => {
                let same = (&meta.labels, &meta.annotations) == (&before.meta.labels, &before.meta.annotations);
                same && matches!(&before.spec, Spec::ServiceEntry(then) if moved_only(now, then))
            }
            _ => false,
        },
        _ => false,
    }
}

/// Endpoints that are looked up by name are part of their cluster, others are not.
fn moved_only(now: &ServiceEntry, then: &ServiceEntry) -> bool {
    now.resolution == Resolution::Static && *now == ServiceEntry { endpoints: now.endpoints.clone(), ..then.clone() }
}

impl Due {
    /// Nothing of what came in.
    pub fn nothing(since: Instant) -> Self {
        Self { changes: Vec::new(), mesh: false, since }
    }
}

impl Gather {
    /// Takes changes in; `before` gives the object that a change takes the place of.
    pub fn add<'a>(
        &mut self,
        changes: Vec<Change>,
        debounce: &Debounce,
        now: Instant,
        before: impl Fn(&Change) -> Option<&'a Object>,
    ) {
        for change in changes {
            // No change of an object overtakes an earlier one of it; only those of a ServiceEntry may be of either sort.
            if change.key.kind == Kind::ServiceEntry {
                self.endpoints.retain(|earlier| earlier.key != change.key);
                self.endpoints_since = self.endpoints_since.filter(|_| !self.endpoints.is_empty());
            }
            let at_once = !debounce.endpoints
                && is_of_endpoints(&change, before(&change))
                && !self.config.iter().any(|earlier| earlier.key == change.key);
            if at_once {
                self.endpoints_since.get_or_insert(now);
                self.endpoints.push(change);
            } else {
                self.stir(now);
                self.config.push(change);
            }
        }
    }

    /// Notes that the mesh's settings changed.
    pub fn mesh_changed(&mut self, now: Instant) {
        self.mesh = true;
        self.stir(now);
    }

    fn stir(&mut self, now: Instant) {
        let (first, _) = self.config_since.unwrap_or((now, now));
        self.config_since = Some((first, now));
    }

    /// When something is due.
    pub fn due(&self, debounce: &Debounce) -> Option<Instant> {
        let config = self.config_since.map(|(first, last)| (first + debounce.max).min(last + debounce.after));
        [config, self.endpoints_since].into_iter().flatten().min()
    }

    /// What is due now.
    pub fn take(&mut self, debounce: &Debounce, now: Instant) -> Option<Due> {
        let quiet =
            self.config_since.filter(|(first, last)| now >= (*first + debounce.max).min(*last + debounce.after));
        let since = [quiet.map(|(first, _)| first), self.endpoints_since.take()].into_iter().flatten().min()?;
        let mut changes = std::mem::take(&mut self.endpoints);
        let mesh = quiet.is_some() && std::mem::take(&mut self.mesh);
        if quiet.is_some() {
            self.config_since = None;
            changes.splice(0..0, std::mem::take(&mut self.config));
        }
        Some(Due { changes, mesh, since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tiphys_api::Key;

    const DEBOUNCE: Debounce =
        Debounce { after: Duration::from_millis(10), max: Duration::from_millis(100), endpoints: false };

    fn change(kind: Kind) -> Vec<Change> {
        let key = Key { kind, namespace: "n".into(), name: "a".into() };
        vec![Change { key, object: None, rejected: None }]
    }

    fn nothing(_: &Change) -> Option<&'static Object> {
        None
    }

    fn service_entry(endpoint: &str, port: u16) -> Arc<Object> {
        let text = format!(
            "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: a, namespace: n}}, spec: {{hosts: [a.example], \
             resolution: STATIC, ports: [{{number: {port}, name: http}}], endpoints: [{{address: {endpoint}}}]}}}}"
        );
        let file = Arc::from(std::path::Path::new("a.yaml"));
        tiphys_source::read_documents(&text, &file).documents[0].object.clone().unwrap()
    }

    #[test]
    fn endpoints_of_a_service_entry_go_at_once_but_never_ahead_of_its_configuration() {
        let (mut gather, start) = (Gather::default(), Instant::now());
        let (first, moved, other) =
            (service_entry("10.0.0.1", 80), service_entry("10.0.0.2", 80), service_entry("10.0.0.2", 81));
        let change = |object: &Arc<Object>| {
            let key = Key { kind: Kind::ServiceEntry, namespace: "n".into(), name: "a".into() };
            vec![Change { key, object: Some(object.clone()), rejected: None }]
        };
        let before = |_: &Change| Some(&*first);
        gather.add(change(&moved), &DEBOUNCE, start, before);
        assert_eq!(gather.due(&DEBOUNCE), Some(start));
        // The object's latest change is of more than its endpoints: it waits, and nothing of it is lost or taken back.
        gather.add(change(&other), &DEBOUNCE, start, before);
        gather.add(change(&moved), &DEBOUNCE, start + ms(1), before);
        gather.take(&DEBOUNCE, start + ms(2));
        let due = gather.take(&DEBOUNCE, start + ms(11)).unwrap();
        let objects: Vec<_> = due.changes.iter().map(|change| change.object.clone().unwrap()).collect();
        assert!(objects == [other.clone(), moved.clone()], "{objects:?}");
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn configuration_waits_for_quiet_but_not_for_ever() {
        let (mut gather, start) = (Gather::default(), Instant::now());
        for i in 0..30 {
            gather.add(change(Kind::VirtualService), &DEBOUNCE, start + ms(i * 5), nothing);
            assert_eq!(gather.due(&DEBOUNCE), Some(start + ms((i * 5 + 10).min(100))));
        }
        assert!(gather.take(&DEBOUNCE, start + ms(99)).is_none());
        let due = gather.take(&DEBOUNCE, start + ms(145)).unwrap();
        assert_eq!((due.changes.len(), due.since), (30, start));
        assert_eq!(gather.due(&DEBOUNCE), None);
    }

    #[test]
    fn endpoints_go_at_once_and_alone() {
        let (mut gather, start) = (Gather::default(), Instant::now());
        gather.add(change(Kind::VirtualService), &DEBOUNCE, start, nothing);
        gather.add(change(Kind::EndpointSlice), &DEBOUNCE, start + ms(1), nothing);
        assert_eq!(gather.due(&DEBOUNCE), Some(start + ms(1)));
        let due = gather.take(&DEBOUNCE, start + ms(1)).unwrap();
        assert_eq!((due.changes.len(), due.changes[0].key.kind), (1, Kind::EndpointSlice));
        assert_eq!(gather.due(&DEBOUNCE), Some(start + ms(10)));
        let waiting = Debounce { endpoints: true, ..DEBOUNCE };
        gather.add(change(Kind::EndpointSlice), &waiting, start + ms(5), nothing);
        assert_eq!(gather.due(&waiting), Some(start + ms(15)));
        assert_eq!(gather.take(&waiting, start + ms(15)).unwrap().changes.len(), 2);
    }

    #[test]
    fn settings_of_the_mesh_are_configuration() {
        let (mut gather, start) = (Gather::default(), Instant::now());
        gather.mesh_changed(start);
        let due = gather.take(&DEBOUNCE, start + ms(10)).unwrap();
        assert!(due.mesh && due.changes.is_empty());
    }
}
