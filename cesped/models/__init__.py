"""Pose models: tensors in, PosePrediction out."""
