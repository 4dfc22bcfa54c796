{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{/*
The values in force, as JSON: the chart's defaults, then profile, compatibility version and platform, then what the user set; what stands under
`pilot` counts as if it stood at the top. Every template starts with
    {{- with set (pick . "Chart" "Release" "Files") "Values" (include "istiod.values" . | fromJson) }}
*/}}
{{- define "istiod.values" -}}
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
  {{- $values = mustMergeOverwrite $values $set -}}
  {{- $values = mustMergeOverwrite $values (deepCopy ($values.pilot | default dict)) -}}
  {{- include "istiod.refuse" $values -}}
  {{- if not $values.global.tag -}}
    {{- $_ := set $values.global "tag" .Chart.AppVersion -}}
  {{- end -}}
  {{- if eq $values.global.proxy.image "tiphys-proxy" -}}
    {{- $_ := set $values.global "variant" "" -}}
    {{- $_ := unset $values.global.proxy "variant" -}}
  {{- end -}}
  {{- toJson $values -}}
{{- end -}}

{{/* Stops for what was asked for and is not there: a mesh without it would not be the one that was meant. */}}
{{- define "istiod.refuse" -}}
  {{- $cluster := "a control plane serves the cluster that it runs in only" -}}
  {{- $wanted := dict
        "istiodRemote.enabled" (dict "set" .istiodRemote.enabled "why" $cluster)
        "global.remotePilotAddress" (dict "set" .global.remotePilotAddress "why" $cluster)
        "global.externalIstiod" (dict "set" .global.externalIstiod "why" $cluster)
        "pilot.env.EXTERNAL_ISTIOD" (dict "set" (eq (toString .env.EXTERNAL_ISTIOD) "true") "why" $cluster)
        "pilot.env.PILOT_ENABLE_AMBIENT" (dict "set" (eq (toString .env.PILOT_ENABLE_AMBIENT) "true") "why" "there is no ambient mode, only sidecars")
        "global.pilotCertProvider=kubernetes" (dict "set" (eq .global.pilotCertProvider "kubernetes") "why" "name the signer: k8s.io/SIGNER") -}}
  {{- range $key, $entry := $wanted -}}
    {{- if $entry.set -}}{{- fail (printf "%s cannot be had: %s" $key $entry.why) -}}{{- end -}}
  {{- end -}}
{{- end -}}
