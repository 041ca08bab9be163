"""Fits that share a program are the fits that they are alone, whatever happens to the others."""

import dataclasses
import threading
from concurrent.futures import CancelledError, Future
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.fitting import compiled_programs
from experiments.fitting.checkpoints import Snapshot
from experiments.fitting.compiled_programs import (
    CompiledFit,
    Position,
    compile_together,
    fits_of_a_turn,
    shapes_of_one,
    stages_of,
)
from experiments.fitting.machine import Lane
from experiments.loaders import synthetic
from nemo_jax import batches, stacking

END = Position(3)
PADDING = stacking.Padding(instances=3, frames=32)


@pytest.fixture(scope="module")
def jobs(tiny_job, tiny_body):
    """Two fits that differ in clips, their number and lengths, seed and a learning rate, and one that will diverge."""
    longer = synthetic.load(tiny_body, seed=5, num_instances=3, style=synthetic.StyleModel(frames_range=(13, 17)))
    clips = jax.tree.map(jnp.asarray, longer.clips)
    assert (tiny_job.clips.num_instances, clips.num_instances) == (2, 3)
    assert clips.num_frames > tiny_job.clips.num_frames
    second = dataclasses.replace(
        tiny_job, key=jax.random.key(11), clips=clips, config=dataclasses.replace(tiny_job.config, lr_field=3e-3)
    )
    third = dataclasses.replace(tiny_job, config=dataclasses.replace(tiny_job.config, lr_field=1e30))
    return [tiny_job, second, third]


def run(programs):
    problem, state = programs.start()
    *_, last = programs.run(problem, Position(), state)
    assert last.position == END
    return jax.tree.map(np.asarray, last.carry), last.losses


def close(one, other):
    """To 2e-3 of the largest number of each array: Adam divides by gradients, so that rounding of the least ones shows."""
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True):
        assert a.shape == b.shape
        scale = max(float(np.abs(a).max()), 1e-3)
        np.testing.assert_allclose(b, a, atol=2e-3 * scale, err_msg=jax.tree_util.keystr(path))


@pytest.fixture(scope="module")
def together(jobs):
    """Programs and the end of all three."""
    programs, size, padding = compile_together(jobs, Position(), None)
    assert (size, padding) == (3, PADDING)
    return programs, *run(programs)


def test_chunks_overwrite_their_stacked_carry(together):
    programs = together[0]
    chunks = [
        program.result()
        for key, program in programs._programs.items()
        if isinstance(key, tuple) and isinstance(key[1], int)
    ]
    assert len(chunks) >= len(stages_of(programs.job))
    assert all(program.memory_analysis().alias_size_in_bytes > 0 for program in chunks)


@pytest.fixture
def nothing_traced():
    """Fits that a test leaves behind are still traced in the one thread for that: what a test replaces, they would meet."""
    compiled_programs.programs.in_turn(int).result()


@pytest.mark.usefixtures("nothing_traced")
def test_an_error_of_the_compiler_is_not_lost(tiny_job, monkeypatch):
    """It is raised where the program is needed, though another thread met it."""

    def fails(function, *args):
        program = Future()
        program.set_exception(RuntimeError("out of memory while compiling"))
        return program

    monkeypatch.setattr("experiments.base.programs.beside", fails)
    with pytest.raises(RuntimeError, match="while compiling"):
        CompiledFit(stacking.stack([tiny_job], 1, stacking.padding_of([tiny_job])), Position())


@pytest.mark.usefixtures("nothing_traced")
def test_a_fit_begins_before_all_is_traced_and_hears_of_what_cannot_be(tiny_job, monkeypatch):
    make, go_on = compiled_programs.programs.make, threading.Event()

    def late(name, *args, **options):
        if name.startswith("fit steps of _step_joint"):
            assert go_on.wait(60)
            raise RuntimeError("out of memory while tracing")
        return make(name, *args, **options)

    monkeypatch.setattr(compiled_programs.programs, "make", late)
    found = CompiledFit(stacking.stack([tiny_job], 1, stacking.padding_of([tiny_job])), Position())
    problem, state = found.start()
    chunks = found.run(problem, Position(), state)
    assert next(chunks).stage.name == "warmup"
    go_on.set()
    with pytest.raises(RuntimeError, match="while tracing"):
        list(chunks)
    with pytest.raises(RuntimeError, match="while tracing"):
        found.shapes  # noqa: B018


@pytest.mark.usefixtures("nothing_traced")
def test_what_is_cancelled_is_not_traced(tiny_job, monkeypatch):
    make, go_on, names = compiled_programs.programs.make, threading.Event(), []

    def late(name, *args, **options):
        names.append(name)
        if name != "fit start":
            assert go_on.wait(60)
        return make(name, *args, **options)

    monkeypatch.setattr(compiled_programs.programs, "make", late)
    found = CompiledFit(stacking.stack([tiny_job], 1, stacking.padding_of([tiny_job])), Position())
    found.cancel()
    go_on.set()
    with pytest.raises(CancelledError):
        found.shapes  # noqa: B018
    assert len(names) <= 2


