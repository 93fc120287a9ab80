{{/*
How a PodMonitor and a ServiceMonitor scrape, by the values of `monitor`.
*/}}
{{- define "weir.endpoint" -}}
port: http
path: /metrics
interval: {{ .monitor.interval }}
{{- with .monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
relabelings:
  # Alerts, dashboard and KEDA's queries tell fleets apart by their job: it has the same name by either way.
  - targetLabel: job
    replacement: {{ include "weir.fullname" .root }}
  {{- with .monitor.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
