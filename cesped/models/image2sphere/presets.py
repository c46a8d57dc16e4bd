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

#: CESPED paper, appendix B: grids of 7.5 and 3.7 degrees. Tables are separable: 60 MB, seconds.
PAPER: dict[str, Any] = {
    "encoder": "resnet152",
    "input_px": 256,
    "sigmas_px": [1.0, 2.0],
    "l_max": 8,
    "sphere_features": 512,
    "so3_features": 16,
    "projector_order": 3,
    "sampled_share": 0.5,
    "rectify_points": True,
    "filter_order": 3,
    "grid_order": 4,
    "label_smoothing": 0.1,
    "decoding": "argmax",
}

#: What newer work adds to it, each an option that can be switched off by itself: more input
#: channels, higher degrees, soft labels, less smoothing, copies of the image turned at test time,
#: decoding below the grid.
STRONG: dict[str, Any] = {
    **PAPER,
    "encoder": "resnet50",
    "sigmas_px": [0.75, 1.0, 1.5, 2.0, 3.0, 4.0],
    "l_max": 12,
    "label_width_deg": 3.0,
    "label_smoothing": 0.05,
    "decoding": "mean",
    "test_time_turns": 4,
}

PRESETS = {"small": SMALL, "paper": PAPER, "strong": STRONG}
