"""All particles in the frame of one reference: groups of it and some others, decoded in turn."""

from dataclasses import dataclass

import numpy as np
import torch

from ...errors import OptionError
from ...geometry.poses import Poses
from ...geometry.rotations import nearest_rotations
from ...models.cryofastar.consensus import Ransac
from ...models.cryofastar.model import CryoFastAR
from ...models.cryofastar.poses import poses_of_maps
from ...progress import SILENT, Progress
from .features import ViewFeatures
from .speed import ImagesPerSecond

#: Views that the paper decodes together: the reference and 127 others.
VIEWS = 128


@dataclass(frozen=True)
class FramePoses:
    """Poses of `P` particles in the frame of one of them, and perhaps of the other hand.

    Parameters
    ----------
    reference : index of the particle whose rotation is the identity
    rotations : `(P, 3, 3)` of `x_reference = R @ x_image`
    shifts_px : `(P, 2)` displacement x, y of the content [pixel]
    confidence : `(P,)` mean confidence of the planar map, above 1
    """

    reference: int
    rotations: torch.Tensor
    shifts_px: torch.Tensor
    confidence: torch.Tensor

    @property
    def confidence_of_others(self) -> torch.Tensor:
        """Confidence `(P - 1,)` of all but the reference.

        Its own map is the same whatever it shows, so a trained network is a thousand times as sure
        of it as of any other, which says nothing of the particle.
        """
        others = torch.arange(len(self.confidence)) != self.reference
        return self.confidence[others.to(self.confidence.device)]

    @property
    def is_informed(self) -> bool:
        """Whether confidence tells particles apart at all; untrained weights' does not."""
        others = self.confidence_of_others
        return len(others) > 1 and float(others.std()) > 1e-5 * float(others.mean())

    def to_poses(self, pixel_size_angst: float) -> Poses:
        """Return the poses as a star file has them: origins [angstrom], confidence up to 1.

        Parameters
        ----------
        pixel_size_angst : of the images that were given to the network

        Notes
        -----
        A confidence C = 1 + exp(.) becomes 1 - 1 / C, which keeps its order.
        """
        rotations = nearest_rotations(self.rotations.double().cpu().numpy())
        origins = -pixel_size_angst * self.shifts_px.double().cpu().numpy()
        return Poses(rotations, origins, 1.0 - 1.0 / np.asarray(self.confidence.double().cpu()))


@torch.inference_mode()
def poses_in_one_frame(
    model: CryoFastAR,
    views: ViewFeatures,
    reference: int,
    views_per_group: int = VIEWS,
    groups_at_once: int = 4,
    weighted: bool = True,
    ransac: Ransac | None = None,
    progress: Progress = SILENT,
) -> FramePoses:
    """Return the poses of all particles relative to one.

    Parameters
    ----------
    model : its decoder is run on kept features
    views : of all particles
    reference : index of the particle that is view 0 of every group
    views_per_group : the reference and as many others less one; accuracy grows with it
    groups_at_once : decoded in one pass
    weighted, ransac : of `poses_of_maps`
    progress : told of every particle

    Raises
    ------
    OptionError
        If there are fewer than two particles, or a group would have fewer.

    Notes
    -----
    The last group is filled up with particles of the first ones, so that it is as large as the
    others and nobody is posed with less company; what is said about these there is not used. The
    reference has the identity; its shift and confidence are means over the groups.
    """
    count = len(views)
    if min(count, views_per_group) < 2 or groups_at_once < 1 or not 0 <= reference < count:
        raise OptionError(
            f"{count} particles in groups of {views_per_group}, reference {reference}: a group "
            "needs the reference and one more, and the reference must be one of the particles"
        )
    others = torch.cat([torch.arange(reference), torch.arange(reference + 1, count)])
    size = min(views_per_group - 1, len(others))
    filled = torch.cat([others, others[: -len(others) % size]])
    device = next(model.parameters()).device
    # results stay where they are made: fetching them one group after the other would wait for each
    rotations = torch.empty(len(filled), 3, 3, device=device)
    shifts = torch.empty(len(filled), 2, device=device)
    confidence, own = torch.empty(len(filled), device=device), []
    with progress.task("posing particles", len(others)) as bar:
        advance = ImagesPerSecond(bar)
        for start in range(0, len(filled), size * groups_at_once):
            part = slice(start, start + size * groups_at_once)
            groups = filled[part].view(-1, size)
            index = torch.nn.functional.pad(groups, (1, 0), value=reference)
            features = views.features[index.to(views.features.device)].to(device)
            maps = model.decode(features, views.rows, views.columns, with_images=False)
            found = poses_of_maps(maps, model.convention, weighted=weighted, ransac=ransac)
            rotations[part] = found.rotations[:, 1:].flatten(0, 1).float()
            shifts[part] = found.shifts_px[:, 1:].flatten(0, 1).float()
            confidence[part] = found.confidence[:, 1:].flatten().float()
            own.append((found.shifts_px[:, 0].float(), found.confidence[:, 0].float()))
            advance(min(part.stop, len(others)) - min(start, len(others)))
    result = FramePoses(
        reference,
        torch.eye(3).repeat(count, 1, 1),
        torch.cat([shift for shift, _ in own]).cpu().mean(dim=0).repeat(count, 1),
        torch.cat([c for _, c in own]).cpu().mean().repeat(count),
    )
    result.rotations[others] = rotations[: len(others)].cpu()
    result.shifts_px[others] = shifts[: len(others)].cpu()
    result.confidence[others] = confidence[: len(others)].cpu()
    return result
