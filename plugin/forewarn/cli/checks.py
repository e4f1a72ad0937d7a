"""`forewarn check`: the configuration against what is there."""

import sys

import click

from forewarn.cli.terminal import answer, config_option, json_option, out, read_config, reports_errors
from forewarn.wiring import Sources, check_holidays


@click.command()
@config_option
@json_option
@reports_errors
def check(config_path: str, as_json: bool) -> None:
    """Validates the configuration against the cluster: indices, fields, types, permissions."""
    config = read_config(config_path, None)
    sources = Sources(config.elasticsearch)
    try:
        found = [
            {"detector": detector.name, "setting": problem.setting, "why": problem.why}
            for detector in config.detectors
            for problem in [*sources.of(detector).check(detector), *check_holidays(detector)]
        ] + [
            {"detector": log.detector.name, "setting": problem.setting, "why": problem.why}
            for log in config.logs
            for problem in [*sources.mined(log.stream).check(log.detector), *check_holidays(log.detector)]
        ]
    finally:
        sources.close()
    if as_json:
        answer({"detectors": len(config.detectors) + len(config.logs), "problems": found})
    else:
        for one in found:
            out.print(f"{one['detector']}: {one['setting']}: {one['why']}", markup=False, highlight=False, soft_wrap=True)
        out.print(f"{len(config.detectors) + len(config.logs)} detectors, {len(found)} problems")
    if found:
        sys.exit(1)
