{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{/* The environment of the control plane: who and where it is, then the settings. */}}
{{- define "istiod.environment" -}}
- name: REVISION
  value: {{ .Values.revision | default "default" | quote }}
- name: PILOT_CERT_PROVIDER
  value: {{ .Values.global.pilotCertProvider | quote }}
- name: POD_NAME
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: metadata.namespace
- name: SERVICE_ACCOUNT
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: spec.serviceAccountName
- name: KUBECONFIG
  value: /var/run/secrets/remote/config
{{- range $name, $value := .Values.env }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- with .Values.envVarFrom }}
{{ toYaml . }}
{{- end }}
{{- if .Values.traceSampling }}
- name: PILOT_TRACE_SAMPLING
  value: {{ .Values.traceSampling | toString | quote }}
{{- end }}
{{- with .Values.global.trustBundleName }}
- name: PILOT_CA_CERT_CONFIGMAP
  value: {{ . | quote }}
{{- end }}
{{- with .Values.crlConfigMapName }}
- name: PILOT_CRL_CONFIGMAP
  value: {{ . | quote }}
{{- end }}
- name: CLUSTER_ID
  value: {{ .Values.global.multiCluster.clusterName | default "Kubernetes" | quote }}
- name: PLATFORM
  value: {{ coalesce .Values.global.platform .Values.platform | default "" | quote }}
{{- end -}}

{{- define "istiod.mounts" -}}
- name: istio-token
  mountPath: /var/run/secrets/tokens
  readOnly: true
- name: local-certs
  mountPath: /var/run/secrets/istio-dns
- name: cacerts
  mountPath: /etc/cacerts
  readOnly: true
- name: istio-kubeconfig
  mountPath: /var/run/secrets/remote
  readOnly: true
- name: istio-csr-dns-cert
  mountPath: /var/run/secrets/istiod/tls
  readOnly: true
- name: istio-csr-ca-configmap
  mountPath: /var/run/secrets/istiod/ca
  readOnly: true
{{- with .Values.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "istiod.volumes" -}}
- name: istio-token
  projected:
    sources:
    - serviceAccountToken:
        audience: {{ .Values.global.sds.token.aud | quote }}
        expirationSeconds: 43200
        path: istio-token
- name: local-certs
  emptyDir:
    medium: Memory
# A root or an intermediate of the operator's own.
- name: cacerts
  secret:
    secretName: cacerts
    optional: true
- name: istio-kubeconfig
  secret:
    secretName: istio-kubeconfig
    optional: true
# A serving certificate that istio-csr made.
- name: istio-csr-dns-cert
  secret:
    secretName: istiod-tls
    optional: true
- name: istio-csr-ca-configmap
  configMap:
    name: {{ .Values.global.trustBundleName | default "istio-ca-root-cert" }}
    defaultMode: 420
    optional: true
{{- with .Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
