"""The truth moved onto the fit: the whole clip by one turn and one shift, whatever is missing."""

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from experiments.results import truth


def test_a_turned_and_shifted_truth_is_found_again(tiny_dataset, perfect):
    turn, shift = Rotation.from_rotvec([0.3, -0.8, 0.2]).as_matrix(), np.array([1.0, -2.0, 3.0])
    joints = np.asarray(tiny_dataset.truth.joints)
    moved = dataclasses.replace(tiny_dataset.truth, joints=(joints @ turn.T + shift).astype(np.float32))
    moved.joints[0, 1] = np.nan
    found = truth.onto_fit(dataclasses.replace(tiny_dataset, truth=moved), perfect)
    exists = np.asarray(tiny_dataset.clips.frame_mask) > 0
    assert not found.mask[0, 1]
    np.testing.assert_array_equal(np.delete(found.mask.ravel(), 1), np.delete(exists.ravel(), 1))
    np.testing.assert_allclose(found.joints[found.mask], joints[found.mask], atol=1e-4)
    np.testing.assert_allclose(found.rotation, np.stack([turn.T] * len(joints)), atol=1e-5)
    np.testing.assert_allclose(found.place(0, shift), np.zeros(3), atol=1e-4)


def test_without_a_truth_there_is_none(tiny_dataset, perfect):
    assert truth.onto_fit(dataclasses.replace(tiny_dataset, truth=None), perfect) is None
