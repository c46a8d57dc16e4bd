"""Aberrations of the optics that a star file states and nothing here models.

RELION 3.1 (Zivanov et al., IUCrJ 7, 253, 2020) estimates beam tilt and other odd aberrations,
even ones beyond defocus and Cs, and anisotropic magnification, of each optics group.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

_BEAM_TILT = ("rlnBeamTiltX", "rlnBeamTiltY")
_ZERNIKE = ("rlnOddZernike", "rlnEvenZernike")
_MAGNIFICATION = {
    "rlnMagMat00": 1.0, "rlnMagMat01": 0.0, "rlnMagMat10": 0.0, "rlnMagMat11": 1.0,
}  # fmt: skip


def unmodelled_aberrations(tables: Iterable[pd.DataFrame | None]) -> tuple[str, ...]:
    """Return the columns that state an aberration other than none, in a fixed order.

    Parameters
    ----------
    tables : particle and optics table as read; None for one that is not there

    Examples
    --------
    >>> import pandas as pd
    >>> optics = pd.DataFrame({"rlnBeamTiltX": [0.0], "rlnOddZernike": ["[0.0,0.02]"]})
    >>> unmodelled_aberrations([optics])
    ('rlnOddZernike',)
    """
    held = [table for table in tables if table is not None]
    neutral = dict.fromkeys(_BEAM_TILT + _ZERNIKE, 0.0) | _MAGNIFICATION
    return tuple(
        name
        for name, value in neutral.items()
        if any(_differs(table[name], value) for table in held if name in table)
    )


def _differs(column: pd.Series, neutral: float) -> bool:
    """Return whether a number of a column, or of its lists `[1.5,0,-2]`, is another one."""
    for cell in column.unique():
        words = str(cell).strip("[]\"' ").split(",")
        try:
            numbers = np.array([float(word) for word in words if word.strip()])
        except ValueError:
            return True  # no number: not known to say nothing
        if (numbers != neutral).any():
            return True
    return False
