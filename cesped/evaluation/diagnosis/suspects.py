"""The misreadings of a star file that are looked for: what each means, and what to do about it.

Orientations. A pose has three Euler angles, and programs differ in their signs, in their order,
and in which way image axes run. Most of these differences are not seen by images, because no
image knows how the map is turned in space (a rotation on the *left* of all poses) nor its hand: a
map and its mirror image have the same projections, those of the mirrored map being seen after a
half turn in the image plane, so all poses times `Rz(180)` fit just as well. What is left are
three readings of the angles (as they are; transposed, which is the inverse rotation; psi with the
other sign), each with four readings of the image axes (as they are; mirrored, which is the same
particle seen from behind; turned by 90 degrees; x and y exchanged). To these comes one that is no
convention: angles written in radians.

Shifts have eight readings of their axes (either sign, x and y exchanged) and some of their unit.

How a file is read in each of these ways is in `cesped.evaluation.diagnosis.undoing`.
"""

from dataclasses import dataclass

from cesped.vocabulary import Suspicion

AS_GIVEN = "as given"


@dataclass(frozen=True)
class Misreading:
    """One way in which a file may be misread.

    Parameters
    ----------
    name : unique among those of its kind
    meaning : what is wrong if this reading fits better, a clause
    remedy : what to do about it, a sentence without its full stop
    """

    name: str
    meaning: str = "nothing is wrong"
    remedy: str = "nothing is to be done"


MIRRORED, QUARTER_TURN, EXCHANGED = "mirrored", "quarter turn", "axes exchanged"
#: Readings of the image axes: meaning and remedy.
_IMAGE_AXES: dict[str, tuple[str, str]] = {
    AS_GIVEN: ("", ""),
    MIRRORED: (
        "the images are mirrored against their poses",
        "flip each image left to right (or upside down), or turn each pose R into R Ry(180)",
    ),
    QUARTER_TURN: (
        "the images are turned by 90 degrees against their poses",
        "turn each image by 90 degrees, or add 90 to rlnAnglePsi; the direction of the turn is not "
        "seen from images, because it sets the hand of the map",
    ),
    EXCHANGED: (
        "x and y of the images are exchanged against their poses",
        "transpose each image, or exchange x and y where images or poses were written",
    ),
}

TRANSPOSED, PSI_NEGATED = "transposed", "psi negated"
#: Readings of the angles: meaning and remedy.
_ANGLES: dict[str, tuple[str, str]] = {
    AS_GIVEN: ("", ""),
    TRANSPOSED: (
        "the rotations are transposed: inverse rotations were written",
        "write the transposed matrix of each pose, which is (-psi, -tilt, -rot) in place of "
        "(rot, tilt, psi)",
    ),
    PSI_NEGATED: (
        "psi has the wrong sign (or rot has)",
        "change the sign of rlnAnglePsi",
    ),
}

RADIANS = "radians"


def _joined(angles: str, axes: str) -> str:
    words = [word for word in (angles, axes) if word != AS_GIVEN]
    return " and ".join(words) or AS_GIVEN


def _orientation(angles: str, axes: str) -> Misreading:
    name = _joined(angles, axes)
    if name == AS_GIVEN:
        return Misreading(name)
    meanings = [text for text in (_ANGLES[angles][0], _IMAGE_AXES[axes][0]) if text]
    remedies = [text for text in (_ANGLES[angles][1], _IMAGE_AXES[axes][1]) if text]
    return Misreading(name, ", and ".join(meanings), "; then ".join(remedies))


#: How angles and image axes are read in each of the orientations.
ORIENTATION_PARTS = {
    _joined(angles, axes): (angles, axes) for angles in _ANGLES for axes in _IMAGE_AXES
}
ORIENTATIONS: dict[str, Misreading] = {
    name: _orientation(*parts) for name, parts in ORIENTATION_PARTS.items()
}
ORIENTATIONS[RADIANS] = Misreading(
    RADIANS,
    "the angles are in radians",
    "multiply rlnAngleRot, rlnAngleTilt and rlnAnglePsi by 180 / pi",
)

#: `(2, 2)` that shifts are multiplied by.
SHIFT_MATRICES: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    AS_GIVEN: ((1, 0), (0, 1)),
    "negated": ((-1, 0), (0, -1)),
    "x and y exchanged": ((0, 1), (1, 0)),
    "x negated": ((-1, 0), (0, 1)),
    "y negated": ((1, 0), (0, -1)),
    "exchanged and negated": ((0, -1), (-1, 0)),
    "exchanged, x negated": ((0, -1), (1, 0)),
    "exchanged, y negated": ((0, 1), (-1, 0)),
}
#: Signs and order of the shifts, which are independent of the orientations.
SHIFT_AXES = tuple(SHIFT_MATRICES)

IGNORED, IN_PIXELS, IN_ANGST = "ignored", "in pixels", "in angstrom"
DOUBLED, HALVED = "twice too small", "twice too large"

