{{/* The groups of recording rules and alerts, as the files have them, changed by the values of prometheusRule. */}}
{{- define "robmon.ruleGroups" -}}
{{- $values := .Values.prometheusRule -}}
{{- $groups := (.Files.Get "files/rules.yaml" | fromYaml).groups -}}
{{- range $group := (.Files.Get "files/alerts.yaml" | fromYaml).groups -}}
{{- $rules := list -}}
{{- range $rule := $group.rules -}}
{{- $value := get ($values.rules | default dict) $rule.alert | default dict -}}
{{- if ne (get $value "enabled" | toString) "false" -}}
{{- $rules = append $rules (dict "rule" $rule "value" $value "values" $values | include "robmon.alert" | fromYaml) -}}
{{- end -}}
{{- end -}}
{{- if $rules -}}
{{- $groups = append $groups (dict "name" $group.name "rules" $rules) -}}
{{- end -}}
{{- end -}}
{{- toYaml $groups -}}
{{- end -}}

{{/* One alert (`rule`), changed by what the values say of it (`value`) and of all (`values`). */}}
{{- define "robmon.alert" -}}
{{- $rule := .rule -}}
{{- $value := .value -}}
{{- range $key, $name := dict "for" "for" "keepFiringFor" "keep_firing_for" -}}
{{- with get $value $key -}}
{{- $_ := set $rule $name . -}}
{{- end -}}
{{- end -}}
{{- if not (kindIs "invalid" (index $value "threshold")) -}}
{{- $_ := set $rule "expr" (regexReplaceAll "[^ ]+ # threshold" $rule.expr (printf "%v # threshold" $value.threshold)) -}}
{{- end -}}
{{- with $value.severity -}}
{{- $_ := set $rule.labels "severity" . -}}
{{- end -}}
{{- range $link, $base := dict "runbook_url" .values.runbookBaseUrl "dashboard_url" .values.dashboardBaseUrl -}}
{{- if $base -}}
{{- $path := trimPrefix "/" (get $rule.annotations $link) -}}
{{- $_ := set $rule.annotations $link (printf "%s/%s" (trimSuffix "/" $base) $path) -}}
{{- else -}}
{{- $_ := unset $rule.annotations $link -}}
{{- end -}}
{{- end -}}
{{- $_ := set $rule "labels" (mergeOverwrite $rule.labels ($value.labels | default dict)) -}}
{{- $_ := set $rule "annotations" (mergeOverwrite $rule.annotations ($value.annotations | default dict)) -}}
{{- toYaml $rule -}}
{{- end -}}
