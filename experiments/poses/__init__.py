"""Poses that other methods of human mesh recovery wrote, as initial estimates and as rows of the evaluation."""

from experiments.poses.track import Track

__all__ = ["Track"]
