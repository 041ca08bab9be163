"""Which keypoints are visible, and what 2D errors are held against."""

import dataclasses

import numpy as np

from experiments.data.visible import reference, visible


def test_visible_keypoints_are_above_the_threshold_in_frames_that_exist(tiny_dataset):
    confidence = np.zeros_like(tiny_dataset.clips.confidence)
    confidence[0, :2] = 0.6
    confidence[0, 2] = 0.5
    mask = np.array(tiny_dataset.clips.frame_mask)
    mask[0, 1] = 0
    clips = dataclasses.replace(tiny_dataset.clips, confidence=confidence, frame_mask=mask)
    dataset = dataclasses.replace(tiny_dataset, clips=clips, annotated=(2, 4))
    expected = np.zeros(confidence.shape, bool)
    expected[0, 0] = True
    np.testing.assert_array_equal(visible(dataset, 0.5, derived=True), expected)
    expected[..., [k for k in range(25) if k not in (2, 4)]] = False
    np.testing.assert_array_equal(visible(dataset, 0.5), expected)
    assert visible(dataset, 0.5).dtype == bool


def test_the_reference_stands_in_for_the_clips_keypoints(tiny_dataset):
    keypoints, confidence, scored = reference(tiny_dataset, 0.5)
    assert keypoints is tiny_dataset.clips.keypoints and confidence is tiny_dataset.clips.confidence
    np.testing.assert_array_equal(scored, visible(tiny_dataset, 0.5))
    given = (keypoints + 1, np.ones_like(confidence))
    own, sure, scored = reference(dataclasses.replace(tiny_dataset, reference_2d=given, annotated=(2,)), 0.5)
    assert own is given[0] and sure is given[1]
    exists = np.asarray(tiny_dataset.clips.frame_mask) > 0
    np.testing.assert_array_equal(scored, np.broadcast_to(exists[..., None], scored.shape))
