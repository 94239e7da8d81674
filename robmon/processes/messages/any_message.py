"""Every message that there is, as `channel.py` reads them."""

from __future__ import annotations

from robmon.inputs.readers.answers import FileOpened, FileRows, NoMoreRows, ReadFailure
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.attack import Attacked, AttackRows
from robmon.processes.messages.audit import Examine, Examined
from robmon.processes.messages.every_process import Failure, Hello, Stop
from robmon.processes.messages.fetch import (
    BaselineShared,
    Fetch,
    Fetched,
    LogResults,
    Remember,
    Remembered,
    ResultsLogged,
    ShareBaseline,
)
from robmon.processes.messages.model import Compile, Compiled, Load, LoadedModel
from robmon.processes.messages.question import Assess
from robmon.processes.messages.reader import ReadMore, Tail

AnyMessage = (
    Hello
    | Failure
    | Fetch
    | Fetched
    | Remember
    | Remembered
    | LogResults
    | ResultsLogged
    | ShareBaseline
    | BaselineShared
    | Tail
    | ReadMore
    | FileOpened
    | FileRows
    | NoMoreRows
    | ReadFailure
    | Load
    | LoadedModel
    | Compile
    | Compiled
    | Assess
    | Assessed
    | AttackRows
    | Attacked
    | Examine
    | Examined
    | Stop
)
