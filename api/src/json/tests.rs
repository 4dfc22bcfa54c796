// SPDX-License-Identifier: Apache-2.0

use serde_json::json;

use super::*;
use crate::istio::networking::http_route::HttpRoute;
use crate::istio::security::PeerAuthentication;

#[test]
fn errors_carry_the_path() {
    let value = json!({"match": [{"uri": {"exact": 3}}]});
    let error = from_value::<HttpRoute>(value, "spec.http[2]", Dialect::Proto).unwrap_err();
    assert_eq!(error.path, "spec.http[2].match[0].uri.exact");
    assert_eq!(error.message, "expected a string, found the number 3");
    let error = from_value::<HttpRoute>(json!({"timeout": "5 s"}), "spec", Dialect::Proto).unwrap_err();
    assert_eq!(error.path, "spec.timeout");
}

#[test]
fn unknown_fields_are_listed_and_proto_names_are_taken() {
    let value = json!({"matches": [], "mirror_percentage": {"value": "12.5"}, "route": [{"weigth": 1, "weight": "7"}], "name": null});
    let (route, unknown) = from_value::<HttpRoute>(value, "spec", Dialect::Proto).unwrap();
    assert_eq!(unknown, ["spec.matches", "spec.route[0].weigth"]);
    assert_eq!(route.mirror_percentage.unwrap().value, 12.5);
    assert_eq!(route.route[0].weight, 7);
}

#[test]
fn number_keys_and_open_enums() {
    let value = json!({"portLevelMtls": {"8080": {"mode": "SOMETIMES"}, "90": {"mode": 3}}});
    let (policy, _) = from_value::<PeerAuthentication>(value, "spec", Dialect::Proto).unwrap();
    assert_eq!(
        to_value(&policy).unwrap(),
        json!({"portLevelMtls": {"8080": {"mode": "SOMETIMES"}, "90": {"mode": "STRICT"}}})
    );
    let error =
        from_value::<PeerAuthentication>(json!({"portLevelMtls": {"web": {}}}), "spec", Dialect::Proto).unwrap_err();
    assert_eq!(error.path, "spec.portLevelMtls[\"web\"]");
}
