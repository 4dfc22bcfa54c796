// SPDX-License-Identifier: Apache-2.0
//! Kubernetes' strategic merge
//! (<https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>) for pods: objects are merged field by
//! field, lists are replaced unless Kubernetes names a key by which their items are matched. A null removes. The directives `$patch`,
//! `$retainKeys` and `$deleteFromPrimitiveList/` are obeyed.

use serde_json::{Map, Value as Json};

/// How the fields of an object are merged, where it differs from the rule.
struct Schema {
    /// Lists whose items are matched by a field; none for lists of texts that are joined.
    lists: &'static [(&'static str, Option<&'static str>, &'static Schema)],
    /// Objects with such lists somewhere in them.
    objects: &'static [(&'static str, &'static Schema)],
}

static PLAIN: Schema = Schema { lists: &[], objects: &[] };

static POD: Schema = Schema { lists: &[], objects: &[("metadata", &METADATA), ("spec", &SPEC)] };

static METADATA: Schema =
    Schema { lists: &[("ownerReferences", Some("uid"), &PLAIN), ("finalizers", None, &PLAIN)], objects: &[] };

static SPEC: Schema = Schema {
    lists: &[
        ("containers", Some("name"), &CONTAINER),
        ("initContainers", Some("name"), &CONTAINER),
        ("ephemeralContainers", Some("name"), &CONTAINER),
        ("volumes", Some("name"), &PLAIN),
        ("imagePullSecrets", Some("name"), &PLAIN),
        ("hostAliases", Some("ip"), &PLAIN),
        ("topologySpreadConstraints", Some("topologyKey"), &PLAIN),
        ("schedulingGates", Some("name"), &PLAIN),
        ("resourceClaims", Some("name"), &PLAIN),
    ],
    objects: &[],
};

static CONTAINER: Schema = Schema {
    lists: &[
        ("ports", Some("containerPort"), &PLAIN),
        ("env", Some("name"), &PLAIN),
        ("volumeMounts", Some("mountPath"), &PLAIN),
        ("volumeDevices", Some("devicePath"), &PLAIN),
    ],
    objects: &[],
};

/// Merges a patch onto a pod.
///
/// # Errors
/// When the patch is no object, or an item of a list lacks the field by which it is matched.
pub fn merge_pod(pod: &mut Json, patch: &Json) -> Result<(), String> {
    let Json::Object(patch) = patch else { return Err("what is merged onto the pod is no object".to_owned()) };
    if !pod.is_object() {
        *pod = Json::Object(Map::new());
    }
    let Json::Object(pod) = pod else { unreachable!("it was made one") };
    merge_object(pod, patch, &POD).map_err(|(path, message)| format!("{path}: {message}"))
}

/// Field path and reason.
type Wrong = (String, String);

fn under<T>(field: &str, result: Result<T, Wrong>) -> Result<T, Wrong> {
    result.map_err(|(path, message)| {
        let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        (format!("{field}{dot}{path}"), message)
    })
}

fn merge_object(target: &mut Map<String, Json>, patch: &Map<String, Json>, schema: &Schema) -> Result<(), Wrong> {
    match patch.get("$patch").map(|directive| directive.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => {
            target.clear();
            target.extend(
                patch.iter().filter(|(key, _)| !key.starts_with('$')).map(|(k, v)| (k.clone(), without_nulls(v))),
            );
            return Ok(());
        }
        Some("delete") => {
            target.clear();
            return Ok(());
        }
        Some(other) => {
            return Err((String::new(), format!("$patch: {other:?} is not known: use merge, replace or delete")));
        }
    }
    if let Some(Json::Array(keys)) = patch.get("$retainKeys") {
        target.retain(|key, _| keys.iter().any(|kept| kept == key));
    }
    for (field, value) in patch.iter().filter(|(field, _)| !matches!(field.as_str(), "$patch" | "$retainKeys")) {
        if let Some(list) = field.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Json::Array(items)), Json::Array(gone)) = (target.get_mut(list), value) {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if field.starts_with('$') {
            return Err((field.clone(), "this directive is not supported".to_owned()));
        }
        under(field, merge_field(target, field, value, schema))?;
    }
    Ok(())
}

