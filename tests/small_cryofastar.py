"""A CryoFastAR of a few thousand numbers, for images of 16 px."""

#: Its sizes.
SIZES = {
    "patch_px": 8,
    "encoder_width": 16,
    "encoder_depth": 1,
    "encoder_heads": 2,
    "decoder_width": 16,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "neck_width": 8,
}

#: Settings of a recipe that make it a model of the benchmark.
SETTINGS = {
    "model.name": "cryofastar",
    "model.preset": None,
    "model.size": SIZES,
    "model.views": 4,
    "model.first_views": 2,
    "model.anchors": 6,
    "model.references": 2,
}
