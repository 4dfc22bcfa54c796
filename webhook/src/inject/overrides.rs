// SPDX-License-Identifier: Apache-2.0
//! A user's own containers under the names of injected ones: what they say goes before the template. They are kept in the annotation
//! proxy.istio.io/overrides, so that a pod that is injected again, as a copied or reinvoked one is, gives the same result.

use serde_json::{Map, Value as Json, json};
use tiphys_api::names::annotation;

use super::InjectError;
use super::merge::merge_pod;
use super::pod::{self, List};

/// The image that stands for the injected one: Kubernetes asks for an image in every container.
const AUTO_IMAGE: &str = "auto";

/// Names of containers that an earlier injection added, by list; empty when there was none.
pub fn injected(pod: &Json, list: List) -> Vec<String> {
    let status = pod::annotation(pod, annotation::STATUS);
    let status: Json = status.and_then(|status| serde_json::from_str(status).ok()).unwrap_or_default();
    let names = status[list.field()].as_array().into_iter().flatten();
    names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// What an earlier injection kept of the user's own containers.
///
/// # Errors
/// When the annotation is no JSON.
pub fn kept(pod: &Json) -> Result<Json, InjectError> {
    let Some(text) = pod::annotation(pod, annotation::OVERRIDES) else { return Ok(json!({})) };
    serde_json::from_str(text).map_err(|error| {
        InjectError::Annotations(format!("annotation {}: it is no JSON: {error}", annotation::OVERRIDES))
    })
}

fn kept_containers(kept: &Json, list: List) -> &[Json] {
    kept[list.field()].as_array().map_or(&[], Vec::as_slice)
}

/// The pod without what an earlier injection added, and with the user's own containers as they were: what templates see.
///
/// # Errors
/// When the annotation with the user's containers is no JSON.
pub fn stripped(pod: &Json, status_port: i32) -> Result<Json, InjectError> {
    let mut stripped = pod.clone();
    if pod::annotation(pod, annotation::STATUS).is_some_and(|status| serde_json::from_str::<Json>(status).is_ok()) {
        for list in List::BOTH {
            let names = injected(pod, list);
            if !pod::containers(&stripped, list).is_empty() {
                pod::containers_mut(&mut stripped, list)
                    .retain(|container| !names.iter().any(|name| container["name"] == name.as_str()));
            }
        }
        super::prometheus::forget_own(&mut stripped, status_port);
        pod::annotations_mut(&mut stripped).remove(annotation::STATUS);
    }
    let kept = kept(pod)?;
    for list in List::BOTH {
        for container in kept_containers(&kept, list) {
            let name = container["name"].as_str().unwrap_or_default();
            if pod::find(pod::containers(&stripped, list), name).is_none() {
                pod::containers_mut(&mut stripped, list).push(container.clone());
            }
        }
    }
    Ok(stripped)
}

/// Lays the user's own containers over those of the template.
///
/// # Errors
/// When the annotation with the user's containers is no JSON, or a container cannot be merged.
pub fn reapply(merged: &mut Json, original: &Json, template: &Json) -> Result<(), InjectError> {
    let kept = kept(original)?;
    let again = pod::annotation(original, annotation::STATUS).is_some();
    let mut overrides = Map::new();
    for list in List::BOTH {
        let before = injected(original, list);
        for container in pod::containers(template, list) {
            let name = container["name"].as_str().unwrap_or_default();
            let own = pod::find(kept_containers(&kept, list), name).or_else(|| match list {
                // What an earlier injection added is no wish of the user's.
                _ if before.iter().any(|before| before == name) => None,
                List::Containers => pod::find(pod::containers(original, list), name),
                // With native sidecars the user's container becomes an init container.
                List::Init => pod::find_in_pod(original, name),
            });
            let Some(own) = own else { continue };
            let mut own = own.clone();
            if let Json::Object(fields) = &mut own
                && fields.get("image").is_some_and(|image| image == AUTO_IMAGE || image == "")
            {
                fields.remove("image");
            }
            let patch = json!({"spec": { list.field(): [own.clone()] }});
            merge_pod(merged, &patch).map_err(InjectError::Merge)?;
            let recorded = overrides.entry(list.field()).or_insert_with(|| json!([]));
            recorded.as_array_mut().into_iter().for_each(|list| list.push(own.clone()));
        }
    }
    if !again && !overrides.is_empty() {
        let text = Json::Object(overrides).to_string();
        pod::annotations_mut(merged).insert(annotation::OVERRIDES.to_owned(), text.into());
    }
    Ok(())
}

/// A user who runs the proxy as another user or group: capture lets that user's traffic out, and the check of the CNI plugin's work runs as it.
/// With TPROXY the proxy has to be root.
pub fn follow_user(merged: &mut Json, original: &Json, tproxy: bool) {
    let Some(context) = pod::find_in_pod(original, pod::PROXY).map(|own| own["securityContext"].clone()) else {
        return;
    };
    let (user, group) = (context["runAsUser"].clone(), context["runAsGroup"].clone());
    if user.is_null() && group.is_null() {
        return;
    }
    let inits = pod::containers(merged, List::Init);
    let Some(at) = [pod::INIT, pod::VALIDATION].iter().find_map(|name| inits.iter().position(|c| c["name"] == *name))
    else {
        return;
    };
    if tproxy
        && !user.is_null()
        && let Some(proxy) = pod::find_in_pod_mut(merged, pod::PROXY)
    {
        pod::object(proxy, "securityContext").insert("runAsUser".to_owned(), 0.into());
    }
    let init = &mut pod::containers_mut(merged, List::Init)[at];
    if !tproxy && init["name"] == pod::VALIDATION {
        let context = pod::object(init, "securityContext");
        for (field, value) in [("runAsUser", &user), ("runAsGroup", &group)] {
            if !value.is_null() {
                context.insert(field.to_owned(), value.clone());
            }
        }
    }
    // The traffic of root cannot be let out by its user.
    let Some(user) = user.as_i64().filter(|user| *user != 0) else { return };
    let arguments = init.get_mut("args").and_then(Json::as_array_mut).into_iter().flatten();
    let mut follows = false;
    for argument in arguments {
        if follows {
            *argument = user.to_string().into();
            return;
        }
        follows = *argument == "-u";
    }
}

/// OpenShift gives all containers of a pod one user. Where the user's own container of the proxy has the same as the application, that is no
/// wish of the user's, and the proxy's own traffic would be captured: the pod is injected without it.
pub fn forget_openshift_user(pod: &mut Json) {
    let users = |wanted: fn(&Json) -> bool| {
        let all = List::BOTH.into_iter().flat_map(|list| pod::containers(pod, list)).filter(|c| wanted(&c["name"]));
        all.filter_map(|container| container["securityContext"]["runAsUser"].as_i64()).next_back().unwrap_or(0)
    };
    let proxy = users(|name| name == pod::PROXY);
    let application = users(|name| name != pod::PROXY && name != pod::INIT && name != pod::VALIDATION);
    if proxy == application
        && let Some(container) = pod::find_in_pod_mut(pod, pod::PROXY)
        && let Some(Json::Object(context)) = container.get_mut("securityContext")
    {
        context.remove("runAsUser");
        context.remove("runAsGroup");
    }
}