SHIFTS: dict[str, Misreading] = {AS_GIVEN: Misreading(AS_GIVEN)} | {
    name: Misreading(
        name,
        f"the shifts are misread: they fit if {what}",
        f"{remedy} rlnOriginXAngst and rlnOriginYAngst",
    )
    for name, what, remedy in (
        ("negated", "both signs are changed", "change the sign of"),
        ("x and y exchanged", "x and y are exchanged", "exchange"),
        ("x negated", "x changes its sign", "change the sign of x in"),
        ("y negated", "y changes its sign", "change the sign of y in"),
        ("exchanged and negated", "x and y are exchanged and negated", "exchange and negate"),
        ("exchanged, x negated", "x is the given -y, and y the given x", "correct the axes of"),
        ("exchanged, y negated", "x is the given y, and y the given -x", "correct the axes of"),
        (IGNORED, "they are left out", "set to 0, or find anew,"),
        (IN_PIXELS, "they are taken as pixels, not angstrom", "multiply by the pixel size"),
        (IN_ANGST, "they are taken as angstrom, not pixels", "divide by the pixel size"),
        (DOUBLED, "they are doubled", "multiply by 2"),
        (HALVED, "they are halved", "divide by 2"),
    )
}

ROW_AFTER, ROW_BEFORE = "row after", "row before"
ROWS: dict[str, Misreading] = {
    AS_GIVEN: Misreading(AS_GIVEN),
    ROW_AFTER: Misreading(
        ROW_AFTER,
        "rows are off by one: each image belongs to the pose of the row after its own",
        "count the images of a stack from 1, and see where the first row was lost",
    ),
    ROW_BEFORE: Misreading(
        ROW_BEFORE,
        "rows are off by one: each image belongs to the pose of the row before its own",
        "count the images of a stack from 1, and see where a row was doubled",
    ),
}

RAW = "raw"
NO_CTF, FLIPPED, MULTIPLIED = "already corrected", "phase flipped", "multiplied by the CTF"
ANGLE_TRANSPOSED, ANGLE_NEGATED = "astigmatism transposed", "astigmatism mirrored"
ANGLE_TURNED = "astigmatism turned"
OTHER_ROWS = "CTF of other particles"
CTFS: dict[str, Misreading] = {
    AS_GIVEN: Misreading(AS_GIVEN),
    NO_CTF: Misreading(
        NO_CTF,
        "the images carry no contrast transfer, or not this one",
        "remove the defocus columns if the images were corrected, or correct the defocus",
    ),
    RAW: Misreading(
        RAW,
        "the images are raw, though the file says that their CTF was corrected",
        "set rlnCtfDataArePhaseFlipped and rlnCtfDataAreCtfPremultiplied to 0",
    ),
    FLIPPED: Misreading(
        FLIPPED,
        "the phases of the images are flipped already",
        "set rlnCtfDataArePhaseFlipped to 1, and ask for no CTF correction",
    ),
    MULTIPLIED: Misreading(
        MULTIPLIED,
        "the images are multiplied by their CTF already",
        "set rlnCtfDataAreCtfPremultiplied to 1, and ask for no CTF correction",
    ),
    ANGLE_TRANSPOSED: Misreading(
        ANGLE_TRANSPOSED,
        "the axis of astigmatism is transposed",
        "replace rlnDefocusAngle by 90 minus it",
    ),
    ANGLE_NEGATED: Misreading(
        ANGLE_NEGATED,
        "the axis of astigmatism is mirrored",
        "change the sign of rlnDefocusAngle",
    ),
    ANGLE_TURNED: Misreading(
        ANGLE_TURNED,
        "the two defoci are exchanged, or their axis is turned by 90 degrees",
        "exchange rlnDefocusU and rlnDefocusV",
    ),
    OTHER_ROWS: Misreading(
        OTHER_ROWS,
        "the CTFs do not belong to the images",
        "see that the rows of the CTF table are those of the images",
    ),
}

#: Orientations and shifts that together are one change of whole images: what it is, how it is
#: undone, and how the axis of astigmatism then reads.
WHOLE_IMAGES: dict[tuple[str, str], tuple[str, str, str]] = {
    (MIRRORED, "x negated"): (
        "the images are mirrored left to right",
        "flip each image left to right",
        ANGLE_NEGATED,
    ),
    (MIRRORED, "y negated"): (
        "the images are mirrored upside down",
        "flip each image upside down",
        ANGLE_NEGATED,
    ),
    (EXCHANGED, "x and y exchanged"): (
        "the images are transposed: x and y are exchanged",
        "transpose each image",
        ANGLE_TRANSPOSED,
    ),
    (QUARTER_TURN, "exchanged, x negated"): (
        "the images are turned by 90 degrees",
        "turn each image by 90 degrees, clockwise if x is drawn to the right and y up",
        ANGLE_TURNED,
    ),
    (QUARTER_TURN, "exchanged, y negated"): (
        "the images are turned by 90 degrees",
        "turn each image by 90 degrees, anticlockwise if x is drawn to the right and y up",
        ANGLE_TURNED,
    ),
}

#: By how much the pixel size may be wrong. Its effect on the CTF is that of a defocus changed by
#: the inverse square.
PIXEL_FACTORS = (0.5, 0.7, 0.8, 0.87, 0.93, 0.97, 1.0, 1.03, 1.07, 1.15, 1.25, 1.43, 2.0)

SUSPECTS: dict[Suspicion, dict[str, Misreading]] = {
    Suspicion.ORIENTATIONS: ORIENTATIONS,
    Suspicion.SHIFTS: SHIFTS,
    Suspicion.ROWS: ROWS,
    Suspicion.CTF: CTFS,
}
