"""A map, and particles of it in our convention: images, star file, poses and CTF."""

import fake_entry as fake
import foreign_rules as rules
import numpy as np
import pytest
from particle_sets import BOX, PIXEL, Set, our_images, some_ctf, some_poses


@pytest.fixture
def ours(tmp_path, request):
    box = getattr(request, "param", BOX)
    rng = np.random.default_rng(2)
    balls, poses, ctf = rules.Balls(box, seed=5), some_poses(rng), some_ctf(rng)
    images = our_images(balls, poses, ctf)
    stack, star = tmp_path / "particles.mrcs", tmp_path / "particles.star"
    fake.write_stack(stack, images, PIXEL)
    fake.write_star_31(star, poses, ctf, box, rlnPhaseShift=ctf.phase_shift_deg)
    return Set(balls, poses, ctf, images, star, stack)