fn merge_field(target: &mut Map<String, Json>, field: &str, value: &Json, schema: &Schema) -> Result<(), Wrong> {
    match value {
        Json::Null => drop(target.remove(field)),
        Json::Object(patch) => {
            let inner = schema.objects.iter().find(|(name, _)| *name == field).map_or(&PLAIN, |(_, inner)| *inner);
            let known = target.entry(field).or_insert_with(|| Json::Object(Map::new()));
            if !known.is_object() {
                *known = Json::Object(Map::new());
            }
            if let Json::Object(known) = known {
                merge_object(known, patch, inner)?;
            }
        }
        Json::Array(patch) => {
            let merged = schema.lists.iter().find(|(name, ..)| *name == field);
            let known = match target.get_mut(field) {
                Some(Json::Array(known)) => std::mem::take(known),
                _ if patch.is_empty() => return Ok(()),
                _ => Vec::new(),
            };
            let items = match merged {
                Some((_, Some(key), inner)) => merge_list(known, patch, key, inner)?,
                Some((_, None, _)) => joined(known, patch),
                None => patch.iter().map(without_nulls).collect(),
            };
            target.insert(field.to_owned(), Json::Array(items));
        }
        scalar => drop(target.insert(field.to_owned(), scalar.clone())),
    }
    Ok(())
}

fn joined(mut known: Vec<Json>, patch: &[Json]) -> Vec<Json> {
    for item in patch {
        if !known.contains(item) {
            known.push(item.clone());
        }
    }
    known
}

fn merge_list(known: Vec<Json>, patch: &[Json], key: &str, schema: &Schema) -> Result<Vec<Json>, Wrong> {
    let directive = |item: &Json| item.get("$patch").and_then(Json::as_str).map(str::to_owned);
    let replaces = patch.iter().any(|item| directive(item).as_deref() == Some("replace") && item.get(key).is_none());
    // The items as they were, each with what became of it.
    let mut items: Vec<(Json, bool)> =
        if replaces { Vec::new() } else { known.iter().cloned().map(|item| (item, false)).collect() };
    let order: Vec<Json> = known.iter().map(|item| item[key].clone()).collect();
    let mut added: Vec<Json> = Vec::new();
    for (index, item) in patch.iter().enumerate() {
        let place = format!("[{index}]");
        let Json::Object(fields) = item else {
            return Err((place, "it is no object".to_owned()));
        };
        let Some(value) = fields.get(key).filter(|value| !value.is_null()) else {
            if directive(item).as_deref() == Some("replace") {
                continue;
            }
            return Err((place, format!("{key} is missing, by which items of this list are matched")));
        };
        if directive(item).as_deref() == Some("delete") {
            items.retain(|(known, _)| known[key] != *value);
            continue;
        }
        let found = items
            .iter_mut()
            .map(|(item, touched)| (item, Some(touched)))
            .chain(added.iter_mut().map(|item| (item, None)));
        match found.into_iter().find(|(known, _)| known[key] == *value) {
            Some((Json::Object(known), touched)) => {
                under(&place, merge_object(known, fields, schema))?;
                if let Some(touched) = touched {
                    *touched = true;
                }
            }
            _ => {
                let mut fresh = Map::new();
                under(&place, merge_object(&mut fresh, fields, schema))?;
                added.push(Json::Object(fresh));
            }
        }
    }
    Ok(ordered(items, added, patch, key, &order))
}

/// Items of the patch stand in the patch's order, others in the order that they had; where both orders leave it open, those of the
/// patch come first.
fn ordered(items: Vec<(Json, bool)>, added: Vec<Json>, patch: &[Json], key: &str, order: &[Json]) -> Vec<Json> {
    let (touched, others): (Vec<_>, Vec<_>) = items.into_iter().partition(|(_, touched)| *touched);
    let mut patched: Vec<Json> = touched.into_iter().map(|(item, _)| item).chain(added).collect();
    patched.sort_by_key(|item| patch.iter().position(|p| p[key] == item[key]));
    let mut others = others.into_iter().map(|(item, _)| item).peekable();
    let mut patched = patched.into_iter().peekable();
    let place = |item: &Json| order.iter().position(|known| *known == item[key]);
    let mut result = Vec::new();
    loop {
        let next = match (others.peek(), patched.peek()) {
            (Some(other), Some(patch)) => match (place(other), place(patch)) {
                (Some(other), Some(patch)) if other < patch => others.next(),
                _ => patched.next(),
            },
            (Some(_), None) => others.next(),
            (None, _) => patched.next(),
        };
        let Some(item) = next else { return result };
        result.push(item);
    }
}

