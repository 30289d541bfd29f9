"""The control vector: how far each branch of the controller goes from a source towards a reference."""

from collections.abc import Mapping

import torch

from redirection.attributes import ANGLES, Attributes

FURTHEST = 2.0  # a step beyond the reference is an extrapolation; the method is meant for less than 2
NAMES = {"P": "head yaw", "V": "vertical gaze", "H": "horizontal gaze"}


def control_vector(
    attributes: Attributes, source: Mapping[str, float], reference: Mapping[str, float], wanted: Mapping[str, float]
) -> torch.Tensor:
    """v [branches] with v_k = (wanted - source) / (reference - source) for each angle that is wanted, 0 elsewhere.

    Linear in the angle, as on the poster of Controllable Continuous Gaze Redirection: source (-15P, 0V, 15H), reference
    (15P, 0V, -15H) and wanted (0P, 0V, -5H) give P 0.5, H 0.667, V 0, others 0.
    Args:    three mappings from P, V, H to degrees; an angle that `wanted` leaves out stays as it is
    Errors:  ValueError for an angle that no branch moves, that the reference does not differ in, or that is too far
    """
    v = torch.zeros(attributes.branches)
    for angle, degrees in wanted.items():
        if angle not in ANGLES:
            raise ValueError(f"'{angle}' is no angle; give P, V or H")
        if degrees == source[angle]:
            continue
        branch, between = attributes.branch_of(angle), reference[angle] - source[angle]
        if branch is None:
            raise ValueError(
                f"no branch of these weights moves {angle} ({NAMES[angle]}); leave it as the source has it"
            )
        if between == 0:
            raise ValueError(
                f"{angle}={degrees:g}: source and reference both have {source[angle]:g} degrees of {NAMES[angle]}; "
                "take a reference that differs in it"
            )
        v[branch] = (degrees - source[angle]) / between
        if not -FURTHEST < v[branch] < FURTHEST:
            raise ValueError(
                f"{angle}={degrees:g}: is {v[branch]:.3g} times the way from {source[angle]:g} to {reference[angle]:g} "
                f"degrees; stay below {FURTHEST:g}, or take a reference nearer to it"
            )
    return v
