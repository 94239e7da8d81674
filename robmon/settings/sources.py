"""Where settings come from: pydantic-settings' own sources, and a refusal where they would pass over something."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from pydantic_settings import EnvSettingsSource, YamlConfigSettingsSource

from robmon.errors import SettingsError
from robmon.models.yaml_text import YamlTextError, parse_yaml
from robmon.settings.leaves import leaves
from robmon.settings.sentences import did_you_mean
from robmon.settings.settings import ENV_DELIMITER, ENV_PREFIX, Settings

MAX_FILE_BYTES: Final = 256 * 1024
"""Of the file of settings: all of them with their descriptions are a tenth of that."""


class EnvironmentSource(EnvSettingsSource):
    """The variables `ROBMON_SECTION__KEY`.

    The library reads a variable in any case of letters, and a whole section as JSON from `ROBMON_SECTION`; such names
    may be Kubernetes' own, which sets `ROBMON_*` for a Service called robmon and `ROBMON__X_*` for one of robmon--x.
    Of a misspelt section the library says nothing.

    Raises:
        SettingsError: a variable has two underscores in a row after `ROBMON_` and is no setting.
    """

    def __init__(self) -> None:
        super().__init__(Settings, case_sensitive=False)
        known = {leaf.variable for leaf in leaves()}
        of_services = _service_prefixes()
        for name in os.environ:
            if not (name.startswith(ENV_PREFIX) and ENV_DELIMITER in name) or name.startswith(of_services):
                continue
            if name not in known:
                raise SettingsError(f"the environment variable {name} is no setting{did_you_mean(name, known)}")
        self.env_vars = {name.lower(): os.environ[name] for name in known & os.environ.keys()}


def _service_prefixes() -> tuple[str, ...]:
    """How the variables begin that Kubernetes sets for the Services of a namespace, whose names end in no dash."""
    ends = "_SERVICE_HOST"
    services = {name.removesuffix(ends) for name in os.environ if name.endswith(ends)}
    return tuple(f"{name}_{kind}" for name in services if not name.endswith("_") for kind in ("SERVICE_", "PORT"))


class YamlSource(YamlConfigSettingsSource):
    """A YAML file of sections. The library says nothing of a file that is not there.

    Raises:
        SettingsError: it cannot be read, is not YAML, or holds no sections.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(Settings, file, yaml_file_encoding="utf-8")

    def _read_files(self, files: Any, deep_merge: bool = False) -> dict[str, Any]:
        return self._read_file(files)

    def _read_file(self, file_path: Any) -> dict[str, Any]:
        try:
            with Path(file_path).open("rb") as stream:  # which may be a pipe
                text = stream.read(MAX_FILE_BYTES + 1)
            if len(text) > MAX_FILE_BYTES:
                raise SettingsError(f"the settings file {file_path} is larger than {MAX_FILE_BYTES // 1024} KiB")
            content = parse_yaml(text) or {}
        except OSError as error:
            raise SettingsError(f"the settings file {file_path} cannot be read: {error.strerror}") from None
        except YamlTextError as error:
            raise SettingsError(f"the settings file {file_path} {error}") from None
        if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
            raise SettingsError(f"the settings file {file_path} must hold sections such as 'model:' at its top level")
        return content