/// What a patch adds: without nulls, which mean that something is not there.
fn without_nulls(value: &Json) -> Json {
    match value {
        Json::Object(fields) => {
            let there = fields.iter().filter(|(key, value)| !value.is_null() && !key.starts_with("$patch"));
            Json::Object(there.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Json::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn merges(pod: Json, patch: Json, wanted: Json) {
        let mut merged = pod;
        merge_pod(&mut merged, &patch).unwrap();
        assert_eq!(merged, wanted);
    }

    #[test]
    fn objects_are_merged_and_nulls_remove() {
        merges(
            json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"nodeName": "n"}}),
            json!({"metadata": {"labels": {"b": "3", "c": "4", "a": null}}, "spec": {"nodeName": null, "hostname": "h"}}),
            json!({"metadata": {"labels": {"b": "3", "c": "4"}}, "spec": {"hostname": "h"}}),
        );
        merges(
            json!({}),
            json!({"spec": {"volumes": [{"name": "v", "emptyDir": null}], "initContainers": []}}),
            json!({"spec": {"volumes": [{"name": "v"}]}}),
        );
    }

    #[test]
    fn lists_with_a_key_are_matched_by_it_and_others_replaced() {
        merges(
            json!({"spec": {"containers": [{"name": "app", "args": ["a"], "env": [{"name": "X", "value": "1"}]}]}}),
            json!({"spec": {"containers": [{"name": "app", "args": ["b"], "env": [{"name": "Y", "value": "2"}]}]}}),
            json!({"spec": {"containers": [{"name": "app", "args": ["b"], "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]}]}}),
        );
        merges(
            json!({"spec": {"tolerations": [{"key": "a"}], "volumes": [{"name": "v", "emptyDir": {}}]}}),
            json!({"spec": {"tolerations": [{"key": "b"}], "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}]}}),
            json!({"spec": {"tolerations": [{"key": "b"}], "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}]}}),
        );
        merges(
            json!({"metadata": {"finalizers": ["a"]}}),
            json!({"metadata": {"finalizers": ["b", "a"]}}),
            json!({"metadata": {"finalizers": ["a", "b"]}}),
        );
    }

    #[test]
    fn order_is_that_of_kubernetes() {
        let named = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Json>();
        for (known, patch, wanted) in [
            (&["a", "b"][..], &["x"][..], &["x", "a", "b"][..]),
            (&["a", "b", "c"], &["b", "x"], &["a", "b", "x", "c"]),
            (&["a", "b"], &["b", "a"], &["b", "a"]),
            (&[], &["x", "y"], &["x", "y"]),
        ] {
            merges(
                json!({"spec": {"volumes": named(known)}}),
                json!({"spec": {"volumes": named(patch)}}),
                json!({"spec": {"volumes": named(wanted)}}),
            );
        }
    }

    #[test]
    fn directives() {
        merges(
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "volumes": [{"name": "v"}]}}),
            json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}], "volumes": [{"$patch": "replace"}, {"name": "w"}]}}),
            json!({"spec": {"containers": [{"name": "b"}], "volumes": [{"name": "w"}]}}),
        );
        merges(
            json!({"spec": {"securityContext": {"runAsUser": 1}, "volumes": [{"name": "v", "emptyDir": {}}]}}),
            json!({"spec": {
                "securityContext": {"$patch": "replace", "fsGroup": 2},
                "volumes": [{"name": "v", "$retainKeys": ["name", "secret"], "secret": {}}]
            }}),
            json!({"spec": {"securityContext": {"fsGroup": 2}, "volumes": [{"name": "v", "secret": {}}]}}),
        );
        let wrong = |patch: Json| merge_pod(&mut json!({}), &patch).unwrap_err();
        assert_eq!(
            wrong(json!({"spec": {"containers": [{"image": "x"}]}})),
            "spec.containers[0]: name is missing, by which items of this list are matched"
        );
        assert_eq!(
            wrong(json!({"spec": {"$setElementOrder/containers": []}})),
            "spec.$setElementOrder/containers: this directive is not supported"
        );
        assert_eq!(wrong(json!("text")), "what is merged onto the pod is no object");
    }
}
