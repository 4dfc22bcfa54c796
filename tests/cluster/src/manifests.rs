// SPDX-License-Identifier: Apache-2.0
//! Objects that many tests need, as YAML.

/// The image of [`echo`]: tests/harness's echo service with curl and busybox beside it.
pub const ECHO_IMAGE: &str = "tiphys-test/echo:1";
/// Refuses plaintext in the namespace that it is applied to; in the root namespace, in the mesh.
pub const STRICT: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
";

/// A ServiceAccount, a Deployment and a Service that have one name: an application that answers HTTP on port 80 (8080 in the pod)
/// with a description of the request, and echoes lines of TCP on port 9000. `replicas` is how many pods it has.
pub fn echo(name: &str, replicas: u32) -> String {
    format!(
        "apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}, version: v1}}}}
    spec:
      serviceAccountName: {name}
      terminationGracePeriodSeconds: 2
      containers:
      - name: {name}
        image: {ECHO_IMAGE}
        args: [serve, --name={name}, '--http=[::]:8080', '--tcp=[::]:9000']
        ports:
        - {{name: http, containerPort: 8080}}
        - {{name: tcp, containerPort: 9000}}
        readinessProbe:
          httpGet: {{path: /, port: 8080}}
          periodSeconds: 1
---
{}",
        service(name, "ClusterIP")
    )
}

/// The Service of [`echo`] of a type such as LoadBalancer.
pub fn service(name: &str, kind: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  type: {kind}
  selector: {{app: {name}}}
  ports:
  - {{name: http, port: 80, targetPort: 8080}}
  - {{name: tcp, port: 9000}}
"
    )
}
