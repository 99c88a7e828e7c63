"""The application, its verbs, and how errors leave it.

Exit codes: 0 pass, 1 fail, 2 usage or input error, 3 inconclusive or invalid, 4 internal error,
130 interrupted (the same command continues).
"""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from attacks.errors import AuditorError, UsageError
from auditor import __version__
from auditor.cli import (
    cache,
    canaries,
    compare,
    demo,
    doctor,
    explain,
    init,
    list_attacks,
    mitigate,
    report,
    scan_data,
    scan_images,
    scan_method,
    scan_model,
    scan_prompts,
    split,
)
from auditor.cli.console import plain, stderr

EPILOG = (
    "Exit codes: 0 pass, 1 fail, 2 usage or input error, 3 inconclusive or invalid, "
    "4 internal error, 130 interrupted (the same command continues)."
)


class AuditorGroup(TyperGroup):
    """Turns errors into one sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; errors of the user exit 2, ours 4, an interruption 130."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            stderr.print("\ninterrupted: finished work is kept; run the same command to continue")
            raise typer.Exit(130) from None
        except AuditorError as error:
            _show_traceback(ctx)
            stderr.print(f"[bold red]error:[/] {plain(error)}", soft_wrap=True)
            raise typer.Exit(2 if isinstance(error, UsageError) else 4) from None
        except typer.Abort:
            raise typer.Exit(130) from None
        except typer.Exit:
            raise
        except Exception as error:
            if type(error).__module__.startswith(("typer", "click")):
                raise
            _show_traceback(ctx)
            stderr.print(
                f"[bold red]internal error:[/] {type(error).__name__}; this is a bug in auditor. "
                "Run again with --debug for the traceback (it may show private data)",
                soft_wrap=True,
            )
            raise typer.Exit(4) from None


def _show_traceback(ctx: Any) -> None:
    if ctx.find_root().meta.get("auditor.debug"):
        traceback.print_exc(file=sys.stderr)


app = typer.Typer(
    cls=AuditorGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog=EPILOG,
    help="What does a model remember about its training records, and can you prove it?",
)

scan_app = typer.Typer(no_args_is_help=True, help="Audit a model, or a data set without one.")
scan_app.command("model", epilog=EPILOG)(scan_model.scan_model)
scan_app.command("data", epilog=EPILOG)(scan_data.scan_data)
scan_app.command("images", epilog=EPILOG)(scan_images.scan_images)
scan_app.command("method", epilog=EPILOG)(scan_method.scan_method)
scan_app.command("prompts", epilog=EPILOG)(scan_prompts.scan_prompts)
app.add_typer(scan_app, name="scan")
app.command("list")(list_attacks.list_attacks)
app.command("explain")(explain.explain)
app.command("report")(report.report)
app.command("compare", epilog=compare.EPILOG)(compare.compare)
app.command("mitigate", epilog=EPILOG)(mitigate.mitigate)
app.command("split")(split.split)
app.command("init")(init.init)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)
cache_app = typer.Typer(no_args_is_help=True, help="The private store of observations.")
cache_app.command("purge")(cache.purge)
app.add_typer(cache_app, name="cache")
canaries_app = typer.Typer(
    no_args_is_help=True, help="Audit a claim of differential privacy from one training run."
)
canaries_app.command("plant")(canaries.plant)
canaries_app.command("score")(canaries.score)
app.add_typer(canaries_app, name="canaries")


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"auditor {__version__}")
        raise typer.Exit(0)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the console script."""
    app()
