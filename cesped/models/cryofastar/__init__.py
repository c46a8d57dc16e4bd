"""CryoFastAR: poses of many views at once, as Fourier planar maps (Zhang et al., 2025)."""
