"""NeMo-MoCap: trees written in its published layout, sound and broken, against the motion that they were made of."""

import dataclasses
import json
import shutil

import joblib
import numpy as np
import pytest
from equal_datasets import assert_equal
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import loaders
from experiments.base.errors import UserError
from experiments.data import neutral
from experiments.data.dataset import DatasetError
from experiments.data.footage import BrokenClipError
from experiments.fitting.run import run as fit
from experiments.fitting.settings import Settings
from experiments.loaders import nemo_mocap, nemo_truth
from experiments.show import presentation
from experiments.show.presentation import PARTS
from experiments.simulation import observations
from nemo_jax import clips as clips_lib
from tests.experiments import prior_formats, published_layouts

ACTION = "baseball_pitch"


@pytest.fixture(scope="module")
def made(tiny_body):
    return published_layouts.clips(tiny_body)


@pytest.fixture(scope="module")
def tree(made, tiny_body, tmp_path_factory):
    """A folder with spaces and letters of all kinds that holds `data`; not to be changed."""
    root = tmp_path_factory.mktemp("published") / "Läufe und Würfe 野球"
    published_layouts.nemo_mocap(root / "data", tiny_body, made)
    return root


@pytest.fixture
def own_tree(tree, tmp_path):
    """A copy to break."""
    return shutil.copytree(tree, tmp_path / "tree") / "data"


@pytest.fixture(scope="module")
def loaded(tree, tiny_body):
    return nemo_mocap.load(tree, ACTION, body=tiny_body)


def notes_of(dataset):
    """All but the one that every load with a body other than SMPL's has."""
    return [note for note in dataset.notes if "The true shapes are SMPL's" not in note]


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
        every = fit(settings, presentation.write_all)
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


def broken(own_tree, tiny_body, *gone):
    """The notes of a load that leaves these out."""
    dataset = nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    names = ["baseball_pitch.0", "baseball_pitch.1", "baseball_pitch.10"]
    assert list(dataset.names) == [name for name in names if name not in gone]
    return notes_of(dataset)


def test_an_instance_without_its_truth_is_left_out(own_tree, tiny_body):
    (own_tree / "mocap" / "baseball_pitch.1.pkl").unlink()
    (note,) = broken(own_tree, tiny_body, "baseball_pitch.1")
    assert note.startswith("Left out, because unusable: baseball_pitch.1 (its motion capture ")
    assert "baseball_pitch.1.pkl is missing" in note


def test_without_any_truth_there_is_still_something_to_fit(own_tree, tiny_body):
    shutil.rmtree(own_tree / "mocap")
    dataset = nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    assert len(dataset.names) == 3
    assert dataset.truth is None
    assert dataset.cameras is None
    (note,) = dataset.notes
    assert "nothing is scored in 3D" in note


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda held: {**held, "fullpose": held["fullpose"][:, :63]}, "fullpose of .* has shape"),
        (lambda held: {**held, "trans": held["trans"][:-1]}, "trans of .* has shape"),
        (lambda held: {**held, "trans": held["trans"] * np.nan}, "not finite"),
        (lambda held: {**held, "betas": held["betas"][:4]}, "betas of .* are 4 numbers, expected 10 or more"),
        (lambda held: {**held, "fullpose": held["fullpose"] * 1e9}, r"fullpose of .* holds .*e\+0\d, expected radians"),
        (lambda held: {**held, "trans": held["trans"] * 1e9}, r"trans of .* holds .*e\+0\d, expected metres from"),
        (lambda held: {**held, "betas": held["betas"] + 1e9}, r"betas of .* holds 1e\+09, expected shape coefficients"),
        (lambda held: {**held, "betas": np.array(["fat"] * 10)}, "betas of .* is not numeric"),
        (lambda held: {key: held[key] for key in ("trans", "betas")}, "has no fullpose, but trans, betas"),
        (lambda held: [held], "holds a list, expected a dict"),
    ],
)
def test_broken_motion_capture_is_named(change, expected, own_tree, tiny_body):
    file = own_tree / "mocap" / "baseball_pitch.10.pkl"
    joblib.dump(change(joblib.load(file)), file)
    with pytest.raises(BrokenClipError, match=expected) as caught:
        nemo_truth.read_mocap(file)
    (note,) = broken(own_tree, tiny_body, "baseball_pitch.10")
    assert str(caught.value) in note


def test_hostile_motion_capture_is_not_run(own_tree, tiny_body):
    (own_tree / "mocap" / "baseball_pitch.10.pkl").write_bytes(prior_formats.dumps(prior_formats.Evil()))
    (note,) = broken(own_tree, tiny_body, "baseball_pitch.10")
    assert "baseball_pitch.10.pkl" in note
    assert "os.system" in note


