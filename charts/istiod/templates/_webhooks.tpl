{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{/* The end of the name of an injector configuration: there may be control planes of one revision in several namespaces. */}}
{{- define "istiod.injector.end" -}}
{{- if ne .Release.Namespace "istio-system" }}-{{ .Release.Namespace }}{{ end -}}
{{- end -}}

{{/* An injector configuration: of the revision, or of a tag. Input: that of its webhooks, `name` and, of a tag, `tag`. */}}
{{- define "istiod.injector" }}
{{- $chart := .chart }}
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata:
  name: {{ .name }}
  labels:
    app: sidecar-injector
    {{- with .tag }}
    istio.io/tag: {{ . | quote }}
    {{- end }}
    {{- include "istiod.revisionLabels" $chart | nindent 4 }}
  {{- with $chart.Values.sidecarInjectorWebhookAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
webhooks:
{{- include "istiod.injector.webhooks" . }}
{{- end }}

{{/*
The webhooks of an injector configuration. Input: `chart` (the context), `label` (the value of istio.io/rev that asks for it) and `default`
(whether istio-injection=enabled, and no label at all, ask for it too). No pod fits two of them: a label of the namespace goes before one of
the pod, and istio-injection before istio.io/rev. The names are Istio's: tools find webhooks by them.
*/}}
{{- define "istiod.injector.webhooks" -}}
{{- $chart := .chart -}}
{{- $refuses := dict "key" "sidecar.istio.io/inject" "operator" "NotIn" "values" (list "false") -}}
{{- $asksForIt := dict "key" "istio.io/rev" "operator" "In" "values" (list .label) -}}
{{- $noRevision := dict "key" "istio.io/rev" "operator" "DoesNotExist" -}}
{{- $noInjection := dict "key" "istio-injection" "operator" "DoesNotExist" -}}
{{- $hooks := list
      (dict "name" "rev.namespace" "namespaces" (list $asksForIt $noInjection) "pods" (list $refuses))
      (dict "name" "rev.object" "namespaces" (list $noRevision $noInjection) "pods" (list $refuses $asksForIt)) -}}
{{- if .default -}}
  {{- $enabled := dict "key" "istio-injection" "operator" "In" "values" (list "enabled") -}}
  {{- $wants := dict "key" "sidecar.istio.io/inject" "operator" "In" "values" (list "true") -}}
  {{- $hooks = concat $hooks (list
        (dict "name" "namespace" "namespaces" (list $enabled) "pods" (list $refuses))
        (dict "name" "object" "namespaces" (list $noInjection $noRevision) "pods" (list $wants $noRevision))) -}}
  {{- if $chart.Values.sidecarInjectorWebhook.enableNamespacesByDefault -}}
    {{- $ofKubernetes := list "kube-system" "kube-public" "kube-node-lease" "local-path-storage" -}}
    {{- $elsewhere := dict "key" "kubernetes.io/metadata.name" "operator" "NotIn" "values" $ofKubernetes -}}
    {{- $saysNothing := dict "key" "sidecar.istio.io/inject" "operator" "DoesNotExist" -}}
    {{- $hooks = append $hooks
          (dict "name" "auto" "namespaces" (list $noInjection $noRevision $elsewhere) "pods" (list $saysNothing $noRevision)) -}}
  {{- end -}}
{{- end -}}
{{- $remote := $chart.Values.istiodRemote -}}
{{- range $hooks }}
- name: {{ .name }}.sidecar-injector.istio.io
  clientConfig:
    {{- if $remote.injectionURL }}
    url: {{ $remote.injectionURL | quote }}
    {{- else }}
    service:
      name: {{ include "istiod.name" $chart }}
      namespace: {{ $chart.Release.Namespace }}
      path: {{ $remote.injectionPath | quote }}
      port: 443
    {{- end }}
    {{- /* Without one the control plane writes its own, and keeps it right. */}}
    {{- with $remote.injectionCABundle }}
    caBundle: {{ . | quote }}
    {{- end }}
  rules:
  - apiGroups: [""]
    apiVersions: [v1]
    operations: [CREATE]
    resources: [pods]
  namespaceSelector:
    matchExpressions:
      {{- toYaml .namespaces | nindent 4 }}
  objectSelector:
    matchExpressions:
      {{- toYaml .pods | nindent 4 }}
  failurePolicy: Fail
  reinvocationPolicy: {{ $chart.Values.sidecarInjectorWebhook.reinvocationPolicy }}
  sideEffects: None
  admissionReviewVersions: [v1]
{{- end }}
{{- end -}}

{{/*
The line `failurePolicy` of a validating webhook, or nothing. Input: `chart`, `name` of the configuration.
Objects must go through while no control plane answers yet, and none once one does: a first installation by Helm says Ignore, and the control
plane makes it Fail. Everywhere else the field is left out, so that a later rendering never differs from what lives in the cluster.
*/}}
{{- define "istiod.validator.failurePolicy" -}}
{{- $base := .chart.Values.base -}}
{{- if $base.validationCABundle -}}
failurePolicy: Fail
{{- else if $base.validationFailurePolicy -}}
failurePolicy: {{ $base.validationFailurePolicy }}
{{- else -}}
  {{- $live := lookup "admissionregistration.k8s.io/v1" "ValidatingWebhookConfiguration" "" "" -}}
  {{- $exists := false -}}
  {{- range $live.items }}{{ if eq .metadata.name $.name }}{{ $exists = true }}{{ end }}{{ end -}}
  {{- if and $live (not $exists) -}}
failurePolicy: Ignore
  {{- end -}}
{{- end -}}
{{- end -}}
