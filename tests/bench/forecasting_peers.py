"""A process beside the benchmark that fits one series with a peer library, in that library's own environment.

Reads lines of JSON `{"peer": name, "path": file.npy}` and answers each with the seconds that fitting it and predicting 288
steps took. Needs only the peer and NumPy: `make bench-peers` makes an environment that has them.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def _augurs(y: Any) -> None:
    import augurs  # noqa: PLC0415 - only in the peers' environment

    model = augurs.MSTL.ets([288, 2016])
    model.fit(y)
    model.predict(288, 0.8)


def _statsforecast(seasons: list[int]) -> Callable[[Any], None]:
    def fit(y: Any) -> None:
        from statsforecast.models import MSTL, AutoETS  # noqa: PLC0415 - only in the peers' environment

        MSTL(season_length=seasons, trend_forecaster=AutoETS(model="ZZN")).fit(y).predict(288)

    return fit


PEERS: dict[str, Callable[[Any], None]] = {
    "augurs MSTL(288, 2016) + ETS": _augurs,
    "statsforecast MSTL(288) + AutoETS": _statsforecast([288]),
}


def main() -> None:
    """Answers until its input ends; the first answer of a peer includes no import."""
    warm = np.sin(np.arange(4032) / 7.0) + np.random.default_rng(0).normal(size=4032)
    for fit in PEERS.values():
        fit(warm)
    print(json.dumps(list(PEERS)), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        y = np.load(request["path"])
        begin = time.perf_counter()
        PEERS[request["peer"]](y)
        print(json.dumps(time.perf_counter() - begin), flush=True)


if __name__ == "__main__":
    main()
