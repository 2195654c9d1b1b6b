"""What the site says of names, options, commands, metrics and columns: made of the code itself."""

from collections.abc import Callable, Mapping

from docs.sphinx.reference import api, commands, metrics, options, records

#: Makes the text for each mark ``<!-- generated: NAME -->``.
GENERATED: Mapping[str, Callable[[], str]] = {
    "hooks": api.hooks,
    "api": api.public_names,
    "policy": api.policy,
    "testing": api.testing,
    "configuration": options.configuration,
    "options": options.parts,
    "commands": commands.commands,
    "prometheus": metrics.prometheus,
    "otlp": metrics.otlp,
    "columns": records.columns,
    "formats": records.formats,
}
