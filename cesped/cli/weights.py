"""`cesped convert-weights`: weights of CryoFastAR, released or trained here, as a safe file."""

from pathlib import Path
from typing import Annotated

import typer

from ..vocabulary import ViewNormalization
from .command import Command


def convert_weights(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help="Weights as CryoFastAR's authors released them, or a model.ckpt of cesped train.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="File to write.")],
    normalization: Annotated[
        ViewNormalization | None,
        typer.Option(
            "--normalization",
            help="How the weights want their images; left out: stack-range if IN is named "
            "synthetic, else stack-maximum.",
        ),
    ] = None,
    encoder_heads: Annotated[
        int | None,
        typer.Option("--encoder-heads", min=1, help="Left out: heads of 64 channels."),
    ] = None,
    decoder_heads: Annotated[
        int | None,
        typer.Option("--decoder-heads", min=1, help="Left out: heads of 64 channels."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the output if it exists.")
    ] = False,
) -> None:
    """Convert CryoFastAR's weights to safetensors.

    Released weights are pickles, which can run code when they are read. This reads tensors only and
    refuses files that hold more. The file it writes states the sizes of the network, what its maps
    mean and how its images are normalised; Python opens it with CryoFastAR.load.

    The weights' authors have terms of their own: see where you got them. A converted file is not
    yours to pass on unless those allow it.

    The model.ckpt that `cesped train --model cryofastar` wrote becomes such a file too, for
    cesped abinitio and for further training. It says which particles it learned from.
    """
    from ..errors import EntryExistsError
    from ..io.files import check_writable

    if out.suffix != ".safetensors":
        raise typer.BadParameter(f"the file to write must end in .safetensors, not {out.suffix!r}")
    if out.exists() and not force:
        raise EntryExistsError(f"{out} exists; choose another name, or use --force")
    check_writable(out)
    from ..models.cryofastar.model import CryoFastAR

    if source.suffix == ".ckpt":
        from ..workflows.network_weights import weights_of_checkpoint

        model = weights_of_checkpoint(source, out)
    else:
        model = CryoFastAR.from_released(source, encoder_heads, decoder_heads, normalization)
        model.save(out)
    sizes = model.config
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"Wrote {out}: {count:,} numbers")
    for part in ("encoder", "decoder"):
        depth, width, heads = (
            getattr(sizes, f"{part}_{name}") for name in ("depth", "width", "heads")
        )
        pairs = "pairs of blocks" if part == "decoder" else "blocks"
        print(f"  {part}: {depth} {pairs} of {width} channels in {heads} heads")
    print(f"  patches of {sizes.patch_px} px, images normalised by {model.normalization.value}")


COMMANDS = (
    Command(
        convert_weights,
        "convert-weights",
        """
        cesped convert-weights checkpoints/real.pth cryofastar_real.safetensors
        cesped convert-weights checkpoints/synthetic.pth cryofastar_synthetic.safetensors
        cesped convert-weights mine.pth mine.safetensors --encoder-heads 2 --decoder-heads 3
        cesped convert-weights runs/views0/model.ckpt tuned.safetensors
        """,
    ),
)
