{{/*
Times and sizes, and which of them fit together.
*/}}

{{/*
A duration of Weir's in milliseconds; nothing where it is none, such as ${DRAIN}.
*/}}
{{- define "weir.milliseconds" -}}
{{- $text := toString . | trim }}
{{- if regexMatch "^[0-9]+\\s*(ms|s|m|h)$" $text }}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 }}
{{- mul (regexFind "^[0-9]+" $text | int64) (get $units (regexFind "(ms|s|m|h)$" $text)) }}
{{- end }}
{{- end }}

{{/*
A size of Weir's (256MiB) or a quantity of Kubernetes' (512Mi, 1G, 1.5Gi, a number) in bytes; nothing where it is none.
*/}}
{{- define "weir.bytes" -}}
{{- if not (kindIs "string" .) }}
{{- int64 . }}
{{- else if regexMatch "^[0-9]+(\\.[0-9]+)?\\s*([KMGT]iB?|[kKMGT]B?)?$" (trim .) }}
{{- $units := dict "" 1 "k" 1000 "m" 1000000 "g" 1000000000 "t" 1000000000000 }}
{{- $units = merge $units (dict "ki" 1024 "mi" 1048576 "gi" 1073741824 "ti" 1099511627776) }}
{{- $unit := regexFind "[A-Za-z]+$" (trim .) | lower | trimSuffix "b" }}
{{- mulf (regexFind "^[0-9.]+" (trim .) | float64) (get $units $unit) | int64 }}
{{- end }}
{{- end }}

{{/*
How long the drain may take, as the settings say; Weir's own default otherwise.
*/}}
{{- define "weir.drainTimeout" -}}
{{- dig "drain" "timeout" "25s" .Values.config }}
{{- end }}

{{/*
terminationGracePeriodSeconds: as given, or what the drain takes and 5 s to end in.
*/}}
{{- define "weir.gracePeriodSeconds" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds }}
{{- $drain := include "weir.milliseconds" (include "weir.drainTimeout" .) }}
{{- if not $drain }}
{{- fail (printf "config.drain.timeout is %s, which the chart can't read: set terminationGracePeriodSeconds to its largest value and 5 s more" (include "weir.drainTimeout" .)) }}
{{- end }}
{{- div (add ($drain | int64) 5999) 1000 }}
{{- else }}
{{- int64 .Values.terminationGracePeriodSeconds }}
{{- end }}
{{- end }}
