"""NeMo-MoCap: trees written in its published layout, against the motion that they were made of."""

import dataclasses
import shutil

import joblib
import numpy as np
import pytest
from equal_datasets import assert_equal
from mocap_notes import ACTION, broken, notes_of
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import loaders
from experiments.base.errors import UserError
from experiments.data import neutral
from experiments.data.dataset import DatasetError
from experiments.fitting.run import run as fit
from experiments.fitting.settings import Settings
from experiments.loaders import nemo_mocap
from experiments.show import presentation
from experiments.show.presentation import PARTS
from experiments.simulation import observations
from nemo_jax import clips as clips_lib
from tests.experiments import published_layouts


@pytest.fixture(scope="module")
def loaded(tree, tiny_body):
    return nemo_mocap.load(tree, ACTION, body=tiny_body)


def test_what_the_files_say_arrives(loaded, made):
    clips_lib.check(loaded.clips)
    assert loaded.names == ("baseball_pitch.0", "baseball_pitch.1", "baseball_pitch.10")
    assert notes_of(loaded) == []
    for n, clip in enumerate(made):
        frames = published_layouts.assert_observed(loaded, n, clip)
        assert [path.rpartition("/")[2] for path in loaded.frame_paths[n]] == [
            f"{frame:06d}.png" for frame in range(1, frames + 1)
        ]
    size = [published_layouts.WIDTH, published_layouts.HEIGHT]
    np.testing.assert_array_equal(loaded.clips.image_size, [size] * 3)
    np.testing.assert_array_equal(loaded.clips.fps, 30)
    assert np.isnan(loaded.clips.focal_length).all()  # the camera is truth, which a fit must not see


def assert_true(dataset, made):
    """The truth is the motion that the files were made of."""
    for n, clip in enumerate(made):
        frames = len(clip.joints)
        np.testing.assert_allclose(dataset.truth.joints[n, :frames], clip.joints, atol=1e-5)
        np.testing.assert_allclose(dataset.truth.translation[n, :frames], clip.motion.translation, atol=1e-5)
        own, true = (Rotation.from_rotvec(p[:, 0]) for p in (dataset.truth.pose[n, :frames], clip.motion.pose))
        assert (own * true.inv()).magnitude().max() < 1e-5
        np.testing.assert_allclose(dataset.truth.pose[n, :frames, 1:], clip.motion.pose[:, 1:], atol=1e-6)
        np.testing.assert_allclose(
            dataset.cameras[n].project(dataset.truth.joints[n, :frames]), clip.true_pixels, atol=0.01
        )
        np.testing.assert_allclose(dataset.cameras[n].position, clip.camera.position, atol=1e-4)
        assert dataset.cameras[n].focal == clip.camera.focal


def test_the_truth_is_turned_upright_and_seen_by_the_true_camera(loaded, made):
    assert_true(loaded, made)
    np.testing.assert_array_equal(loaded.truth.betas, 0)  # SMPL's shape says nothing of another body


def test_a_body_with_smpls_mesh_has_the_true_shape(tree, tiny_body, made, monkeypatch):
    monkeypatch.setattr(jn, "SMPL_NUM_VERTICES", tiny_body.num_vertices)
    dataset = nemo_mocap.load(tree, ACTION, body=tiny_body)
    assert dataset.notes == ()
    betas = np.linspace(-2, 2, 16)[:10]
    np.testing.assert_allclose(dataset.truth.betas, [betas] * 3, rtol=1e-6)
    # Posed in the file's own world, then turned with it.
    held = joblib.load(tree / "data" / "mocap" / "baseball_pitch.1.pkl")
    pose = np.concatenate([held["fullpose"][:, :66], np.zeros((len(held["trans"]), 6))], 1).reshape(-1, 24, 3)
    joints = observations.body_keypoints(tiny_body, pose, betas) + held["trans"][:, None]
    turned = np.stack([joints[..., 0], joints[..., 2], -joints[..., 1]], -1)
    np.testing.assert_allclose(dataset.truth.joints[1, : len(turned)], turned, atol=1e-5)
    assert np.abs(turned - made[1].joints).max() > 0.01  # a shape of its own


