// SPDX-License-Identifier: Apache-2.0
//! Validation: what the control plane could not use is refused before it is stored, with the field and the reason; what works but probably
//! not as meant is stored with a warning to its author.

use tiphys_api::{Origin, ParseError, Severity, parse_value};

use crate::review::{Request, Verdict};

/// The control plane asks the API server with this annotation whether its own refusals arrive.
pub const ALWAYS_REJECT: &str = "internal.istio.io/webhook-always-reject";

/// Fields that an object has.
const FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// Why an object was refused, in istiod's words for metrics.
pub type Reason = &'static str;

/// What becomes of an object.
pub fn validate(request: Request) -> (Verdict, Option<Reason>) {
    if !matches!(request.operation.as_str(), "CREATE" | "UPDATE") {
        return (Verdict::allowed(), Some("unsupported_operation"));
    }
    let mut object = request.object;
    let Some(fields) = object.as_object_mut() else {
        return (Verdict::refused("the request has no object"), Some("yaml_decode_error"));
    };
    if let Some(unknown) = fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        let message = format!("unknown field {unknown:?}: an object has {}", FIELDS.join(", "));
        return (Verdict::refused(message), Some("invalid_resource"));
    }
    // Labels, size and history are the API server's matter.
    let metadata = fields.entry("metadata").or_insert_with(|| serde_json::json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.remove("managedFields");
        let namespace = metadata.entry("namespace").or_insert_with(|| request.namespace.as_str().into());
        if namespace == "" {
            metadata.remove("namespace");
        }
        // The name of a generated one comes later.
        if !metadata.contains_key("name") && metadata.contains_key("generateName") {
            metadata.insert("name".to_owned(), "generated".into());
        }
    }
    if object["metadata"]["annotations"][ALWAYS_REJECT] == "true" {
        return (Verdict::refused("the object asks to be refused"), Some("invalid_resource"));
    }
    match parse_value(object, Origin::default()) {
        Ok(parsed) => {
            let mut problems = parsed.object.validate();
            problems.extend(parsed.warnings);
            let of = |severity: Severity| {
                let found = problems.iter().filter(move |problem| problem.severity == severity);
                found.map(|problem| match problem.path.as_str() {
                    "" => problem.message.clone(),
                    path => format!("{path}: {}", problem.message),
                })
            };
            let errors: Vec<String> = of(Severity::Error).collect();
            let warnings = of(Severity::Warning).collect();
            if errors.is_empty() {
                return (Verdict { warnings, ..Verdict::default() }, None);
            }
            let message = format!("configuration is invalid: {}", errors.join("; "));
            (Verdict { refused: Some(message), warnings, patch: None }, Some("invalid_resource"))
        }
        Err(error @ ParseError::UnknownKind(_)) => {
            (Verdict::refused(format!("unrecognized type: {error}")), Some("unknown_type"))
        }
        Err(error) => {
            let fault = error.fault();
            let colon = if fault.path.is_empty() { "" } else { ": " };
            let message = format!("error decoding configuration: {}{colon}{}", fault.path, fault.message);
            (Verdict::refused(message), Some("crd_conversion_error"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn ask(object: Json) -> (Verdict, Option<Reason>) {
        let request = Request { operation: "CREATE".into(), namespace: "shop".into(), object, ..Request::default() };
        validate(request)
    }

    fn service(spec: Json) -> Json {
        json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "web"}, "spec": spec})
    }

    #[test]
    fn good_ones_pass_with_warnings_and_others_are_refused_by_field() {
        let good = service(json!({"hosts": ["web"], "http": [{"route": [{"destination": {"host": "web"}}]}]}));
        assert_eq!(ask(good), (Verdict::allowed(), None));
        let (verdict, reason) = ask(service(json!({"hosts": ["web"], "http": [{"timeout": "soon", "route": []}]})));
        assert_eq!(reason, Some("crd_conversion_error"));
        assert!(verdict.refused.unwrap().starts_with("error decoding configuration: spec.http[0].timeout: "));
        let (verdict, reason) = ask(service(json!({"hosts": [], "http": []})));
        assert_eq!(reason, Some("invalid_resource"));
        assert!(verdict.refused.unwrap().starts_with("configuration is invalid: spec"));
        let unknown =
            service(json!({"hosts": ["web"], "htpp": [], "http": [{"route": [{"destination": {"host": "web"}}]}]}));
        let (verdict, _) = ask(unknown);
        assert_eq!((verdict.refused, verdict.warnings.len()), (None, 1));
        assert!(verdict.warnings[0].starts_with("spec.htpp: "), "{:?}", verdict.warnings);
    }

    #[test]
    fn what_is_no_object_of_the_mesh_is_refused() {
        let (verdict, reason) =
            ask(json!({"apiVersion": "networking.istio.io/v1", "kind": "Nope", "metadata": {"name": "x"}}));
        assert_eq!(reason, Some("unknown_type"));
        assert!(verdict.refused.unwrap().starts_with("unrecognized type: "));
        let mut more = service(json!({"hosts": ["web"]}));
        more["extra"] = json!(1);
        assert!(ask(more).0.refused.unwrap().starts_with("unknown field \"extra\""));
        assert_eq!(ask(Json::Null).1, Some("yaml_decode_error"));
        let delete = Request { operation: "DELETE".into(), ..Request::default() };
        assert_eq!(validate(delete), (Verdict::allowed(), Some("unsupported_operation")));
        let mut probe = service(json!({"hosts": ["web"]}));
        probe["metadata"]["annotations"] = json!({ALWAYS_REJECT: "true"});
        assert!(ask(probe).0.refused.is_some());
    }
}
