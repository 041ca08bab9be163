"""The 3D page in a real browser: it opens from disk, plays, and computes what JAX computes."""

import dataclasses
import json

import chromium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from viewer_pages import pause, pixels, settle

from body_models import joints as jn
from body_models import loaders, smpl
from experiments.results import reading as saved_lib
from experiments.show.viewer import figure, page
from nemo_jax import contact, field, mirror, model, rotations

pytestmark = pytest.mark.skipif(chromium.find() is None, reason=f"no {' or '.join(chromium.NAMES)} is installed")

SKIN_TOLERANCE = 4e-3  # metres: 1 mm of corrections, weights in 255ths, offsets in 8 bits


@pytest.fixture(scope="module")
def saved(saved_run):
    """The open body, moved by a field of random weights, the second instance mirrored."""
    run = saved_lib.load(saved_run)
    rng = np.random.default_rng(5)
    weights = dict(run.params.field)
    weights["features"] = {"log_scales": np.float32([-2, -3, -3, -2])}
    for name, size in (("hidden_0", 1.0), ("rotation", 0.5), ("translation", 0.3)):
        kernel = rng.normal(0, size, np.shape(weights[name]["kernel"])).astype(np.float32)
        weights[name] = {**weights[name], "kernel": kernel}
    weights["way"] = np.float32([[1.0, 0.1, -0.5], [-0.3, 0, 0.4], [0.2, -0.1, 0.3]])
    params = dataclasses.replace(
        run.params,
        field=weights,
        codes=rng.normal(0, 0.7, run.params.codes.shape).astype(np.float32),
        betas=rng.normal(0, 0.6, run.params.betas.shape).astype(np.float32),
        mirrored=np.float32([0, 1]),
        contact={
            "values": rng.normal(0, 3, (6, 6)).astype(np.float32),
            "own": rng.normal(0, 1, (run.params.codes.shape[1], 6, 6)).astype(np.float32),
        },
    )
    config = dataclasses.replace(run.config, contact_centres=6)
    return dataclasses.replace(run, params=params, config=config, body=loaders.load_body(None))


