{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{/* The end of the name of what each revision has of its own. */}}
{{- define "istiod.suffix" -}}
{{- with .Values.revision }}-{{ . }}{{ end -}}
{{- end -}}

{{- define "istiod.name" -}}
istiod{{ include "istiod.suffix" . }}
{{- end -}}

{{/* The end of the name of cluster-scoped roles. */}}
{{- define "istiod.clusterSuffix" -}}
{{ include "istiod.suffix" . }}-{{ .Release.Namespace }}
{{- end -}}

{{/* Whether objects of this scope (cluster, namespace) are wanted: prints something or nothing. */}}
{{- define "istiod.renders.cluster" -}}
{{- if has .Values.global.resourceScope (list "all" "cluster") }}yes{{ end -}}
{{- end -}}

{{- define "istiod.renders.namespace" -}}
{{- if has .Values.global.resourceScope (list "all" "namespace") }}yes{{ end -}}
{{- end -}}

{{/* Labels of everything that the chart makes. */}}
{{- define "istiod.chartLabels" -}}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/part-of: istio
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* Labels of what belongs to the control plane. */}}
{{- define "istiod.labels" -}}
app.kubernetes.io/name: istiod
{{ include "istiod.chartLabels" . }}
release: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels of what belongs to one revision of it; istioctl finds objects by them. */}}
{{- define "istiod.revisionLabels" -}}
{{ include "istiod.podLabels" . }}
release: {{ .Release.Name | quote }}
{{- end -}}

{{- define "istiod.podLabels" -}}
app.kubernetes.io/name: istiod
{{ include "istiod.chartLabels" . }}
istio.io/rev: {{ .Values.revision | default "default" | quote }}
install.operator.istio.io/owning-resource: {{ .Values.ownerName | default "unknown" | quote }}
operator.istio.io/component: Pilot
{{- end -}}

{{/* Which pods are the control plane's: without a revision not those of revisions beside it. */}}
{{- define "istiod.selector" -}}
app: istiod
{{- if .Values.revision }}
istio.io/rev: {{ .Values.revision | quote }}
{{- else }}
istio: pilot
{{- end }}
{{- end -}}

{{/* An image pull secret list. */}}
{{- define "istiod.imagePullSecrets" -}}
{{- with .Values.global.imagePullSecrets -}}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Requests and limits, less what is null or empty. */}}
{{- define "istiod.resources" -}}
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
