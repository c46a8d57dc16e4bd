"""How CryoSPARC and cryoDRGN make an image of a map, restated from their documents, slowly.

Nothing of the package is used, and the map is a formula: float64 sums over its balls, for every
frequency of the image. An image is [y, x], its origin at pixel N//2.
"""

import numpy as np

SIGMA_PX = 1.3


class Balls:
    """Gaussian balls without symmetry or handedness to hide behind: a map in closed form."""

    def __init__(self, box, seed):
        rng = np.random.default_rng(seed)
        self.box = box
        self.centres_px = rng.normal(size=(12, 3)) * box / 9  # x, y, z
        self.weights = rng.uniform(0.5, 2, 12)

    def volume(self):
        """The map sampled at voxels `(box, box, box)`."""
        z, y, x = np.indices((self.box,) * 3) - self.box // 2
        at = np.stack([x, y, z], axis=-1)[..., None, :] - self.centres_px
        return np.exp(-(at**2).sum(-1) / (2 * SIGMA_PX**2)) @ self.weights


def frequencies(box):
    """Return fftfreq-ordered `(box, box, 2)` frequencies (x, y) in cycles per pixel."""
    line = np.fft.fftfreq(box)
    return np.stack(np.meshgrid(line, line, indexing="xy"), axis=-1)


def central_slice(balls, rotation_rows):
    """Transform of the map at the image's frequencies, as row vectors `k @ rotation_rows`."""
    k = frequencies(balls.box)
    flat = np.concatenate([k, np.zeros((*k.shape[:2], 1))], axis=-1)
    phases = np.exp(-2j * np.pi * (flat @ rotation_rows) @ balls.centres_px.T)
    values = (phases @ balls.weights) * np.exp(-2 * np.pi**2 * SIGMA_PX**2 * (k**2).sum(-1))
    values[(np.abs(k) >= 0.5 - 1e-9).any(axis=-1)] = 0  # a frequency that has no negative
    return values


def image_of(spectrum):
    """Return the image `[y, x]` whose origin is pixel N//2."""
    return np.fft.fftshift(np.fft.ifft2(spectrum)).real


def cryodrgn_ctf(box, pixel_size, dfu, dfv, angle_deg, kv, cs_mm, w, phase_deg):
    """The formula of cryoDRGN's documents: -w at frequency 0."""
    k = frequencies(box) / pixel_size
    s2 = (k**2).sum(-1)
    volt = 1e3 * kv
    lam = 12.2639 / np.sqrt(volt + 0.97845e-6 * volt**2)
    azimuth = np.arctan2(k[..., 1], k[..., 0])
    df = 0.5 * (dfu + dfv + (dfu - dfv) * np.cos(2 * (azimuth - np.radians(angle_deg))))
    gamma = 2 * np.pi * (-0.5 * df * lam * s2 + 0.25 * 1e7 * cs_mm * lam**3 * s2**2)
    gamma -= np.radians(phase_deg)
    return np.sqrt(1 - w**2) * np.sin(gamma) - w * np.cos(gamma)


def cryodrgn_image(balls, matrix, translation_fraction, ctf_row):
    """The image that cryoDRGN explains by this pose, as it lies in the file.

    Images are inverted on reading, moved by +translation to the centre, and compared with the CTF
    times the slice `k @ matrix`.
    """
    box = balls.box
    dimension, pixel_size, *optics = ctf_row
    ctf = cryodrgn_ctf(box, pixel_size * dimension / box, *optics)
    moved_back = np.exp(2j * np.pi * (frequencies(box) @ (np.asarray(translation_fraction) * box)))
    return -image_of(central_slice(balls, matrix) * ctf * moved_back)


def matrix_of(rotation_vector):
    """Rodrigues' formula, written out."""
    angle = np.linalg.norm(rotation_vector)
    x, y, z = rotation_vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def cryosparc_image(balls, row):
    """The image that CryoSPARC explains by a row of its file, `blob/sign` applied.

    Its rotation takes column vectors of the image to the map, which is the transposed matrix for
    row vectors; the shift in pixels of the refinement centres the particle.
    """
    box, pixel_size = balls.box, float(row["blob/psize_A"])
    ctf = -cryodrgn_ctf(
        box,
        pixel_size,
        float(row["ctf/df1_A"]),
        float(row["ctf/df2_A"]),
        np.degrees(float(row["ctf/df_angle_rad"])),
        float(row["ctf/accel_kv"]),
        float(row["ctf/cs_mm"]),
        float(row["ctf/amp_contrast"]),
        np.degrees(float(row["ctf/phase_shift_rad"])),
    )
    rotation = matrix_of(row["alignments3D/pose"].astype(float))
    shift_angst = row["alignments3D/shift"].astype(float) * float(row["alignments3D/psize_A"])
    moved_back = np.exp(2j * np.pi * (frequencies(box) @ (shift_angst / pixel_size)))
    image = image_of(central_slice(balls, rotation.T) * ctf * moved_back)
    return image * float(row["blob/sign"])


def correlations(images, others):
    """Pearson correlation of each image with its partner."""
    flat = [np.asarray(stack, float).reshape(len(stack), -1) for stack in (images, others)]
    one, two = (stack - stack.mean(axis=1, keepdims=True) for stack in flat)
    return (one * two).sum(1) / np.sqrt((one**2).sum(1) * (two**2).sum(1))
