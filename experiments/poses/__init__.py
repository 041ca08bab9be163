"""Reads poses from other human mesh recovery methods, for use as initial estimates and in the evaluation."""

from experiments.poses.formats import read
from experiments.poses.initial import apply
from experiments.poses.match import lay
from experiments.poses.track import PoseTrack

__all__ = ["PoseTrack", "apply", "lay", "read"]
