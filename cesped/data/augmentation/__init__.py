"""Changing training images at random, and their poses with them.

`Augmenter` follows a recipe of named operations. Operations that move the image (`geometric`) give
an `InPlaneMove`, which moves the pose too; all moves of an image become one interpolation
(`cesped.data.warp`). Operations on grey values (`grey`) come after and leave the pose alone.
"""

from cesped.data.augmentation.augmenter import AugmentedBatch, Augmenter
from cesped.data.augmentation.operation import (
    GeometricOperation,
    GreyOperation,
    operation_names,
    register_operation,
)
from cesped.data.augmentation.recipe import (
    AugmentationPlan,
    PlannedOperation,
    load_plan,
    plan_names,
)
from cesped.data.warp import move_images

__all__ = [
    "AugmentationPlan",
    "AugmentedBatch",
    "Augmenter",
    "GeometricOperation",
    "GreyOperation",
    "PlannedOperation",
    "load_plan",
    "move_images",
    "operation_names",
    "plan_names",
    "register_operation",
]