@pytest.fixture(scope="module")
def path(saved, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "viewer.html"
    page.write(path, saved)
    return path


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium.browser(chromium.find(), tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def opened(tab, path):
    tab.errors.clear()
    tab.open(path.as_uri())
    tab.wait("window.nemo && nemo.state.drawn > 0")
    yield tab
    assert tab.errors == []


def test_it_plays_and_stops(opened):
    assert opened.value("nemo.state.playing") is True
    begun = opened.value("nemo.state")
    opened.wait(f"nemo.state.phase !== {begun['phase']} && nemo.state.drawn > {begun['drawn']}")
    opened.key(" ", "Space", " ")
    opened.wait("!nemo.state.playing")
    stopped = opened.value("nemo.state.phase")
    opened.key("ArrowRight")
    opened.wait(f"Math.abs(nemo.state.phase - Math.min({stopped} + 0.01, 1)) < 1e-9")
    opened.key("Home")
    opened.wait("nemo.state.phase === 0")
    settle(opened)
    assert opened.value("document.getElementById('position').textContent") == "phase 0.00"


def test_the_field_is_the_one_of_jax(opened, saved):
    rng = np.random.default_rng(0)
    phases = np.concatenate([[0, 1, 0.5], rng.uniform(0, 1, 7)]).astype(np.float32)
    codes = np.concatenate([np.zeros((1, 5)), saved.params.codes, rng.normal(0, 1, (7, 5))]).astype(np.float32)
    asked = json.dumps([[float(p), c.tolist()] for p, c in zip(phases, codes, strict=True)])
    answers = opened.value(
        f"{asked}.map(([p, c]) => nemo.field(p, c)).map((m) => [[...m.rotations], [...m.translation]])"
    )
    rotation, translation = saved.at_phase(phases, codes)
    assert np.ptp(rotation, axis=0).max() > 0.3  # the field moves
    np.testing.assert_allclose([answer[0] for answer in answers], rotation.reshape(10, -1), atol=1e-4)
    np.testing.assert_allclose([answer[1] for answer in answers], translation, atol=1e-4)


def test_every_kernel_is_the_one_of_jax(opened):
    distances = np.float32([0, 1e-3, 0.2, 1, 3.7])
    found = opened.value(
        f"Object.fromEntries(Object.entries(KERNELS).map(([k, f]) => [k, {distances.tolist()}.map(f)]))"
    )
    assert set(found) == set(field.KERNELS)
    for name, kernel in field.KERNELS.items():
        np.testing.assert_allclose(found[name], kernel(jnp.asarray(distances)), rtol=2e-6, atol=2e-6, err_msg=name)


def test_rotations_and_mirrors_are_those_of_jax(opened):
    rng = np.random.default_rng(2)
    pose = rng.normal(0, 1, (24, 3)).astype(np.float32)
    pose[:3] = [[0, 0, 0], [1e-6, 0, 0], [0, np.pi, 0]]
    matrices = np.asarray(rotations.axis_angle_to_matrix(jnp.asarray(pose)))
    found = opened.value(f"[...rotationsOf(Float32Array.from({pose.ravel().tolist()}), 0)]")
    np.testing.assert_allclose(found, matrices.ravel(), atol=2e-6)
    motion = f"{{rotations: {matrices.ravel().tolist()}, translation: [1, 2, 3]}}"
    mirrored = opened.value(
        f"[mirrorMotion({motion}, nemo.page.body.twins)].map((m) => [[...m.rotations], m.translation])[0]"
    )
    wanted, place = mirror.mirror_motion(jnp.asarray(matrices), jnp.float32([1, 2, 3]), jnp.float32(1))
    np.testing.assert_allclose(mirrored[0], np.ravel(wanted), atol=1e-6)
    np.testing.assert_allclose(mirrored[1], place)


@pytest.mark.parametrize("instance", [0, 1])
def test_bodies_are_posed_and_skinned_as_in_jax(opened, saved, instance):
    frames = saved.num_frames(instance)
    raw = 3 / (frames - 1)
    rotation, translation = saved.at_raw_phase(instance, np.array([raw]))
    wanted = saved.vertices(instance, rotation, translation)[0]
    found = opened.value(
        f"""(() => {{
          const person = nemo.page.people[{instance}];
          const pose = nemo.page.body.pose(nemo.page.motion(person, person.phaseAt({raw})), person.betas, 0);
          return [...nemo.page.body.skin(pose)];
        }})()"""
    )
    away = np.linalg.norm(np.reshape(found, (-1, 3)) - wanted, axis=-1)
    assert away.max() < SKIN_TOLERANCE
    assert away.mean() < figure.TOLERANCE / 2


def test_the_graphics_skin_as_the_script_does(opened):
    pause(opened, phase=0.4, shown=[True, False])
    away = opened.value(
        """(() => {
          const { renderer, body, people } = nemo.page;
          const gl = renderer.gl;
          nemo.page.draw();
          gl.bindBuffer(gl.ARRAY_BUFFER, renderer.skinned[0].buffer);
          const found = new Float32Array(6 * body.numVertices);
          gl.getBufferSubData(gl.ARRAY_BUFFER, 0, found);
          gl.bindBuffer(gl.ARRAY_BUFFER, null);
          const person = people[0];
          const wanted = body.skin(body.pose(nemo.page.motion(person, 0.4), person.betas, -person.ground));
          let largest = 0;
          for (let v = 0; v < body.numVertices; v++)
            for (let i = 0; i < 3; i++) largest = Math.max(largest, Math.abs(found[6 * v + i] - wanted[3 * v + i]));
          return [largest, wanted.filter((_, i) => i % 3 === 1).reduce((a, b) => Math.min(a, b))];
        })()"""
    )
    assert away[0] < 1e-4
    assert -0.3 < away[1] < 1.0  # it stands near the ground


@pytest.mark.parametrize("moves", [False, True])
def test_film_cameras_see_what_the_fit_sees(opened, saved, moves):
    """A joint of the body through the page's camera falls on the pixel that the fit predicts, in a pan on that turned."""
    turn, zoom = Rotation.from_rotvec([0.02, -0.1, 0.05]).as_matrix(), 1.2
    if moves:
        still = np.tile(np.eye(3), (2, 5, 1, 1))
        still[:, 4] = turn
        pause(opened)
        opened.value(
            f"Object.assign(nemo.page.films, {{ turn: {still.ravel().tolist()}, zoom: Array(10).fill({zoom}), frames: 5 }})"
        )
    frame, knee, keypoint = 4, jn.SMPL_JOINTS.index("left_knee"), jn.BODY_25_NAMES.index("left_knee")
    for n in range(2):
        found = opened.value(
            f"""(() => {{
              const {{ clips, films, people, body }} = nemo.page;
              const person = people[{n}];
              const motion = nemo.page.motion(person, person.phaseAt({frame} / (clips.frames[{n}] - 1)));
              const {{ joints }} = body.pose(motion, person.betas, -person.ground);
              const [w, h] = films.size[{n}];
              const seen = films.camera({n}, {frame}, [0, 0, w, h], w / 2, h / 2); // a cell of half the size
              const [x, y, , q] = project(seen.viewProjection, joints.subarray(3 * {knee}, 3 * {knee} + 3));
              return [(1 + x / q) * w / 2, (1 - y / q) * h / 2];
            }})()"""
        )
        pixel = np.asarray(saved.fitted.prediction.keypoints_2d[n, frame, keypoint])
        if moves:
            focal, middle = saved.fitted.focal[n], saved.fitted.principal[n]
            x, y, z = turn @ [*(pixel - middle) / focal, 1.0]
            pixel = middle + focal * zoom * np.array([x, y]) / z
        np.testing.assert_allclose(found, pixel, atol=0.05)


def test_between_instances(opened, saved):
    codes = np.asarray(saved.params.codes)
    pause(opened, between=True, share=0.25)
    found = opened.value("nemo.page.betweenPerson()")
    np.testing.assert_allclose(found["code"], 0.75 * codes[0] + 0.25 * codes[1], atol=1e-6)
    clips = "nemo.page.clips"
    for n in range(2):
        at_dot = opened.value(f"{clips}.personAt({clips}.plane.points[{n}])")
        np.testing.assert_allclose(at_dot["code"], codes[n], atol=1e-6)
        np.testing.assert_allclose(at_dot["betas"], saved.params.betas[n], atol=1e-6)
        near = opened.value(f"{clips}.personAt({clips}.plane.points[{n}].map((x) => x + 1e-4))")
        np.testing.assert_allclose(near["code"], codes[n], atol=1e-3)
    # A drag on the map chooses a free point, whose place in the plane is where it was put.
    opened.value("document.getElementById('map').scrollIntoView()")
    box = opened.value("(({x, y}) => [x, y])(document.getElementById('map').getBoundingClientRect())")
    opened.drag((box[0] + 100, box[1] + 50), (box[0] + 140, box[1] + 60))
    settle(opened)
    point = opened.value("nemo.state.point")
    assert point[0] != 0 and point[1] == 0  # two codes lie on a line
    code = opened.value("nemo.page.betweenPerson().code")
    again = opened.value(f"onPlane({code}, {clips}.plane.mean, {clips}.plane.axes)")
    np.testing.assert_allclose(again, point, atol=1e-6)


def test_phase_and_clip_time(opened, saved):
    phases = np.asarray(saved.fitted.prediction.phase)
    for n in range(2):
        frames = saved.num_frames(n)
        for frame in (0, 1, frames // 2, frames - 1):
            raw = frame / (frames - 1)
            assert abs(opened.value(f"nemo.page.people[{n}].phaseAt({raw})") - phases[n, frame]) < 1e-6
            back = opened.value(f"nemo.page.people[{n}].rawAt({float(phases[n, frame])})")
            assert abs(back - raw) < 2e-3
    pause(opened, phase=0.5)
    opened.value("document.querySelector('[data-to=time]').click()")
    settle(opened)
    state = opened.value("nemo.state")
    assert state["sync"] == "time"
    # The leader stays where it was.
    assert abs(opened.value("nemo.page.moment(nemo.page.people[0]).phase") - 0.5) < 1e-3
    seconds = (saved.num_frames(0) - 1) / float(saved.dataset.clips.fps[0])
    assert 0 < state["time"] < seconds


def test_what_is_seen(opened, tmp_path):
    pause(opened, phase=0.3)
    stage = np.s_[40:730, 20:960]
    first = pixels(opened, tmp_path / "first.png")[stage]
    blue, orange = (np.abs(first - colour).sum(-1) < 160 for colour in ((0, 114, 178), (213, 94, 0)))
    assert blue.sum() > 2000 and orange.sum() > 2000  # both instances
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 200
    pause(opened, phase=0.8)
    moved = pixels(opened, tmp_path / "moved.png")[stage]
    assert (np.abs(moved - first).sum(-1) > 60).sum() > 1000
    for control in ("initial", "truth", "paths", "cameras", "own", "between"):
        before = pixels(opened, tmp_path / "before.png")[stage]
        opened.value(f"document.getElementById('{control}').click()")
        settle(opened)
        assert opened.value(f"nemo.state.{control}") is True
        after = pixels(opened, tmp_path / f"{control}.png")[stage]
        assert (np.abs(after - before).sum(-1) > 60).sum() > 300, control
    opened.value("document.querySelector('[data-to=overlaid]').click()")
    settle(opened)
    assert opened.value("[nemo.state.layout, nemo.state.own]") == ["overlaid", False]


def test_paths_are_where_the_joints_go(opened, saved):
    """The path of the pelvis, of the mirrored instance, is its fitted translation."""
    segments = opened.value("nemo.page.pathLines(nemo.page.people[1])")
    pelvis = np.array([segment[0] for segment in segments[::3]] + [segments[-3][1]])
    phases = np.linspace(0, 1, len(pelvis)).astype(np.float32)
    _, place = saved.at_phase(phases, np.repeat(saved.params.codes[1:], len(phases), 0))
    place = place * [-1, 1, 1]  # mirrored
    np.testing.assert_allclose(pelvis - pelvis[0], place - place[0], atol=1e-5)
    assert np.ptp(place, axis=0).max() > 0.05


@pytest.mark.parametrize("instance", [0, 1])
def test_discs_lie_under_what_stands(opened, saved, instance):
    raw = np.linspace(0, 1, saved.num_frames(instance))
    person = f"nemo.page.people[{instance}]"
    found = opened.value(
        f"{raw.tolist()}.map((raw) => nemo.page.contacts.at({person}.phaseAt(raw), {person}.code, {person}.mirrored))"
    )
    wanted = saved.contact_at(instance, raw)
    assert (wanted > 0.5).any() and (wanted < 0.5).any()
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    rotation, translation = saved.at_raw_phase(instance, raw[3:4])
    betas = jnp.asarray(saved.params.betas[instance])
    points = smpl.keypoints(saved.body, jnp.asarray(rotation[0]), betas, jnp.asarray(translation[0]))
    points = np.asarray(points)[np.array(contact.POINTS)][wanted[3] > 0.5]
    discs = opened.value(
        f"""(() => {{
          const [person, phase] = [{person}, {person}.phaseAt({raw[3]})];
          const pose = nemo.page.body.pose(nemo.page.motion(person, phase), person.betas, 0);
          return nemo.page.discsOf(person, phase, pose).map(([place]) => place);
        }})()"""
    )
    assert len(discs) == len(points)
    # A point of the skin moves a little with the joints beside its own.
    np.testing.assert_allclose(np.reshape(discs, (-1, 3)), points * [1, 0, 1], atol=0.04)


def test_discs_can_be_left_out(opened, tmp_path):
    opened.value("document.querySelector('[data-view=top]').click()")
    pause(opened, phase=0.3, fit=True)
    shown = pixels(opened, tmp_path / "shown.png")[40:730, 20:960]
    opened.value("document.getElementById('contacts').click()")
    settle(opened)
    assert opened.value("nemo.page.discsOf(nemo.page.people[0], 0.3, null)") == []
    without = pixels(opened, tmp_path / "without.png")[40:730, 20:960]
    assert (np.abs(shown - without).sum(-1) > 60).sum() > 20


def test_a_lost_graphics_card_comes_back(opened, tmp_path):
    pause(opened, phase=0.3)
    before = pixels(opened, tmp_path / "before.png")
    opened.value(
        """new Promise((done) => {
          const lost = nemo.page.renderer.gl.getExtension("WEBGL_lose_context");
          const canvas = document.getElementById("scene");
          canvas.addEventListener("webglcontextrestored", () => done(true));
          canvas.addEventListener("webglcontextlost", () => setTimeout(() => lost.restoreContext()));
          lost.loseContext();
        })"""
    )
    settle(opened)
    opened.errors[:] = [error for error in opened.errors if "CONTEXT_LOST" not in error]
    # A software renderer rounds a few edge pixels another way each time it draws them.
    np.testing.assert_allclose(pixels(opened, tmp_path / "after.png"), before, atol=2)


def test_turning_and_choosing(opened):
    pause(opened)
    before = opened.value("[nemo.page.orbit.azimuth, ...nemo.page.orbit.pan]")
    opened.drag((300, 300), (360, 320))
    opened.drag((300, 300), (340, 310), button="right")
    after = opened.value("[nemo.page.orbit.azimuth, ...nemo.page.orbit.pan]")
    assert after[0] < before[0] and after[1:] != before[1:]
    opened.value("document.querySelector('[data-view=home]').click()")
    assert opened.value("[nemo.page.orbit.azimuth, ...nemo.page.orbit.pan]") == before
    opened.key("ArrowDown")
    assert opened.value("nemo.state.shown") == [True, False]
    opened.key("ArrowDown")
    assert opened.value("nemo.state.shown") == [False, True]
    opened.value("document.getElementById('none').click()")
    settle(opened)
    assert opened.value("nemo.state.shown") == [False, False]


def test_a_phone(tab, path, tmp_path):
    tab.errors.clear()
    tab.open(path.as_uri(), width=390, height=844, mobile=True)
    tab.wait("window.nemo && nemo.state.drawn > 0")
    pause(tab, phase=0.5)
    assert tab.value("document.documentElement.scrollWidth") <= 390
    assert len(np.unique(pixels(tab, tmp_path / "phone.png")[:400].reshape(-1, 3), axis=0)) > 100
    assert tab.errors == []


def test_a_browser_without_graphics_says_so(tab, path):
    script = """
      const real = HTMLCanvasElement.prototype.getContext;
      HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
        return kind === "webgl2" ? null : real.call(this, kind, ...rest);
      };
    """
    added = tab.call("Page.addScriptToEvaluateOnNewDocument", source=script)["identifier"]
    tab.open(path.as_uri())
    tab.wait("!document.getElementById('problem').hidden")
    assert "WebGL 2" in tab.value("document.getElementById('problem').textContent")
    tab.call("Page.removeScriptToEvaluateOnNewDocument", identifier=added)


def test_one_instance_alone(tab, saved, tmp_path):
    """A run of one clip, in one frame: nothing to synchronise and nothing between."""
    clips = jax.tree.map(lambda x: np.asarray(x)[:1], saved.dataset.clips)
    clips = dataclasses.replace(
        clips, frame_mask=np.where(np.arange(clips.num_frames)[None] < 1, 1, 0).astype(np.float32)
    )
    dataset = dataclasses.replace(saved.dataset, clips=clips, names=saved.dataset.names[:1], truth=None)
    dataset = dataclasses.replace(dataset, box_size=np.asarray(dataset.box_size)[:1])
    own = dataclasses.replace(saved.params, **dict.fromkeys(model.SHARED))
    shared = {name: getattr(saved.params, name) for name in model.SHARED}
    params = dataclasses.replace(jax.tree.map(lambda x: np.asarray(x)[:1], own), **shared)
    page.write(tmp_path / "viewer.html", dataclasses.replace(saved, dataset=dataset, params=params))
    tab.errors.clear()
    tab.open((tmp_path / "viewer.html").as_uri())
    tab.wait("window.nemo && nemo.state.drawn > 2")
    assert tab.value("document.getElementById('between-section').hidden") is True
    tab.value("document.querySelector('[data-to=time]').click()")
    settle(tab)
    assert tab.errors == []
