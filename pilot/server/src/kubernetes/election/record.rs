// SPDX-License-Identifier: Apache-2.0
//! Who leads, as client-go's leader election and istiod write it: JSON in the annotation [`ANNOTATION`] of a ConfigMap, or the spec of a Lease.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The annotation of a ConfigMap that is a lock.
pub const ANNOTATION: &str = "control-plane.alpha.kubernetes.io/leader";
/// The annotation of a Lease with the holder's key; a ConfigMap has it in the record.
pub const HOLDER_KEY: &str = "leader.istio.io/holder-key";

/// Who leads, and since when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// Name of the holder: its pod. Empty when it stepped down.
    pub holder_identity: String,
    /// Revision of the holder, with `^` before it when it leads from another cluster.
    pub holder_key: String,
    /// How long others wait after they saw a change.
    pub lease_duration_seconds: i32,
    /// When it was taken.
    #[serde(with = "rfc3339")]
    pub acquire_time: Option<OffsetDateTime>,
    /// When the holder last said that it is there.
    #[serde(with = "rfc3339")]
    pub renew_time: Option<OffsetDateTime>,
    /// How often the holder changed.
    pub leader_transitions: i32,
}

/// Times as Go's `metav1.Time` has them: whole seconds, null when there is none.
mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    pub fn serialize<S: Serializer>(time: &Option<OffsetDateTime>, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = time.and_then(|time| time.replace_nanosecond(0).ok());
        whole.and_then(|time| time.format(&Rfc3339).ok()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OffsetDateTime>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| OffsetDateTime::parse(&text, &Rfc3339)).transpose().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_istiod_writes_it() {
        let text = r#"{"holderIdentity":"istiod-5d9b-x","holderKey":"default","leaseDurationSeconds":30,"acquireTime":"2026-08-01T10:00:00Z","renewTime":"2026-08-01T10:00:07Z","leaderTransitions":3}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!((record.holder_identity.as_str(), record.leader_transitions), ("istiod-5d9b-x", 3));
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        let stepped_down = r#"{"holderIdentity":"","holderKey":"","leaseDurationSeconds":1,"acquireTime":null,"renewTime":null,"leaderTransitions":3}"#;
        assert_eq!(
            serde_json::to_string(&serde_json::from_str::<Record>(stepped_down).unwrap()).unwrap(),
            stepped_down
        );
        assert_eq!(serde_json::from_str::<Record>("{}").unwrap(), Record::default());
    }
}
