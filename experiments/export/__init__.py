"""Exports the motion of a finished run to files for other tools: Blender, game engines, OpenSim, spreadsheets."""

from experiments.export.formats import FORMATS, export

__all__ = ["FORMATS", "export"]