@pytest.mark.parametrize("up", ["x", "-x", "y", "-y", "-z"])
def test_any_axis_may_be_up(up, made, tiny_body, tmp_path):
    about, degrees = {"x": ("z", 90), "-x": ("z", -90), "y": ("y", 0), "-y": ("z", 180), "-z": ("x", 90)}[up]
    to_y_up = Rotation.from_euler(about, degrees, degrees=True).as_matrix().round()
    assert to_y_up @ (np.eye(3)["xyz".index(up[-1])] * (-1 if up[0] == "-" else 1)) @ [0, 1, 0] == 1
    data = published_layouts.nemo_mocap(tmp_path, tiny_body, made[:1], to_y_up)
    dataset = nemo_mocap.load(data, ACTION, body=tiny_body)
    joints, true = dataset.truth.joints[0], made[0].joints
    np.testing.assert_allclose(joints[..., 1], true[..., 1], atol=1e-5)
    # About the vertical, the worlds may differ, for nothing says which way is forward.
    seen = dataset.cameras[0].project(joints)
    np.testing.assert_allclose(seen, made[0].true_pixels, atol=0.01)
    np.testing.assert_allclose(dataset.cameras[0].to_camera(joints), made[0].camera.to_camera(true), atol=1e-4)


def test_the_root_may_be_data_itself(loaded, tree, tiny_body):
    assert_equal(loaded, nemo_mocap.load(tree / "data", ACTION, body=tiny_body))
    assert nemo_mocap.recognises(tree)
    assert nemo_mocap.recognises(tree / "data")
    assert not nemo_mocap.recognises(tree / "data" / "exps")
    assert not nemo_mocap.recognises(tree / "nothing")


def test_it_equals_the_same_clips_in_the_neutral_format(loaded, tmp_path):
    neutral.write(loaded, tmp_path)
    assert_equal(loaded, neutral.load(tmp_path, ACTION))


def test_a_fit_equals_that_of_the_same_clips_in_the_neutral_format(tree, tiny_config, tiny_body_file, tmp_path):
    body = loaders.load_body(tiny_body_file)
    neutral.write(nemo_mocap.load(tree, ACTION, body=body), tmp_path / "neutral")
    metrics = {}
    for name, folder in (("nemo_mocap", tree), ("neutral", tmp_path / "neutral")):
        settings = Settings(
            action=ACTION,
            dataset=name,
            data_dir=str(folder),
            output_dir=str(tmp_path / name),
            body_model=str(tiny_body_file),
            **dict.fromkeys(PARTS, False),
            # What of the fit is compared is what it reads; a stage of it serves.
            fit=dataclasses.replace(tiny_config, camera_steps=0, joint_steps=0),
        )
        every = fit(settings, presentation.begin)
        metrics[name] = {key: value for key, value in every.items() if not key.startswith("seconds/")}
    assert metrics["nemo_mocap"] == metrics["neutral"]
    assert metrics["neutral"]["mpjpe_mm/init"] > 0
    assert metrics["neutral"]["root_aligned_mpjpe_mm/fit"] > 0


@pytest.mark.parametrize("place", ["exps/mymocap_baseball_pitch", "videos"])
def test_a_film_stands_for_pictures(place, own_tree, tiny_body, made):
    av = pytest.importorskip("av")
    shutil.rmtree(own_tree / "exps" / "mymocap_baseball_pitch" / "baseball_pitch.0.mp4")
    file = own_tree / place / "baseball_pitch.0.mp4"
    file.parent.mkdir(exist_ok=True)
    with av.open(str(file), "w") as film:
        stream = film.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = published_layouts.WIDTH, published_layouts.HEIGHT, "yuv420p"
        black = np.zeros((published_layouts.HEIGHT, published_layouts.WIDTH, 3), np.uint8)
        for _ in made[0].joints:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(black)))
        film.mux(stream.encode())
    dataset = nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    assert notes_of(dataset) == []
    assert dataset.frame_paths[0] is None
    assert dataset.frame_paths[1] is not None
    assert dataset.videos[0].path == str(file)
    np.testing.assert_array_equal(dataset.videos[0].frames, np.arange(len(made[0].joints)))
    assert dataset.videos[1] is None
    np.testing.assert_array_equal(dataset.clips.fps, [25, 30, 30])
    np.testing.assert_allclose(dataset.clips.keypoints[0, 0], made[0].observed.keypoints[0], atol=1e-3)
    file.write_bytes(file.read_bytes()[:100])
    (note,) = broken(own_tree, tiny_body, "baseball_pitch.0")
    assert "baseball_pitch.0.mp4" in note


