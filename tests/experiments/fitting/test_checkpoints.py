"""Chunks and checkpoints: what is saved comes back bit for bit, belongs to one fit, and a damaged one is passed over."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.base.errors import UserError
from experiments.fitting import checkpoints
from experiments.fitting.checkpoints import Checkpoints, Snapshot, identity_of
from experiments.fitting.compiled_programs import CompiledFit, Position, chunk_length, shapes_of_one, stages_of
from nemo_jax import stacking, stages
from nemo_jax.fit import fit


@pytest.fixture(scope="module")
def tiny_job(tiny_job):
    """With all stages that a fit can have but lifting."""
    config = dataclasses.replace(tiny_job.config, rescue_steps=3, rescue_frames=3)
    job = dataclasses.replace(tiny_job, config=config)
    assert [stage.name for stage in stages_of(job)] == ["warmup", "camera", "early", "rescue", "joint"]
    return job


@pytest.fixture(scope="module")
def compiled(tiny_job):
    return CompiledFit(stacking.stack([tiny_job], 1, stacking.padding_of([tiny_job])), Position())


@pytest.fixture(scope="module")
def chunks(compiled):
    """Every chunk of the tiny fit, without the axis of fits, its carry copied before the next one overwrites it."""
    problem, state = compiled.start()
    first = lambda tree: jax.tree.map(lambda leaf: np.array(leaf[0]), tree)
    run = compiled.run(problem, Position(), state)
    return [chunk._replace(losses=first(chunk.losses), carry=first(chunk.carry)) for chunk in run]


@pytest.fixture
def identity(tiny_job):
    return identity_of(tiny_job, {"seed": 3}, ("a", "b"))


def snapshot(job, chunk, seconds=1.0):
    history = {chunk.stage.name: {term: np.asarray(v) for term, v in chunk.losses.items()}}
    return Snapshot(chunk.position, chunk.carry, job.key, history, {"fit": seconds})


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert np.array_equal(np.asarray(x), np.asarray(y))
        assert x.dtype == y.dtype


@pytest.mark.parametrize("steps", [1, 2, 7, 19, 40, 97, 240, 300, 997, 1000, 2000, 2003])
def test_chunks_cover_a_stage_in_about_twenty_parts(steps):
    length = chunk_length(steps)
    assert 1 <= length <= steps
    assert steps < 20 or 10 <= steps / length <= 40
    if steps in (40, 240, 300, 1000, 2000):
        assert steps % length == 0


def test_chunks_run_every_step_once(tiny_job, chunks):
    seen = [(c.stage.name, c.first + i) for c in chunks for i in range(len(next(iter(c.losses.values()))))]
    assert seen == [(stage.name, step) for stage in stages_of(tiny_job) for step in range(stage.steps)]
    assert chunks[-1].position == Position(len(stages_of(tiny_job)))
    assert isinstance(chunks[-1].carry, stages.FitState)


def test_chunks_overwrite_their_carry(tiny_job, compiled):
    """A stage's program puts every array of the carry it returns in the place of the one it was given."""
    for number, (stage, carry) in enumerate(zip(stages_of(tiny_job), shapes_of_one(tiny_job).carries, strict=True)):
        program = compiled._programs[number, chunk_length(stage.steps)].result()
        held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(carry))
        assert program.memory_analysis().alias_size_in_bytes == held > 0


def test_a_run_gives_up_its_carry_and_nothing_else(tiny_job, compiled):
    problem, state = compiled.start()
    run = compiled.run(problem, Position(), state)
    first = next(run)
    next(run)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(first.carry))
    others = [leaf for leaf in jax.tree.leaves((problem, compiled.job.arguments)) if isinstance(leaf, jax.Array)]
    assert others and not any(leaf.is_deleted() for leaf in others)