def test_frames_that_do_not_belong_to_the_truth(own_tree, tiny_body, made):
    folder = own_tree / "exps" / "mymocap_baseball_pitch"
    (folder / "baseball_pitch.0.mp4" / f"{len(made[0].joints):06d}.png").unlink()
    (folder / "baseball_pitch.0.mp4_openpose" / f"{len(made[0].joints):06d}_keypoints.json").unlink()
    file = own_tree / "mocap" / "baseball_pitch.1.pkl"
    held = joblib.load(file)
    joblib.dump({key: np.tile(value, (2, 1)) if np.ndim(value) == 2 else value for key, value in held.items()}, file)
    dataset = nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    assert dataset.names == ("baseball_pitch.0", "baseball_pitch.10")
    poses, cut, left_out = notes_of(dataset)
    count = len(made[0].joints)
    assert f"it has poses for frames 0 to {count - 1}" in poses
    assert cut == (
        f"baseball_pitch.0 has {count - 1} pictures and {count} frames of motion capture; the first {count - 1} are used."
    )
    frames = len(made[1].joints)
    assert f"it has {frames} pictures but {2 * frames} frames of motion capture" in left_out
    np.testing.assert_allclose(dataset.truth.joints[0, : count - 1], made[0].joints[:-1], atol=1e-5)
    assert dataset.clips.frame_mask[0].sum() == count - 1


def test_more_json_than_pictures(own_tree, tiny_body, made):
    folder = own_tree / "exps" / "mymocap_baseball_pitch" / "baseball_pitch.1.mp4_openpose"
    shutil.copy(folder / "000001_keypoints.json", folder / "000400_keypoints.json")
    (note,) = broken(own_tree, tiny_body, "baseball_pitch.1")
    assert f"numbered 1 to 400, where the clip has {len(made[1].joints)}" in note


