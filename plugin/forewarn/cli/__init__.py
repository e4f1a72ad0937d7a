"""The command line. The one place that prints, exits, and (with `schedule.py`) reads the clock; a module for each command
or two, and `terminal.py` for what they share, the exit codes among it.
"""

import logging
import sys
from typing import Final

import click

from forewarn.cli.backtests import backtest
from forewarn.cli.checks import check
from forewarn.cli.demonstration import demo
from forewarn.cli.explaining import explain
from forewarn.cli.running import run, serve, tick

COMMANDS: Final = (run, serve, tick, check, backtest, explain, demo)
LIBRARIES: Final = ("apscheduler", "cmdstanpy", "elastic_transport", "prophet", "urllib3", "waitress")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("-v", "--verbose", is_flag=True, help="Log what goes on.")
@click.version_option(package_name="forewarn")
def main(verbose: bool) -> None:
    """Gives operations teams a heads-up before things break."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s level=%(levelname)s logger=%(name)s %(message)s",
        stream=sys.stderr,
    )
    if not verbose:  # what libraries warn of is an error of ours that says it in one line, or was tried again with success
        for library in LIBRARIES:
            logging.getLogger(library).setLevel(logging.ERROR)


for command in COMMANDS:
    main.add_command(command)
