"""Pose priors. `Priors` holds those a fit uses; what is None is not computed."""

from body_models.pytree import pytree
from nemo_jax.priors.joint_limits import JointLimits as JointLimits
from nemo_jax.priors.joint_limits import joint_limit_loss as joint_limit_loss
from nemo_jax.priors.joint_limits import published_limits as published_limits


@pytree
class Priors:
    """joint_limits: the licence-free default."""

    joint_limits: JointLimits | None = None
