"""How robmon marks the requests that it sends to a model's endpoint itself, so that it never samples them.

A proxy may mirror them, and KServe's inference logger may report them: the one keeps headers, the other drops all of
them but makes the client's `Ce-Id` its event's.
"""

from __future__ import annotations

from typing import Final

PROBE_HEADER: Final = "X-Robmon-Probe"
"""Header of every such request, with the value 1."""
PROBE_ID_PREFIX: Final = "robmon-probe-"
"""What the `Ce-Id` header of such a request, and the `id` of an Open Inference Protocol body, begin with."""
