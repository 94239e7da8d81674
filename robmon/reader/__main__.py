"""The process that reads files of production inputs: `python -m robmon.reader --fd N`.

It alone has the credentials of their store, and the libraries that reading takes. It is asked for one batch after the
other, so that nothing piles up, and ends when the other side closes the socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from robmon.extras import MissingPackageError
from robmon.inputs.readers.answers import Answer, ReadFailure
from robmon.processes import heavy
from robmon.processes.channel import Channel
from robmon.processes.guest import behave_as_guest
from robmon.processes.messages.reader import ReadMore, Tail

if TYPE_CHECKING:
    from robmon.reader.tailer import Tailer


def main() -> None:
    """Serve the daemon at the other end of the socket until it goes away."""
    heavy.main("robmon.reader", "The process that reads files of inputs.", behave_as_guest, _serve)


def _serve(channel: Channel) -> None:
    tailer: Tailer | None = None
    while True:
        question, _ = channel.receive()
        rows = b""
        answer: Answer
        try:
            if isinstance(question, Tail):
                tailer = _tailer(question)
            elif not isinstance(question, ReadMore) or tailer is None:
                return
            answer, rows = tailer.next()
        except ImportError as error:
            answer = ReadFailure(reason="unavailable", error="ImportError", message=_what_to_install(error))
        except Exception as error:  # one file or one moment must not cost the others
            answer = ReadFailure(reason="error", error=type(error).__name__)
        channel.send(answer, [rows])


def _what_to_install(error: ImportError) -> str:
    """fsspec raises errors of its own where a store's driver is missing, without the driver's name.

    >>> _what_to_install(ImportError(name="s3fs"))
    "inputs.files needs s3fs, which is not installed: pip install 'robmon[s3]'"
    """
    cause = error if error.name or not isinstance(error.__cause__, ImportError) else error.__cause__
    name = (cause.name or "").partition(".")[0]
    return str(MissingPackageError(name, "inputs.files"))


def _tailer(question: Tail) -> Tailer:
    from robmon.reader.tailer import Tailer

    return Tailer(question)


if __name__ == "__main__":
    main()