def test_a_fit_without_padding_is_whole_in_its_program(tiny_job, jobs):
    """What is saved of it needs no shapes, which are known only when all is traced."""
    inputs = SimpleNamespace(job=tiny_job, shapes=shapes_of_one(tiny_job))
    shapes = inputs.shapes.carry_at(END)
    for padding in (stacking.Padding(None, None), PADDING):
        clips = stacking.stack([tiny_job], 1, padding).clips
        wide = jax.tree.map(lambda leaf: np.ones((1, *leaf.shape), leaf.dtype), shapes)
        lane = Lane(inputs, None, Snapshot(END, None, tiny_job.key, {}, {}), {})
        lane.take(wide, 0, clips)
        taken = jax.tree.leaves(lane.at.carry)
        assert [leaf.shape for leaf in taken] == [leaf.shape for leaf in jax.tree.leaves(shapes)]
        assert not any(np.shares_memory(one, other) for one, other in zip(taken, jax.tree.leaves(wide), strict=True))


def test_batches_do_not_see_the_padding(jobs):
    wide = stacking.stack(jobs, 3, PADDING).clips
    for lane, job in enumerate(jobs):
        own = jax.tree.map(lambda leaf, lane=lane: jnp.asarray(leaf[lane]), wide)
        assert (own.num_instances, own.num_frames) == PADDING
        drawn = [batches.sample_batch(jax.random.key(1), clips, 1000, 100, 64) for clips in (job.clips, own)]
        assert np.array_equal(drawn[0].instance, drawn[1].instance)
        assert np.array_equal(drawn[0].frame, drawn[1].frame)


def test_alone_and_among_others(jobs, together):
    """Another program adds in another order: a tiny fit ends within 2e-3 of the largest number of each array."""
    lane = 0
    alone, losses = run(CompiledFit(stacking.stack([jobs[lane]], 1, stacking.padding_of([jobs[lane]])), Position()))
    alone, losses = jax.tree.map(lambda leaf: leaf[0], (alone, losses))
    among = stacking.take_apart(together[1], lane, shapes_of_one(jobs[lane]).carry_at(END))
    close(alone.params, among.params)
    for term, values in losses.items():
        np.testing.assert_allclose(together[2][term][lane], values, rtol=2e-5, err_msg=term)


def test_a_diverging_fit_leaves_its_neighbours_untouched(jobs, together):
    programs, end, losses = together
    assert not np.isfinite(losses["total"][2]).all()
    assert np.isfinite(losses["total"][:2]).all()
    tame = [*jobs[:2], jobs[0]]
    other, _ = run(programs.of(stacking.stack(tame, 3, PADDING)))
    for a, b in zip(jax.tree.leaves(end), jax.tree.leaves(other), strict=True):
        assert np.array_equal(a[:2], b[:2])
    # The third one is now the first one.
    for leaf in jax.tree.leaves(other):
        assert np.array_equal(leaf[0], leaf[2])


def test_taken_apart_and_put_together(jobs, together):
    programs, end, _ = together
    parts = [stacking.take_apart(end, lane, shapes_of_one(job).carry_at(END)) for lane, job in enumerate(jobs)]
    for part, job in zip(parts, jobs, strict=True):
        assert part.targets.pose.shape == job.clips.init_pose.shape
    again = stacking.put_together(parts, programs.shapes.carry_at(END))
    for a, b, own in zip(
        *map(jax.tree.leaves, (end, again, stacking.take_apart(end, 1, shapes_of_one(jobs[1]).carry_at(END)))),
        strict=True,
    ):
        assert a.shape == b.shape and a.dtype == b.dtype
        inside = (1, *map(slice, own.shape))
        assert np.array_equal(a[inside], b[inside])


def test_fits_go_on_in_other_company(jobs, together):
    """From the same program, from one in which a fit is alone, and from one to the other."""
    programs, end, _ = together
    problem, state = programs.start()
    middles = {
        # The next chunk overwrites the carry.
        chunk.position.stage: (chunk.position, jax.tree.map(np.array, chunk.carry))
        for chunk in programs.run(problem, Position(), state)
        if chunk.position != END
    }
    assert list(middles) == [0, 1, 2]
    for position, carry in middles.values():
        parts = [
            stacking.take_apart(carry, lane, shapes_of_one(job).carry_at(position)) for lane, job in enumerate(jobs)
        ]
        again = stacking.put_together(parts, programs.shapes.carry_at(position))
        *_, last = programs.run(problem, position, jax.tree.map(jnp.asarray, again))
        for lane, job in enumerate(jobs[:2]):
            shapes = shapes_of_one(job).carry_at(END)
            found, expected = (
                stacking.take_apart(jax.tree.map(np.asarray, carry), lane, shapes) for carry in (last.carry, end)
            )
            jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)
    position, carry = middles[2]
    alone = CompiledFit(stacking.stack([jobs[0]], 1, stacking.padding_of([jobs[0]])), position)
    own = stacking.take_apart(carry, 0, shapes_of_one(jobs[0]).carry_at(position))
    *_, last = alone.run(alone.start()[0], position, jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], own))
    close(
        jax.tree.map(lambda leaf: leaf[0], last.carry.params),
        stacking.take_apart(end, 0, shapes_of_one(jobs[0]).carry_at(END)).params,
    )


