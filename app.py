"""The Space's entry: `python app.py` serves the page.

It shows the results in leaderboard_data, or those of the dataset repository in RB_RESULTS_REPO.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

try:  # on ZeroGPU, which lends a GPU for the time of a call; must be imported before torch
    from spaces import GPU
except ImportError:
    GPU = None  # elsewhere scoring uses the machine's own devices

from rb_core.errors import RewardBenchError
from rb_core.space.hub_results import results_source
from rb_core.space.page import build, launch_options

try:
    demo = build(results_source(Path(__file__).resolve().parent / "leaderboard_data"), on_gpu=GPU)
except RewardBenchError as error:  # a mistake in the host's settings
    sys.exit(f"error: {error}")

if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    demo.launch(**launch_options())
