"""RewardBench: score preference benchmarks with reward models and aggregate the results honestly."""

__version__ = "0.1.0"
