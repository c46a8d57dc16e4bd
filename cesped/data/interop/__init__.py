"""Files of other programs: CryoSPARC's `.cs`, cryoDRGN's pickles, star files of every RELION."""

from cesped.data.interop.conversion import Conversion, convert

__all__ = ["Conversion", "convert"]