def test_json_cut_in_half_is_a_missing_frame(own_tree, tiny_body):
    folder = own_tree / "exps" / "mymocap_baseball_pitch" / "baseball_pitch.1.mp4_openpose"
    text = (folder / "000008_keypoints.json").read_text()
    (folder / "000008_keypoints.json").write_text(text[: len(text) // 2])
    (folder / "000009_keypoints.json").write_text(json.dumps({"people": []}))
    (folder / "000010_keypoints.json").unlink()
    dataset = nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    assert not dataset.clips.confidence[1, 7:10].any()
    assert dataset.clips.confidence[1, :7].any(1).all()
    (note,) = notes_of(dataset)
    assert "says nothing of 3 of 10 frames" in note
    assert "000008_keypoints.json" in note


def test_missing_and_unreadable_pictures(own_tree, tiny_body, made):
    folder = own_tree / "exps" / "mymocap_baseball_pitch" / "baseball_pitch.10.mp4"
    (folder / "000001.png").write_bytes(b"nothing")
    (folder / "000003.png").unlink()
    dataset = nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    assert notes_of(dataset) == []
    assert dataset.frame_paths[2][2] is None
    assert dataset.frame_paths[2][3].endswith("000004.png")
    np.testing.assert_allclose(dataset.clips.keypoints[2, 3], made[2].observed.keypoints[3], atol=1e-3)
    shutil.rmtree(folder)
    (note,) = broken(own_tree, tiny_body, "baseball_pitch.10")
    assert "neither a folder of pictures nor a film" in note


@pytest.mark.parametrize("how", ["missing", "empty", "hostile", "other clip", "damaged"])
def test_without_vibe_there_is_no_initial_pose(how, own_tree, tiny_body, made):
    file = own_tree / "exps" / "mymocap_baseball_pitch" / "baseball_pitch.1" / "vibe_output.pkl"
    if how == "missing":
        file.unlink()
    elif how == "empty":
        joblib.dump({}, file)  # VIBE found nobody
    elif how == "hostile":
        file.write_bytes(prior_formats.dumps(prior_formats.Evil()))
    elif how == "damaged":
        file.write_bytes(file.read_bytes()[:300])
    else:
        frames = np.arange(len(made[1].joints) + 40)
        joblib.dump(
            {1: published_layouts.vibe_person(np.zeros((len(frames), 72)), np.zeros((len(frames), 25, 2)), frames)},
            file,
        )
    dataset = nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    assert len(dataset.names) == 3
    np.testing.assert_array_equal(dataset.clips.init_mask.any(1), [True, False, True])
    (note,) = notes_of(dataset)
    assert note.startswith("baseball_pitch.1 has no initial poses: ")


def test_a_hostile_2d_truth_and_camera(own_tree, tiny_body):
    hostile = prior_formats.dumps(prior_formats.Evil())
    folder = own_tree / "exps" / "mymocap_baseball_pitch" / "baseball_pitch.1.mp4_gt_new"
    (folder / "000001_keypoints.pkl").write_bytes(hostile)
    (note,) = broken(own_tree, tiny_body)
    assert note.startswith("baseball_pitch.1: some of its 2D truth is not used: ")
    (own_tree / "opt_cam_IMG_6289.pt").write_bytes(hostile)
    _, note = broken(own_tree, tiny_body)
    assert note.startswith("The true camera is not known: ")


def test_2d_truth_far_outside_is_not_used(own_tree, tiny_body):
    file = own_tree / "exps" / "mymocap_baseball_pitch" / "baseball_pitch.1.mp4_gt_new" / "000001_keypoints.pkl"
    joblib.dump(np.asarray(joblib.load(file)) * 1e9, file)
    (note,) = broken(own_tree, tiny_body)
    assert note.startswith("baseball_pitch.1: some of its 2D truth is not used: ")
    assert "expected pixels from -1e+06 to 1e+06" in note


def test_motion_capture_out_of_order_is_named(own_tree, tiny_body):
    file = own_tree / "mocap" / "baseball_pitch.10.pkl"
    held = joblib.load(file)
    joblib.dump({**held, "trans": held["trans"] * np.resize([1.0, 200.0], (len(held["trans"]), 1))}, file)
    (note,) = [note for note in nemo_mocap.load(own_tree, ACTION, body=tiny_body).notes if "metres per second" in note]
    assert note.startswith("baseball_pitch.10: its motion capture moves by up to ")


def camera_file(camera, focal):
    tensors, contents = [], {}
    for key, value in (("0", np.asarray(camera, np.float32)), ("1", np.asarray(focal, np.float32))):
        contents[key] = value
        tensors.append(
            prior_formats.tensor(
                prior_formats.Storage(key, value), 0, value.shape, prior_formats.row_major(value.shape)
            )
        )
    return prior_formats.archive(tuple(tensors), contents)


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (camera_file(np.ones(6), 900.0), "holds 6 and 1 values, expected 9 numbers and a focal length"),
        (camera_file(np.ones(9), -1.0), "holds the focal length -1.0"),
        (camera_file([0, 0, 5, 1, 0, 0, 1, 0, np.nan], 900.0), "expected finite numbers"),
        (camera_file([0, 0, 5, 1, 0, 0, 1, 0, 0], 9e11), "opt_cam_IMG_6289.pt holds 9e+11, expected pixels from 10"),
        (camera_file([0, 0, 5e9, 1, 0, 0, 1, 0, 0], 900.0), "opt_cam_IMG_6289.pt holds 5e+09, expected metres from"),
        (camera_file([0, 0, 5, 1, 1, 0, 0, 0, 0], 900.0), "holds a camera without a rotation"),
        (camera_file([0, 0, -50, 1, 0, 0, 1, 0, 0], 900.0), "has the person behind the camera"),
        (b"PK\x03\x04", "damaged or truncated archive"),
        (b"", "empty"),
    ],
)
def test_broken_cameras_are_named(contents, expected, own_tree, tiny_body):
    (own_tree / "opt_cam_IMG_6289.pt").write_bytes(contents)
    dataset = nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    assert dataset.cameras is None
    assert dataset.truth is not None
    (note,) = notes_of(dataset)
    assert note.startswith("The true camera is not known: ")
    assert expected in note


def test_nothing_usable_is_one_sentence(own_tree, tiny_body, tmp_path):
    with pytest.raises(DatasetError, match="is nothing, not a folder"):
        nemo_mocap.load(tmp_path / "absent", ACTION, body=tiny_body)
    with pytest.raises(DatasetError, match=r"holds no exps/mymocap_baseball_pitch"):
        nemo_mocap.load(own_tree / "mocap", ACTION, body=tiny_body)
    with pytest.raises(DatasetError, match=r"--action=kick is not in .* which holds baseball_pitch; name one of these"):
        nemo_mocap.load(own_tree, "kick", body=tiny_body)
    for folder in own_tree.rglob("*_openpose"):
        shutil.rmtree(folder)
    with pytest.raises(DatasetError, match=r"has no usable instance in .*: baseball_pitch\.0 \(there is no folder "):
        nemo_mocap.load(own_tree, ACTION, body=tiny_body)
    (own_tree / "exps" / "mymocap_kick").mkdir()
    with pytest.raises(DatasetError, match=r"has no usable instance in .*: it is empty"):
        nemo_mocap.load(own_tree, "kick", body=tiny_body)
