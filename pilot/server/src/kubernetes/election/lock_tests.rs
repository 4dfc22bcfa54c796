// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::kubernetes::mock::ApiServer;
use serde_json::{Value, json};

const MAP: &str = "/api/v1/namespaces/istio-system/configmaps/istio-leader";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/istio-system/leases/istio-leader";

fn record() -> Record {
    let time = OffsetDateTime::from_unix_timestamp(1_785_578_400).ok();
    Record {
        holder_identity: "tiphys-1".into(),
        holder_key: "default".into(),
        lease_duration_seconds: 30,
        acquire_time: time,
        renew_time: time,
        leader_transitions: 2,
    }
}

async fn round_trip<K: Holds>(server: &ApiServer) {
    let lock = || ObjectLock::<K>::new(server.client(), "istio-system", "istio-leader");
    let (one, other) = (lock(), lock());
    assert_eq!(one.read().await.unwrap().map(|(_, record)| record), None);
    let written = one.write(None, &record()).await.unwrap();
    // Made twice, and written by what is not the latest: one wins.
    assert_eq!(other.write(None, &record()).await.err(), Some(LockError::Conflict));
    let (seen, found) = other.read().await.unwrap().unwrap();
    assert_eq!(found, record());
    let next = Record { leader_transitions: 3, ..record() };
    one.write(Some(written), &next).await.unwrap();
    assert_eq!(other.write(Some(seen), &record()).await.err(), Some(LockError::Conflict));
    assert_eq!(other.read().await.unwrap().unwrap().1, next);
}

#[tokio::test]
async fn a_config_map_as_istiod_has_it() {
    let server = ApiServer::default();
    round_trip::<ConfigMap>(&server).await;
    let map = server.object(MAP).unwrap();
    let text = map["metadata"]["annotations"][ANNOTATION].as_str().unwrap();
    let record: Value = serde_json::from_str(text).unwrap();
    assert_eq!(record["renewTime"], "2026-08-01T10:00:00Z");
    // What else is in it stays.
    server.put(
        MAP,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio-leader", "labels": {"a": "b"}}, "data": {"c": "d"}}),
    );
    let lock = ObjectLock::<ConfigMap>::new(server.client(), "istio-system", "istio-leader");
    let (seen, record) = lock.read().await.unwrap().unwrap();
    assert_eq!(record, Record::default());
    lock.write(Some(seen), &self::record()).await.unwrap();
    let map = server.object(MAP).unwrap();
    assert_eq!((&map["metadata"]["labels"]["a"], &map["data"]["c"]), (&json!("b"), &json!("d")));
    // Nobody knows who leads.
    server.put(
        MAP,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio-leader", "annotations": {ANNOTATION: "{"}}}),
    );
    assert!(matches!(lock.read().await, Err(LockError::Failed(_))));
}

#[tokio::test]
async fn a_lease_as_istiod_has_it() {
    let server = ApiServer::default();
    round_trip::<Lease>(&server).await;
    let lease = server.object(LEASE).unwrap();
    assert_eq!(lease["metadata"]["annotations"][HOLDER_KEY], "default");
    assert_eq!(lease["spec"]["holderIdentity"], "tiphys-1");
    assert!(lease["spec"]["renewTime"].as_str().unwrap().starts_with("2026-08-01T10:00:00"));
}
