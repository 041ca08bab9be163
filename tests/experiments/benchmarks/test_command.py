"""Whole commands, timed."""

import pytest

from experiments.benchmarks import command


def test_seconds_are_those_of_the_command_alone(tmp_path, capfd):
    wall, processor = command.seconds(["--help"], tmp_path)
    assert 0 < processor < 60 and wall > 0
    with pytest.raises(SystemExit, match="ended with 2"):
        command.seconds(["--no_such_flag=1"], tmp_path)
    assert "no_such_flag" in capfd.readouterr().err
