{{/* Amounts and durations as numbers, to compare them. */}}

{{/* An amount of Kubernetes' (640Mi, 100m, 1e9) as a number. */}}
{{- define "robmon.amount" -}}
{{- $units := dict "" 1 "n" 1e-9 "u" 1e-6 "m" 1e-3 "k" 1e3 "K" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976 -}}
{{- $text := toString . -}}
{{- if regexMatch "^[0-9.]+[eE][+-]?[0-9]+$" $text -}}
{{- float64 $text -}}
{{- else -}}
{{- $number := regexFind "^[0-9.]+" $text -}}
{{- mulf (float64 $number) (get $units (trimPrefix $number $text) | float64) -}}
{{- end -}}
{{- end }}

{{/* A duration of Prometheus' (1m30s) in milliseconds. */}}
{{- define "robmon.milliseconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 "w" 604800000 "y" 31536000000 -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+[a-z]+" . -1 -}}
{{- $number := regexFind "^[0-9]+" . -}}
{{- $sum = add $sum (mul (int64 $number) (get $units (trimPrefix $number .) | int64)) -}}
{{- end -}}
{{- $sum -}}
{{- end }}

{{/* Refuses a request above its limit, with which Kubernetes takes no pod. Takes resources and variant. */}}
{{- define "robmon.checkRequests" -}}
{{- $limits := .resources.limits | default dict -}}
{{- range $name, $amount := .resources.requests | default dict -}}
{{- if hasKey $limits $name -}}
{{- if gt (include "robmon.amount" $amount | float64) (get $limits $name | include "robmon.amount" | float64) -}}
{{- fail (printf "resources.limits.%s is %v, less than the request of %v (resources.requests, or resourcesByVariant.%s.requests): set resources.requests.%s too, or a higher limit" $name (get $limits $name) $amount $.variant $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
