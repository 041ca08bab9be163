"""Pose priors. `Priors` holds those a fit uses; what is None is not computed."""

from body_models.pytree import pytree
from nemo_jax.priors.gmm import GaussianMixture as GaussianMixture
from nemo_jax.priors.gmm import gmm_prior_loss as gmm_prior_loss
from nemo_jax.priors.joint_limits import LIMIT_INSIDE as LIMIT_INSIDE
from nemo_jax.priors.joint_limits import JointLimits as JointLimits
from nemo_jax.priors.joint_limits import joint_limit_loss as joint_limit_loss
from nemo_jax.priors.joint_limits import limit_residuals as limit_residuals
from nemo_jax.priors.joint_limits import published_limits as published_limits
from nemo_jax.priors.joint_limits import reach as reach
from nemo_jax.priors.limbs import LimbPrior as LimbPrior
from nemo_jax.priors.limbs import limb_loss as limb_loss
from nemo_jax.priors.limbs import limb_residuals as limb_residuals
from nemo_jax.priors.limbs import open_limbs as open_limbs
from nemo_jax.priors.motion import MotionPrior as MotionPrior
from nemo_jax.priors.motion import motion_loss as motion_loss
from nemo_jax.priors.motion import open_motion as open_motion
from nemo_jax.priors.vposer import VPoser as VPoser
from nemo_jax.priors.vposer import batch_terms as batch_terms
from nemo_jax.priors.vposer import vposer_terms as vposer_terms


@pytree
class Priors:
    """joint_limits: published ranges of motion. limbs: the open learned prior over poses. motion: that over
    short motions. gmm: SMPLify's mixture. vposer: VPoser
    V02_05."""

    joint_limits: JointLimits | None = None
    limbs: LimbPrior | None = None
    motion: MotionPrior | None = None
    gmm: GaussianMixture | None = None
    vposer: VPoser | None = None


def open_priors() -> Priors:
    """The priors that need no licensed file, which the default preset uses."""
    return Priors(joint_limits=published_limits(), limbs=open_limbs(), motion=open_motion())
