"""Image2Sphere (Klee et al., ICLR 2023): the baseline model of the CESPED paper."""
