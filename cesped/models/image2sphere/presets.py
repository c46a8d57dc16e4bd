"""Named configurations of Image2Sphere."""

from typing import Any

#: For small images and two CPU cores: 32 px, trains in minutes.
SMALL: dict[str, Any] = {
    "encoder": "compact",
    "widths": [32, 64, 128],
    "blocks": [1, 1, 1],
    "l_max": 6,
    "sphere_features": 64,
    "so3_features": 16,
    "projector_order": 3,
    "filter_order": 2,
    "grid_order": 2,
    "label_width_deg": 8.0,
}

#: CESPED paper, appendix B: 256 px, 7.5 and 3.7 degrees. Tables are separable: 60 MB, seconds.
PAPER: dict[str, Any] = {
    "encoder": "resnet152",
    "l_max": 8,
    "sphere_features": 512,
    "so3_features": 16,
    "projector_order": 3,
    "filter_order": 3,
    "grid_order": 4,
    "label_smoothing": 0.1,
}

PRESETS = {"small": SMALL, "paper": PAPER}
