"""The `stopgap` command: a literal table of verbs, each loaded only when it is used."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, NoReturn, cast

import click

from stopgap import __version__
from stopgap.problems import Exit, StopgapError

# verb -> what --help says of it. The verb's module is stopgap.cli.<verb with underscores>; its `command` is the click command.
VERBS = {
    "up": "everything on this machine: database, Prefect server, worker, alert intake, incident pages",
    "demo": "watch a runbook mitigate an incident on the sandbox",
    "lint": "check runbooks, policy and drills",
    "plan": "what a run would change now",
    "run": "start a runbook and follow it",
    "drill": "run a scenario without touching anything",
    "approve": "approve the change that a run waits with",
    "reject": "reject the change that a run waits with",
    "gates": "what waits for whom, and for how long",
    "withdraw": "take your approval back while others must still approve",
    "abort": "end a run before its next step",
    "undo": "take back what an ended run did",
    "incident": "open, show, look after and end incidents; who holds which role",
    "locks": "which run works on what; break a lock",
    "notices": "whether the people and channels of policy.yaml can be told",
    "responder": "enrol people for the one-time codes that prove who decides",
    "timeline": "show, follow, export, verify, back up, restore",
    "deploy": "register every runbook with Prefect",
    "match": "which runbook an alert would start",
    "storm": "whether alerts start runbooks; let them again after a storm",
    "worker": "execute runs",
    "serve": "take in alerts, show incidents",
    "actions": "which actions there are, and what each takes, changes and needs",
    "permissions": "the least that runbooks need in other systems",
    "new": "write a new runbook to start from",
    "schema": "write the JSON Schemas for editors",
}


class Verbs(click.Group):
    """Loads a verb's module only when that verb is asked for: `--help` and `lint` stay fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Return the verbs in the table's order."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        """Import the verb's module."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"stopgap.cli.{cmd_name.replace('-', '_')}")
        return cast("click.Command", module.command)

    def invoke(self, ctx: click.Context) -> Any:
        """Call the verb; a reader of our output who leaves early, like `head`, is no failure, as click would have it."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return Exit.DONE

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's signature
        """List the verbs from the table, without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Answer an unknown verb with the nearest one."""
        verb = args[0] if args else ""
        if verb not in VERBS:
            import difflib

            near = difflib.get_close_matches(verb, VERBS, n=1)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            ctx.fail(f'There is no verb "{verb}".{hint} The verbs are {", ".join(VERBS)}.')
        return super().resolve_command(ctx, args)


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stopgap")
def stopgap() -> None:
    """Incident runbooks in YAML that become Prefect flows.

    An alert or a person starts a runbook; before a risky step it waits for the incident commander; every step is on the timeline.
    """


def main() -> NoReturn:
    """Run the command line; every way out has the exit code of `stopgap.problems.Exit`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    try:
        result = stopgap.main(args=arguments, prog_name="stopgap", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except BaseException as error:  # noqa: BLE001  the one edge where a bug of ours becomes a sentence
        return _exit_of(error, arguments)
    finally:
        if "logging" in sys.modules:
            sys.modules["logging"].shutdown()
    return int(result) if isinstance(result, int) else Exit.DONE


def _exit_of(error: BaseException, arguments: list[str]) -> int:
    match error:
        case click.ClickException():
            error.show()
            return Exit.USAGE
        case StopgapError():
            click.echo(str(error), err=True)
            return error.exit
        case KeyboardInterrupt() | click.Abort():
            click.echo("interrupted", err=True)
            return Exit.INTERRUPTED
        case SystemExit():
            raise error
    return _our_bug(error, arguments)


def _our_bug(error: BaseException, arguments: list[str]) -> Exit:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="stopgap-bug-", suffix=".log", delete=False) as log:
        log.write(f"stopgap {__version__}, Python {sys.version}\nstopgap {' '.join(arguments)}\n\n")
        log.write("".join(traceback.format_exception(error)))
    click.echo(f"This is a bug in stopgap: {type(error).__name__}: {error}\nPlease report it with {log.name}", err=True)
    return Exit.BUG