def test_what_goes_into_one_program(jobs, tiny_job, tiny_body):
    kind = lambda job: stacking.kind_of(job.clips, job.config)
    assert len({kind(job) for job in jobs}) == 1
    wider = dataclasses.replace(tiny_job, config=dataclasses.replace(tiny_job.config, hidden=16))
    nine = stacking.pad_instances(tiny_job.clips, 9)
    more_clips = dataclasses.replace(tiny_job, clips=nine)
    whole = [dataclasses.replace(j, config=dataclasses.replace(j.config, batch_size=-1)) for j in jobs[:2]]
    assert len({kind(job) for job in (tiny_job, wider, more_clips, *whole)}) == 5


def test_equally_many_clips_are_not_padded(jobs):
    padding = stacking.padding_of([jobs[0], jobs[2]])
    assert padding == stacking.Padding(instances=None, frames=32)
    assert stacking.stack([jobs[0]], 1, padding).clips.real is None


def test_a_fit_alone_is_not_padded(jobs):
    padding = stacking.padding_of(jobs[:1])
    assert padding == stacking.Padding(instances=None, frames=None)
    for own, stacked in zip(
        jax.tree.leaves(jobs[0].clips), jax.tree.leaves(stacking.stack(jobs[:1], 1, padding).clips), strict=True
    ):
        assert np.array_equal(own[None], stacked)


@pytest.mark.parametrize(
    ("count", "limit", "devices", "expected"),
    [
        (3, 32, 1, 3),
        (33, 32, 1, 17),
        (64, 32, 1, 32),
        (3, 32, 2, 4),
        (10, 8, 4, 8),
        (9, 8, 4, 8),
        (5, 1, 1, 1),
        (5, 3, 4, 4),
    ],
)
def test_fits_of_one_turn(count, limit, devices, expected):
    size = fits_of_a_turn(count, limit, devices)
    assert size == expected
    assert size % devices == 0


def test_programs_shrink_until_they_fit_into_memory(monkeypatch, jobs):
    class Programs:
        def __init__(self, job, position, used):
            self.memory = 100 * job.key.shape[0]

    monkeypatch.setattr(compiled_programs, "CompiledFit", Programs)
    monkeypatch.setattr(compiled_programs, "_memory", lambda: 250.0)
    _, size, _ = compile_together((jobs * 3)[:8], Position(), None)
    assert size == 2
    # Who asks for more gets it.
    _, size, _ = compile_together((jobs * 3)[:8], Position(), 8)
    assert size == 8


def _untraceable(*args):
    raise AssertionError("it is traced again")


def test_programs_of_a_fit_are_found_by_the_next(tiny_job, tmp_path, monkeypatch):
    """It traces nothing, ends with the same bits, and its chunks overwrite their carry."""
    monkeypatch.delenv("NEMO_KEEP_PROGRAMS")
    kept = {"jax_compilation_cache_dir": str(tmp_path), "jax_persistent_cache_min_compile_time_secs": 1e9}
    before = {name: jax.config.values[name] for name in kept}
    # Also what JAX has in its cache from other tests.
    compiled = compiled_programs.programs._compiled
    anew = lambda key, traced, options, _, lowered=None: compiled(key, traced, options, True, lowered)
    monkeypatch.setattr(compiled_programs.programs, "_compiled", anew)
    config = dataclasses.replace(tiny_job.config, warmup_steps=0, camera_steps=0, joint_steps=2)
    job = stacking.stack([dataclasses.replace(tiny_job, config=config)], 1, stacking.Padding(None, None))
    try:
        for name, value in kept.items():
            jax.config.update(name, value)
        ends = []
        for _ in range(2):
            found = CompiledFit(job, Position())
            problem, state = found.start()
            carries = [chunk.carry for chunk in found.run(problem, Position(), state)]
            assert all(leaf.is_deleted() for leaf in jax.tree.leaves(carries[0]))
            ends.append((jax.tree.map(np.asarray, carries[-1]), found.shapes, found.memory))
            monkeypatch.setattr(compiled_programs.programs, "_compiled", None)
            monkeypatch.setattr("nemo_jax.parallel.over_fits", lambda *args: _untraceable)
            compiled_programs.parallel.functions.cache_clear()
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compiled_programs.parallel.functions.cache_clear()
    assert ends[0][1:] == ends[1][1:]
    for one, other in zip(*(jax.tree.leaves(end[0]) for end in ends), strict=True):
        assert np.array_equal(one, other)
