"""Send the snapshots of damon-core's contexts to an OpenTelemetry receiver, by OTLP over HTTP.

Nothing is imported here: the SDK takes its time, and only those who send need it. Import
`damon_otlp.callback` and `damon_otlp.options`.
"""
