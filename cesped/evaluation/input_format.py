"""What the evaluation expects to be given, in words and as a file that it reads."""

from cesped.vocabulary import PredictionType

#: Columns that are read beside rlnImageName, and what they say.
_COLUMNS = {
    "rlnImageName": "the particle's id, spelled as in the entry: 000001@particles_0.mrcs",
    "rlnAngleRot": "Euler angle of R = Rz(rot) Ry(tilt) Rz(psi), intrinsic ZYZ [degrees]",
    "rlnAngleTilt": "the next one; rot and tilt alone give the viewing direction [degrees]",
    "rlnAnglePsi": "the last one, in the image plane [degrees]",
    "rlnOriginXAngst": "what must be added to x to bring the particle to the centre [angstrom]",
    "rlnOriginYAngst": "the same along y [angstrom]",
    "rlnParticleFigureOfMerit": "confidence, 0 or more; only its order and ratios within a half "
    "count",
}
_USED = {
    PredictionType.S2: "rot and tilt are scored; psi may hold anything (write 0), maps use the "
    "true psi and shifts",
    PredictionType.SO3: "rot, tilt and psi are scored; maps use the true shifts",
    PredictionType.SO3XR2: "rot, tilt, psi and the origins are scored and used for the maps",
}
_EXAMPLE = """\
data_optics

loop_
_rlnOpticsGroup #1
_rlnImagePixelSize #2
1 1.5

data_particles

loop_
_rlnImageName #1
_rlnAngleRot #2
_rlnAngleTilt #3
_rlnAnglePsi #4
_rlnOriginXAngst #5
_rlnOriginYAngst #6
_rlnParticleFigureOfMerit #7
_rlnOpticsGroup #8
000001@particles_0.mrcs  12.5  80.1  -33.0  0.75  -1.5  0.91  1
000002@particles_0.mrcs  -7.0  15.9  120.4  0.00   2.2  0.08  1
"""


def example_predictions() -> str:
    """Return a small star file of predictions, as the evaluation reads it."""
    return _EXAMPLE


def expected_input_format() -> str:
    """Return what files of predictions must hold; docs/metrics.md says what becomes of them."""
    width = max(map(len, _COLUMNS))
    columns = "\n".join(f"  {name:<{width}}  {meaning}" for name, meaning in _COLUMNS.items())
    used = "\n".join(f"  {kind.value:<6}  {meaning}" for kind, meaning in _USED.items())
    return f"""\
Two star files, one for each half of the entry. The poses of a half are predicted by a model that
has not seen that half. Each particle of the half occurs once, in any order; rows are matched by
rlnImageName. A missing, doubled or foreign particle, and a value that is no finite number, is an
error that names file and row.

Columns (others are ignored):
{columns}

The two origins may be left out (then they count as 0) or given in pixels (rlnOriginX, rlnOriginY).
Without rlnParticleFigureOfMerit all particles weigh 1. RELION 3.0, 3.1 and 5.0 forms are read.

Which of them count, by --predictionType:
{used}

Example:

{_EXAMPLE}"""
