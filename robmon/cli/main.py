"""The command line: parse, call, print. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import atexit
import errno
import gc
import traceback
from typing import Any

import click

from robmon.cli.advise import advise
from robmon.cli.assess import assess
from robmon.cli.attack import attack
from robmon.cli.audit import audit
from robmon.cli.baseline import baseline
from robmon.cli.compare import compare
from robmon.cli.daemon import check_config, run
from robmon.cli.demo import demo
from robmon.cli.history import history
from robmon.cli.incident import incident
from robmon.cli.rank import rank
from robmon.cli.report import report
from robmon.cli.rollback import rollback
from robmon.cli.stabilise import stabilise
from robmon.errors import ModelLoadError, PredictionError, RobmonError
from robmon.extras import missing_extra

BAD_INPUT = 2
BUG = 70
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""What a disk may say although it was looked at before the work began; the standard output may lie on one, too."""


class RobmonGroup(click.Group):
    """Turns robmon's own errors into one sentence and exit status 2, and a bug into a traceback and 70."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are likely to be needed, not by the alphabet."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        atexit.register(gc.freeze)  # else the interpreter looks for garbage in all that was imported when it ends
        try:
            return super().invoke(ctx)
        except RobmonError as error:
            click.echo(f"robmon: {error}", err=True)
            if isinstance(error, ModelLoadError | PredictionError) and error.__cause__ is not None:
                click.echo(f"  because of {type(error.__cause__).__name__}: {error.__cause__}", err=True)
            ctx.exit(BAD_INPUT)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if isinstance(error, ImportError) and (missing := missing_extra(error)) is not None:
                click.echo(f"robmon: {missing}", err=True)
                ctx.exit(BAD_INPUT)
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                click.echo(f"robmon: what is found cannot be written: {error.strerror}", err=True)
                ctx.exit(BAD_INPUT)
            # Not Python's usual status 1, which says that a regression was found.
            traceback.print_exc()
            ctx.exit(BUG)


@click.group(cls=RobmonGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="robmon")
def main() -> None:
    """Watch how robust a served machine-learning model is.

    robmon adds noise to recent production inputs, measures how far the model's outputs move, and publishes bounds on
    that error to Prometheus. Loading a model runs its code: point robmon only at registries that you trust.
    """


for command in (
    run, check_config, assess, compare, rank, baseline, demo, history, report, incident, rollback, attack, stabilise,
    advise, audit,
):  # fmt: skip
    main.add_command(command)
