"""Fits that share a program are the fits that they are alone, whatever happens to the others."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.fitting import batch
from experiments.fitting.batch import _even
from experiments.fitting.compiled_programs import CompiledFit, Position
from experiments.loaders import synthetic
from nemo_jax import objective, parallel

END = Position(3)
SLOTS = batch.Slots(instances=3, frames=32)


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
    """To 2e-4 of the largest number of each array."""
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True):
        assert a.shape == b.shape
        scale = max(float(np.abs(a).max()), 1e-3)
        np.testing.assert_allclose(b, a, atol=2e-4 * scale, err_msg=jax.tree_util.keystr(path))


@pytest.fixture(scope="module")
def together(jobs):
    """Programs and the end of all three."""
    programs, size, slots = batch.compiled(jobs, Position(), None)
    assert (size, slots) == (3, SLOTS)
    return programs, *run(programs)


def test_chunks_overwrite_their_stacked_carry(together):
    programs = together[0]
    chunks = [
        program for key, program in programs._programs.items() if isinstance(key, tuple) and isinstance(key[1], int)
    ]
    assert len(chunks) >= len(programs.job.stages)
    assert all(program.memory_analysis().alias_size_in_bytes > 0 for program in chunks)


def test_batches_do_not_see_the_padding(jobs):
    wide = batch.stack(jobs, 3, SLOTS).clips
    for lane, job in enumerate(jobs):
        own = jax.tree.map(lambda leaf, lane=lane: jnp.asarray(leaf[lane]), wide)
        assert (own.num_instances, own.num_frames) == SLOTS
        drawn = [objective.sample_batch(jax.random.key(1), clips, 1000) for clips in (job.clips, own)]
        assert np.array_equal(drawn[0].instance, drawn[1].instance)
        assert np.array_equal(drawn[0].frame, drawn[1].frame)


def test_alone_and_among_others(jobs, together):
    """Another program adds in another order: a tiny fit ends within 2e-4 of the largest number of each array."""
    lane = 0
    alone, losses = run(CompiledFit(jobs[lane], Position()))
    among = batch.take_apart(together[1], lane, jobs[lane].carry_at(END))
    close(alone.params, among.params)
    for term, values in losses.items():
        np.testing.assert_allclose(together[2][term][lane], values, rtol=2e-5, err_msg=term)


def test_a_diverging_fit_leaves_its_neighbours_untouched(jobs, together):
    programs, end, losses = together
    assert not np.isfinite(losses["total"][2]).all()
    assert np.isfinite(losses["total"][:2]).all()
    tame = [*jobs[:2], jobs[0]]
    other, _ = run(programs.of(batch.stack(tame, 3, SLOTS)))
    for a, b in zip(jax.tree.leaves(end), jax.tree.leaves(other), strict=True):
        assert np.array_equal(a[:2], b[:2])
    # The third one is now the first one.
    for leaf in jax.tree.leaves(other):
        assert np.array_equal(leaf[0], leaf[2])


def test_taken_apart_and_put_together(jobs, together):
    programs, end, _ = together
    parts = [batch.take_apart(end, lane, job.carry_at(END)) for lane, job in enumerate(jobs)]
    for part, job in zip(parts, jobs, strict=True):
        assert part.targets.pose.shape == job.clips.init_pose.shape
    again = batch.put_together(parts, programs.job.carry_at(END))
    for a, b, own in zip(
        *map(jax.tree.leaves, (end, again, batch.take_apart(end, 1, jobs[1].carry_at(END)))), strict=True
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
        parts = [batch.take_apart(carry, lane, job.carry_at(position)) for lane, job in enumerate(jobs)]
        again = batch.put_together(parts, programs.job.carry_at(position))
        *_, last = programs.run(problem, position, jax.tree.map(jnp.asarray, again))
        for lane, job in enumerate(jobs[:2]):
            shapes = job.carry_at(END)
            found, expected = (
                batch.take_apart(jax.tree.map(np.asarray, carry), lane, shapes) for carry in (last.carry, end)
            )
            jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)
    position, carry = middles[2]
    alone = CompiledFit(jobs[0], position)
    own = batch.take_apart(carry, 0, jobs[0].carry_at(position))
    *_, last = alone.run(alone.start()[0], position, jax.tree.map(jnp.asarray, own))
    close(last.carry.params, batch.take_apart(end, 0, jobs[0].carry_at(END)).params)


def test_what_goes_into_one_program(jobs, tiny_job, tiny_body):
    kind = batch.kind_of
    assert len({kind(job) for job in jobs}) == 1
    wider = dataclasses.replace(tiny_job, config=dataclasses.replace(tiny_job.config, hidden=16))
    nine = parallel.pad_instances(tiny_job.clips, 9)
    more_clips = dataclasses.replace(tiny_job, clips=nine)
    whole = [dataclasses.replace(j, config=dataclasses.replace(j.config, batch_size=-1)) for j in jobs[:2]]
    assert len({kind(job) for job in (tiny_job, wider, more_clips, *whole)}) == 5


def test_equally_many_clips_are_not_padded(jobs):
    slots = batch.slots_of([jobs[0], jobs[2]])
    assert slots == batch.Slots(instances=None, frames=32)
    assert batch.stack([jobs[0]], 1, slots).clips.real is None


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
    size = _even(count, limit, devices)
    assert size == expected
    assert size % devices == 0


def test_programs_shrink_until_they_fit_into_memory(monkeypatch, jobs):
    class Programs:
        def __init__(self, job, position):
            self.memory = 100 * job.key.shape[0]

    monkeypatch.setattr(batch, "CompiledFit", Programs)
    monkeypatch.setattr(batch, "_memory", lambda: 250.0)
    _, size, _ = batch.compiled((jobs * 3)[:8], Position(), None)
    assert size == 2
    # Who asks for more gets it.
    _, size, _ = batch.compiled((jobs * 3)[:8], Position(), 8)
    assert size == 8
