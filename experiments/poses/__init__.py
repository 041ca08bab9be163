"""Poses that other methods of human mesh recovery wrote, as initial estimates and as rows of the evaluation."""

from experiments.poses.formats import read
from experiments.poses.initial import apply
from experiments.poses.match import lay
from experiments.poses.track import PoseTrack

__all__ = ["PoseTrack", "apply", "lay", "read"]
