{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{/*
The values in force, as JSON: the chart's defaults, then profile, compatibility version and platform, then what the user set. Every template
starts with
    {{- with set (pick . "Chart" "Release" "Files") "Values" (include "base.values" . | fromJson) }}
*/}}
{{- define "base.values" -}}
  {{- $set := omit (deepCopy .Values) "_internal_defaults_do_not_set" -}}
  {{- if $set.defaults -}}
    {{- fail (printf "values under `defaults` have no effect, set them without that prefix: %s" (keys $set.defaults | sortAlpha | join ", ")) -}}
  {{- end -}}
  {{- $values := deepCopy .Values._internal_defaults_do_not_set -}}
  {{- $layers := .Files.Get "files/profiles.yaml" | fromYaml -}}
  {{- range $layer := list "profile" "compatibilityVersion" "platform" -}}
    {{- with coalesce (index $set $layer) (index ($set.global | default dict) $layer) -}}
      {{- $known := index $layers $layer -}}
      {{- if not (hasKey $known .) -}}
        {{- fail (printf "%s %q is unknown; there are %s" $layer . (keys $known | sortAlpha | join ", ")) -}}
      {{- end -}}
      {{- $changes := index $known . -}}
      {{- if $changes.refused -}}
        {{- fail (printf "%s %q cannot be had: %s" $layer . $changes.refused) -}}
      {{- end -}}
      {{- $values = mustMergeOverwrite $values (deepCopy $changes) -}}
    {{- end -}}
  {{- end -}}
  {{- mustMergeOverwrite $values $set | toJson -}}
{{- end -}}

{{/* Whether objects of this scope (cluster, namespace) are wanted: prints something or nothing. */}}
{{- define "base.renders.cluster" -}}
{{- if has .Values.global.resourceScope (list "all" "cluster") }}yes{{ end -}}
{{- end -}}

{{- define "base.renders.namespace" -}}
{{- if has .Values.global.resourceScope (list "all" "namespace") }}yes{{ end -}}
{{- end -}}

{{/* Labels of everything that the chart makes. */}}
{{- define "base.labels" -}}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/part-of: istio
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/*
The line `failurePolicy` of a validating webhook, or nothing. Input: `chart`, `name` of the configuration.
Objects must go through while no control plane answers yet, and none once one does: a first installation by Helm says Ignore, and the control
plane makes it Fail. Everywhere else the field is left out, so that a later rendering never differs from what lives in the cluster.
*/}}
{{- define "base.validator.failurePolicy" -}}
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