def test_some_of_the_instances(tree, tiny_body):
    def names(**which):
        return nemo_mocap.load(tree, ACTION, body=tiny_body, **which).names

    assert names(max_instances=2) == ("baseball_pitch.0", "baseball_pitch.1")
    assert names(ids="10,0") == ("baseball_pitch.0", "baseball_pitch.10")
    assert names(ids="baseball_pitch.1") == ("baseball_pitch.1",)
    assert names(ids="all") == ("baseball_pitch.0", "baseball_pitch.1", "baseball_pitch.10")
    with pytest.raises(DatasetError, match=r"--ids=7: there is no 7 of baseball_pitch in .*baseball_pitch\.10"):
        names(ids="7")
    with pytest.raises(UserError, match=r"names baseball_pitch\.7, which is no clip here"):
        names(person="baseball_pitch.7=2")


def test_the_rate_of_pictures_can_be_given(tree, tiny_body):
    np.testing.assert_array_equal(nemo_mocap.load(tree, ACTION, body=tiny_body, fps=60.0).clips.fps, 60)


def test_tennis_serves_have_a_camera_of_their_own(made, tiny_body, tmp_path):
    serve = [dataclasses.replace(made[0], name="tennis_serve.0")]
    data = published_layouts.nemo_mocap(tmp_path, tiny_body, serve)
    (data / "opt_cam_IMG_6289.pt").unlink()
    assert nemo_mocap.load(data, "tennis_serve", body=tiny_body).cameras is not None
    (data / "opt_cam_IMG_6287.pt").unlink()
    dataset = nemo_mocap.load(data, "tennis_serve", body=tiny_body)
    assert dataset.cameras is None
    assert dataset.truth is not None
    assert (
        sum("The true camera is not known" in note and "IMG_6287.pt is missing" in note for note in dataset.notes) == 1
    )


@pytest.mark.parametrize("centre", [(240, 135), (135, 240)])
def test_the_principal_point_is_the_one_that_explains_the_2d_truth(centre, made, tiny_body, own_tree):
    shift = np.array(centre) - published_layouts.CENTRE
    for file in own_tree.rglob("*_gt_new/*.pkl"):
        joblib.dump(joblib.load(file) + shift.astype(np.float32), file)
    dataset = nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    assert dataset.cameras[0].image_size == (2 * centre[0], 2 * centre[1])
    assert notes_of(dataset) == []


def test_a_camera_that_sees_something_else_is_doubted(made, tiny_body, own_tree):
    for file in own_tree.rglob("*_gt_new/*.pkl"):
        joblib.dump(joblib.load(file) + np.float32(90), file)
    (note,) = notes_of(nemo_mocap.load(own_tree, ACTION, body=tiny_body))
    assert "IMG_6289.pt sees the motion capture" in note
    assert "pixels from where the 2D truth has it" in note


def test_older_names_are_known(loaded, tree, tiny_body, own_tree):
    for folder in sorted((own_tree / "exps" / "mymocap_baseball_pitch").iterdir()):
        for old, new in ((".mp4_openpose", "_openpose"), (".mp4_gt_new", ".mp4_gt")):
            if folder.name.endswith(old):
                folder.rename(folder.with_name(folder.name.removesuffix(old) + new))
    dataset = nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    assert dataset.notes == loaded.notes
    np.testing.assert_array_equal(dataset.clips.keypoints, loaded.clips.keypoints)
    assert dataset.cameras[0].image_size == loaded.cameras[0].image_size


def test_without_2d_truth_the_camera_is_the_published_renderers(loaded, tiny_body, own_tree):
    for folder in own_tree.rglob("*_gt_new"):
        shutil.rmtree(folder)
    dataset = nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    assert dataset.cameras[0].image_size == loaded.cameras[0].image_size
    assert notes_of(dataset) == []
