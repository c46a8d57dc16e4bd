"""Which particle the others are posed relative to."""

from dataclasses import dataclass

import torch

from ...errors import OptionError
from ...models.cryofastar.model import CryoFastAR
from ...progress import SILENT, Progress
from .features import ViewFeatures

#: Confidences that differ by less, relatively, do not tell views apart.
_SAME_CONFIDENCE = 1e-5


@dataclass(frozen=True)
class ReferenceChoice:
    """The particle that was chosen, and what the choice rests on.

    Parameters
    ----------
    index : of the particle, from 0
    candidates : `(K,)` indices that were tried
    scores : `(K,)` mean confidence of the fixed targets, as seen from each candidate
    """

    index: int
    candidates: torch.Tensor
    scores: torch.Tensor

    @property
    def is_informed(self) -> bool:
        """Whether confidence told the candidates apart at all; untrained weights do not."""
        spread = float(self.scores.max() - self.scores.min())
        return spread > _SAME_CONFIDENCE * float(self.scores.mean())


@torch.inference_mode()
def choose_reference(
    model: CryoFastAR,
    views: ViewFeatures,
    generator: torch.Generator,
    candidates: int = 64,
    targets: int = 31,
    samples_at_once: int = 8,
    progress: Progress = SILENT,
) -> ReferenceChoice:
    """Return the candidate from which fixed other views are seen with most confidence.

    Parameters
    ----------
    model : its decoder is run on kept features, so a candidate costs no encoding
    views : of all particles
    generator : draws candidates and targets, on the CPU
    candidates : tried as reference; the paper has 64
    targets : fixed views that all candidates are held against, none of them a candidate
    samples_at_once : candidates in one pass
    progress : told of every candidate

    Raises
    ------
    OptionError
        If there are fewer than two particles, or a number is below 1.
    """
    if len(views) < 2:
        raise OptionError(f"poses are relative: {len(views)} particle is too few; give 2 or more")
    if min(candidates, targets, samples_at_once) < 1:
        raise OptionError("numbers of candidates, targets and samples must be 1 or more")
    order = torch.randperm(len(views), generator=generator)
    fixed_count = min(targets, max(1, len(views) - candidates))
    fixed = order[:fixed_count]
    tried = order[fixed_count : fixed_count + candidates]
    scores = []
    device = next(model.parameters()).device
    with progress.task("choosing a reference", len(tried)) as advance:
        for some in torch.split(tried, samples_at_once):
            index = torch.cat([some[:, None], fixed.expand(len(some), -1)], dim=1)
            features = views.features[index.to(views.features.device)].to(device)
            maps = model.decode(features, views.rows, views.columns, with_images=False)
            scores.append(maps.confidence[:, 1:].mean(dim=(1, 2, 3)).float().cpu())
            advance(len(some))
    scored = torch.cat(scores)
    return ReferenceChoice(int(tried[int(scored.argmax())]), tried, scored)
