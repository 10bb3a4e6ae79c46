"""The Space's entry: `python app.py` opens the page over the results in leaderboard_data, or over those of the dataset
repository that RB_RESULTS_REPO names."""

from __future__ import annotations

import logging
from pathlib import Path

try:  # ZeroGPU lends a GPU for the time of a call; this has to come before torch
    from spaces import GPU
except ImportError:
    GPU = None  # elsewhere scoring runs on what the machine has

from rb_core.space.hub_results import results_source
from rb_core.space.page import build, launch_options

demo = build(results_source(Path(__file__).resolve().parent / "leaderboard_data"), on_gpu=GPU)

if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    demo.launch(**launch_options())
