{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{/*
The values in force, as JSON: the chart's defaults, then profile, compatibility version and platform, then what the user set. Every template
starts with
    {{- with set (pick . "Chart" "Release" "Files") "Values" (include "gateway.values" . | fromJson) }}
*/}}
{{- define "gateway.values" -}}
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

{{- define "gateway.name" -}}
{{- .Values.name | default .Release.Name -}}
{{- end -}}

{{- define "gateway.account" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "gateway.name" .) "default") -}}
{{- end -}}

{{/* The labels that Services, Gateways and policies select the pods by. A label that is set replaces the default, also when it is empty. */}}
{{- define "gateway.selector" -}}
{{- $name := include "gateway.name" . -}}
app: {{ dig "app" $name .Values.labels | toString | quote }}
istio: {{ dig "istio" (trimPrefix "istio-" $name) .Values.labels | toString | quote }}
{{- end -}}

{{/* Labels of everything that the chart makes, but those that select pods. */}}
{{- define "gateway.ownLabels" -}}
app.kubernetes.io/name: {{ include "gateway.name" . | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/part-of: istio
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- range $key, $value := omit .Values.labels "app" "istio" }}
{{ $key }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "gateway.labels" -}}
{{ include "gateway.selector" . }}
{{ include "gateway.ownLabels" . }}
{{- end -}}

{{/* Requests and limits, less what is null or empty. */}}
{{- define "gateway.resources" -}}
{{- $wanted := dict -}}
{{- range $what := list "requests" "limits" -}}
  {{- range $resource, $amount := index ($ | default dict) $what | default dict -}}
    {{- if $amount -}}
      {{- $_ := set $wanted $what (set (index $wanted $what | default dict) $resource $amount) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- toYaml $wanted -}}
{{- end -}}
