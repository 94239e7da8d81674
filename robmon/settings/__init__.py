"""Every setting of robmon: typed, described, with its unit.

This room is the only place that knows the settings. Values come, highest first, from command-line flags
(`--assess.levels`), environment variables (`ROBMON_ASSESS__LEVELS`), a YAML file, and the defaults.
"""

from robmon.settings.leaves import Leaf, as_text, leaves, value_of
from robmon.settings.load import Loaded, load
from robmon.settings.sections.http import HttpSettings
from robmon.settings.sections.inputs import InputsSettings, KafkaSettings
from robmon.settings.settings import ENV_DELIMITER, ENV_PREFIX, Settings

__all__ = [
    "ENV_DELIMITER",
    "ENV_PREFIX",
    "HttpSettings",
    "InputsSettings",
    "KafkaSettings",
    "Leaf",
    "Loaded",
    "Settings",
    "as_text",
    "leaves",
    "load",
    "value_of",
]
