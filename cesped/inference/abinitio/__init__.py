"""Poses of many particles without a reference map: CryoFastAR paper, section 4.3."""