@pytest.mark.slow
def test_chunks_end_where_the_whole_fit_does(tiny_job):
    # Of three stages; `tests/nemo_jax/test_fit.py` has all of them.
    short = dataclasses.replace(tiny_job.config, rescue_steps=0)
    job = dataclasses.replace(tiny_job, config=short)
    whole = jax.jit(fit)(*job.arguments)
    program = CompiledFit(stacking.stack([job], 1, stacking.padding_of([job])), Position())
    problem, state = program.start()
    *_, last = program.run(problem, Position(), state)
    ended = jax.tree.map(lambda leaf: leaf[0], last.carry.params)
    for ours, theirs in zip(jax.tree.leaves(ended), jax.tree.leaves(whole.params), strict=True):
        # Two programs may round differently; the same program does not (see test_resume).
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_checkpoint_gives_back_what_was_saved(tmp_path, tiny_job, chunks, identity):
    for number in (0, len(chunks) // 2, len(chunks) - 1):
        folder = tmp_path / str(number)
        saved = snapshot(tiny_job, chunks[number])
        with Checkpoints(folder, tiny_job, identity) as kept:
            kept.save(saved)
        found = Checkpoints(folder, tiny_job, identity).latest()
        assert found.position == saved.position
        assert found.seconds == saved.seconds
        assert_same(found.carry, saved.carry)
        assert_same(found.history, saved.history)
        assert np.array_equal(jax.random.key_data(found.key), jax.random.key_data(tiny_job.key))


def test_a_fit_goes_on_from_any_checkpoint_to_the_same_end(tmp_path, tiny_job, compiled, chunks, identity):
    problem, _ = compiled.start()
    for number in range(0, len(chunks) - 1, 4):
        folder = tmp_path / str(number)
        with Checkpoints(folder, tiny_job, identity) as kept:
            kept.save(snapshot(tiny_job, chunks[number]))
        found = Checkpoints(folder, tiny_job, identity).latest()
        rest = list(compiled.run(problem, found.position, jax.tree.map(lambda leaf: leaf[None], found.carry)))
        assert len(rest) == len(chunks) - number - 1
        assert_same(jax.tree.map(lambda leaf: np.asarray(leaf[0]), rest[-1].carry), chunks[-1].carry)


def test_the_last_two_are_kept(tmp_path, tiny_job, chunks, identity):
    with Checkpoints(tmp_path / "c", tiny_job, identity) as kept:
        for chunk in chunks[:5]:
            kept.save(snapshot(tiny_job, chunk))
    assert len(list((tmp_path / "c").iterdir())) == checkpoints.KEPT
    assert Checkpoints(tmp_path / "c", tiny_job, identity).latest().position == chunks[4].position


def test_what_is_saved_does_not_change_with_the_history(tmp_path, tiny_job, chunks, identity):
    saved = snapshot(tiny_job, chunks[0])
    values = saved.history[chunks[0].stage.name]["total"] = np.array(chunks[0].losses["total"])
    expected = values.copy()
    with Checkpoints(tmp_path / "c", tiny_job, identity) as kept:
        kept.save(saved)
        values[:] = -1
    found = Checkpoints(tmp_path / "c", tiny_job, identity).latest()
    assert np.array_equal(found.history[chunks[0].stage.name]["total"], expected)


def damage(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_damaged_checkpoint_is_passed_over(tmp_path, tiny_job, chunks, identity):
    with Checkpoints(tmp_path / "c", tiny_job, identity) as kept:
        for chunk in chunks[:2]:
            kept.save(snapshot(tiny_job, chunk))
    newest = max((tmp_path / "c").iterdir(), key=lambda path: int(path.name))
    damage(newest)
    assert Checkpoints(tmp_path / "c", tiny_job, identity).latest().position == chunks[0].position
    for folder in (tmp_path / "c").iterdir():
        damage(folder)
    with pytest.raises(UserError, match="no checkpoint that this version can read"):
        Checkpoints(tmp_path / "c", tiny_job, identity).latest()


def flipped(path, bit):
    """The file with one bit flipped."""
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)


def test_a_flipped_bit_anywhere_is_noticed(tmp_path, tiny_job, chunks, identity):
    """In any file of a checkpoint, with the list of digests beside it or without."""
    with Checkpoints(tmp_path / "c", tiny_job, identity) as kept:
        for chunk in chunks[:2]:
            kept.save(snapshot(tiny_job, chunk))
    newest = max((tmp_path / "c").iterdir(), key=lambda path: int(path.name))
    files = sorted(path for path in newest.rglob("*") if path.is_file())
    assert {checkpoints.SEAL, "metadata"} <= {path.name for path in files}
    seal = (newest / checkpoints.SEAL).read_bytes()
    expected = snapshot(tiny_job, chunks[1])
    for number, path in enumerate(files):
        whole = path.read_bytes()
        for sealed in (True, False):
            flipped(path, 8 * (len(whole) // 2) + number)
            if not sealed:
                (newest / checkpoints.SEAL).unlink()
            with Checkpoints(tmp_path / "c", tiny_job, identity) as kept:
                found = kept.latest()
            if found.position == expected.position:
                # What this bit says is not a part of the fit.
                assert not sealed or path.name == checkpoints.SEAL
                assert_same(found.carry, expected.carry)
                assert_same(found.history, expected.history)
                assert found.seconds == expected.seconds
            else:
                assert found.position == chunks[0].position
                assert kept.damaged == [int(newest.name)]
            path.write_bytes(whole)
            (newest / checkpoints.SEAL).write_bytes(seal)


def test_what_a_checkpoint_says_of_itself_cannot_be_edited(tmp_path, tiny_job, chunks, identity):
    with Checkpoints(tmp_path / "c", tiny_job, identity) as kept:
        kept.save(snapshot(tiny_job, chunks[0]))
    (about,) = (tmp_path / "c").glob("*/about/metadata")
    content = json.loads(about.read_text())
    losses = {"warmup": {"total": 10**12}}
    for change in ({"step": 10**9}, {"stage": -1}, {"seconds": {}}, {"losses": losses}, {"identity": {}}):
        about.write_text(json.dumps({**content, **change}))
        for seal in (tmp_path / "c").glob(f"*/{checkpoints.SEAL}"):
            seal.unlink()
        with pytest.raises(UserError, match="no checkpoint that this version can read"):
            Checkpoints(tmp_path / "c", tiny_job, identity).latest()


def test_a_disk_that_is_full_is_said(tmp_path, tiny_job, chunks, identity, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with Checkpoints(tmp_path / "c", tiny_job, identity) as kept:
        monkeypatch.setattr(type(kept._writer.manager), "save", full)
        with pytest.raises(UserError, match=r"No space left on device.*make room"):
            kept.save(snapshot(tiny_job, chunks[0]))


@pytest.mark.parametrize("started", [False, True])
def test_a_folder_that_vanishes_is_said_and_does_not_come_back(tmp_path, tiny_job, chunks, identity, started):
    kept = Checkpoints(tmp_path / "c", tiny_job, identity)
    kept.save(snapshot(tiny_job, chunks[0]))
    if not started:
        kept._writer.seal()
    else:
        kept._writer.manager.wait_until_finished()
    shutil.rmtree(tmp_path / "c")
    with pytest.raises(UserError, match=r"was deleted or moved while the fit ran; leave it in its place"):
        kept.save(snapshot(tiny_job, chunks[1]))
    kept.__exit__()
    assert not (tmp_path / "c").exists()


def test_an_unfinished_write_is_cleared_away(tmp_path, tiny_job, chunks, identity):
    with Checkpoints(tmp_path / "c", tiny_job, identity) as kept:
        kept.save(snapshot(tiny_job, chunks[0]))
    done = next((tmp_path / "c").iterdir())
    (tmp_path / "c" / f"99.orbax-checkpoint-tmp-{done.name}").mkdir()
    assert Checkpoints(tmp_path / "c", tiny_job, identity).latest().position == chunks[0].position


def test_none_there(tmp_path, tiny_job, identity):
    assert Checkpoints(tmp_path / "c", tiny_job, identity).latest() is None


def test_another_fit_is_not_continued(tmp_path, tiny_job, chunks, identity):
    with Checkpoints(tmp_path / "run" / "c", tiny_job, identity) as kept:
        kept.save(snapshot(tiny_job, chunks[0]))
    faster = dataclasses.replace(tiny_job, config=dataclasses.replace(tiny_job.config, lr_field=0.5))
    moved = dataclasses.replace(tiny_job, clips=dataclasses.replace(tiny_job.clips, fps=tiny_job.clips.fps + 1))
    for job, settings, names, words in (
        (tiny_job, {"seed": 4}, ("a", "b"), "another seed (3 there, 4 now)"),
        (faster, {"seed": 3}, ("a", "b"), "another fit.lr_field (0.001 there, 0.5 now)"),
        (moved, {"seed": 3}, ("a", "b"), "a fit of other clips;"),
        (tiny_job, {"seed": 3}, ("a", "c"), "a fit of other clips;"),
    ):
        with pytest.raises(UserError) as error:
            Checkpoints(tmp_path / "run" / "c", job, identity_of(job, settings, names)).latest()
        assert words in str(error.value)
        assert "--resume=false" in str(error.value)

    kept = Checkpoints(tmp_path / "run" / "c", faster, identity_of(faster, {"seed": 3}, ("a", "b")))
    kept.clear()
    assert kept.latest() is None


def test_digests_see_values_shapes_types_and_names():
    base = {"a": jnp.arange(4.0)}
    others = (
        {"a": jnp.arange(4.0) + 1},
        {"a": jnp.arange(4.0).reshape(2, 2)},
        {"a": jnp.arange(4)},
        {"b": jnp.arange(4.0)},
    )
    digests = {checkpoints.digest(tree) for tree in (base, *others)}
    assert len(digests) == 5
    assert checkpoints.digest(base) == checkpoints.digest({"a": np.arange(4.0, dtype=np.float32)})
