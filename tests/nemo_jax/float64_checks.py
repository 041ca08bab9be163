"""Gradients of the whole losses against central differences, in float64: a program of its own, run by `test_gradients`.

Prints JSON: case -> parameter -> [slope by the gradient, slope by differences] along one random direction.
"""

import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

from nemo_jax import batches, camera_search, model, objective
from nemo_jax.priors import Priors, published_limits
from tests.nemo_jax import helpers, points

STEP = 1e-6


def slopes_of(loss, params):
    """A function params -> parameter -> slopes of `loss` along a random direction of that leaf, both ways."""
    flat, tree = jax.tree_util.tree_flatten_with_path(params)
    names = [jax.tree_util.keystr(path) for path, _ in flat]
    rng = np.random.default_rng(0)
    directions = [rng.normal(size=leaf.shape) / np.sqrt(leaf.size) for _, leaf in flat]
    # The first shift of a linear start stands on relu's kink.
    directions[names.index(".phase['shifts']")][:, 0] = 0

    @jax.jit
    def run(params):
        values = tree.flatten_up_to(params)
        gradient = tree.flatten_up_to(jax.grad(loss)(params))

        def along(which, step):
            moved = [v + step * (which == i) * d for i, (v, d) in enumerate(zip(values, directions, strict=True))]
            return loss(tree.unflatten(moved))

        ends = jax.vmap(jax.vmap(along, (0, None)), (None, 0))(jnp.arange(len(values)), jnp.asarray([STEP, -STEP]))
        by_gradient = jnp.stack([jnp.sum(g * d) for g, d in zip(gradient, directions, strict=True)])
        return by_gradient, (ends[0] - ends[1]) / (2 * STEP)

    def report(params):
        found = run(params)
        return {name: [float(x[i]) for x in found] for i, name in enumerate(names) if name != ".mirrored"}

    return report


def main():
    scene = helpers.scene(lengths=(4, 6))
    clips, body = helpers.as_float64(scene.clips), helpers.as_float64(helpers.body())
    limits = Priors(joint_limits=helpers.as_float64(published_limits()))
    targets = dataclasses.replace(camera_search.targets_from(clips), root_mask=clips.frame_mask)
    batch = batches.full_batch(clips)
    report = {}

    def check(name, config, priors, places, warmup=False, but=()):
        assets = jax.jit(model.prepare)(clips, body, priors, config)

        def loss(params):
            if warmup:
                return objective.warmup_loss(params, config, clips, targets, batch)[0]
            return objective.joint_loss(params, assets, config, clips, targets, batch)[0]

        params = {where: helpers.as_float64(points.at(where, config, clips)) for where in places}
        run = slopes_of(loss, params[places[0]])
        for where in places:
            report[f"{name} at {where}"] = {leaf: both for leaf, both in run(params[where]).items() if leaf not in but}

    # The directions in which depths of first poses count are taken as given; `test_depth` has the rest.
    roots = helpers.tiny_config(weight_depth=0.0)
    default = dataclasses.replace(roots, init_root=0.0)
    published = helpers.tiny_config(
        kernel="quadratic", log_scale=0.0, init_space="axis_angle", keypoint_loss="rmse_robust", person_size=0.0,
        principal_swapped=True, visible_box=False, near=0.0, weight_depth=0.0,
    )  # fmt: skip
    check("default", default, limits, ("start", "zero", "somewhere"))
    # Cameras get no gradient of how roots are turned; `test_roots` has that.
    check("roots", roots, Priors(), ("somewhere",), but=(".cameras",))
    # The logarithm, which the limits look at, jumps at pi.
    check("default without limits", default, Priors(), ("pi",))
    check("published", published, Priors(), ("somewhere",))
    check("warm-up", default, Priors(), ("pi",), warmup=True)
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
