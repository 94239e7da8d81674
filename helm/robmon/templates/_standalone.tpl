{{/* The parts of the standalone pod that a sidecar's pod has of its own. */}}

{{/* Name of the service account; nothing for the namespace's default. */}}
{{- define "robmon.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "robmon.fullname" .) "" .Values.serviceAccount.create) -}}
{{- end }}

{{/* robmon's user must be able to write to a claim, which belongs to root unless fsGroup says otherwise. */}}
{{- define "robmon.podSecurityContext" -}}
{{- $context := deepCopy .Values.podSecurityContext -}}
{{- $group := (include "robmon.securityContext" . | fromYaml).runAsGroup -}}
{{- if and (include "robmon.claimName" .) $group (not (hasKey $context "fsGroup")) -}}
{{- $_ := set $context "fsGroup" $group -}}
{{- $_ := set $context "fsGroupChangePolicy" ($context.fsGroupChangePolicy | default "OnRootMismatch") -}}
{{- end -}}
{{- with $context }}{{ toYaml . }}{{ end -}}
{{- end }}

{{/*
Refuses what would be left out without a word: values of the standalone pod where there is none, because a sidecar's pod
belongs to the model server.
*/}}
{{- define "robmon.checkStandalone" -}}
{{- if and .Values.persistence.size .Values.persistence.existingClaim -}}
{{- fail (printf "persistence.existingClaim %s is there already, and persistence.size %s is of a claim that the chart makes: set one of them" .Values.persistence.existingClaim .Values.persistence.size) -}}
{{- end -}}
{{- if .Values.standalone.enabled -}}
{{- dict "labels" .Values.standalone.nodeSelector "value" "standalone.nodeSelector" | include "robmon.checkLabels" -}}
{{- range .Values.extraVolumeMounts -}}
{{- $name := .name -}}
{{- if not (has $name (include "robmon.volumeNames" $ | fromYamlArray)) -}}
{{- fail (printf "extraVolumeMounts names the volume %s, which is not among extraVolumes" $name) -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- range $name := list "priorityClassName" "runtimeClassName" "topologySpreadConstraints" "podSecurityContext" "enableServiceLinks" -}}
{{- if get $.Values $name -}}
{{- fail (printf "%s is for the standalone pod, and standalone.enabled is false: a sidecar's pod belongs to the model server, set it there" $name) -}}
{{- end -}}
{{- end -}}
{{- if or .Values.serviceAccount.create .Values.serviceAccount.name -}}
{{- fail "serviceAccount is for the standalone pod, and standalone.enabled is false: a sidecar's pod belongs to the model server, set it there" -}}
{{- end -}}
{{- if .Values.networkPolicy.enabled -}}
{{- fail "networkPolicy.enabled is for the standalone pod, and standalone.enabled is false: a sidecar's ports belong into the policy of the model server's pod" -}}
{{- end -}}
{{- if .Values.persistence.size -}}
{{- fail "persistence.size is for the standalone pod, and standalone.enabled is false: for a sidecar name a claim by persistence.existingClaim" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.serviceAccount.annotations (not .Values.serviceAccount.create) -}}
{{- fail "serviceAccount.annotations needs serviceAccount.create: an account that is there already has its own" -}}
{{- end -}}
{{- end }}

{{- define "robmon.volumeNames" -}}
{{- range include "robmon.volumes" . | fromYamlArray }}
- {{ .name }}
{{- end }}
{{- end }}
