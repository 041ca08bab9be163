"""Motion of a finished run as files of other tools: Blender, game engines, OpenSim, spreadsheets."""

from experiments.export.formats import FORMATS, export

__all__ = ["FORMATS", "export"]
