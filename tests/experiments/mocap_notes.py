"""What NeMo-MoCap's loader says of trees that tests have broken."""

from experiments.loaders import nemo_mocap

ACTION = "baseball_pitch"


def notes_of(dataset):
    """All but the one that every load with a body other than SMPL's has."""
    return [note for note in dataset.notes if "The true shapes are SMPL's" not in note]


def broken(own_tree, tiny_body, *gone):
    """The notes of a load that leaves these out."""
    dataset = nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    names = ["baseball_pitch.0", "baseball_pitch.1", "baseball_pitch.10"]
    assert list(dataset.names) == [name for name in names if name not in gone]
    return notes_of(dataset)
