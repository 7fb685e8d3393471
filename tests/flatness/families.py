"""What `measure` makes of torchvision's and timm's convolutional families by default: writes docs/coverage.md.

python tests/flatness/families.py --write
"""

import argparse
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

from flatselect import Measurement, UnsupportedHeadError, measure

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"
N_CLASSES = 3  # as the page says

PREAMBLE = """\
# Which networks are measured

What `flatselect.measure(model, images)` does by default with the convolutional families of torchvision and timm, with 3
classes and random weights. `python tests/flatness/families.py --write` writes this page by building and measuring every
model; a test fails where it does not say what the code does, and compares κ and the trace of every layer below with a
sum over classes by autograd, in float64.

- **closed form**: what follows the layer acts on each channel by itself; about the price of a forward pass.
- **class Jacobians**: it mixes channels (a gate, a norm over channels); as exact, at one backward pass a class.
- **Hessian**: what follows is piecewise linear, and κ is the Hessian's, whatever the labels.
- **Gauss-Newton**: it is smooth (SiLU, GELU, a sigmoid's gate, a norm), and the Hessian's term that needs labels is
  left out.

Where several layers feed the pooling side by side, κ is the sum over them. A refusal names the layer and the reason;
the option beside it measures the network all the same. Where weights are standardised, that is only its classifier.

A convolution that feeds the pooling directly, but another measured one too, is left out: in DenseNet all but the last.
A convolution of what is already pooled (`conv_head` in MobileNetV3 and GhostNet) is a linear layer. On maps of one or
two positions class Jacobians may take the closed form's place (DPN on 32×32): the same number.
"""


@dataclass(frozen=True)
class Family:
    """A model of a library, and what to ask for where the default is refused.

    Attributes:
        library: "torchvision" or "timm".
        name: In it.
        size: Of the square images: small, but with more than one position before the pooling.
        options: For its factory, shown in the table.
        quiet: Options that only make it smaller, or that its factory needs; not shown.
        named: The layer to measure by name where the default is refused.
        is_quick: Whether the default test suite runs it.
    """

    library: str
    name: str
    size: int = 64
    options: dict[str, Any] = field(default_factory=dict)
    quiet: dict[str, Any] = field(default_factory=dict)
    named: str = ""
    is_quick: bool = False

    @property
    def title(self) -> str:
        options = ", ".join(f'{key}="{value}"' for key, value in self.options.items())
        return f"{self.name} ({options})" if options else self.name

    def __str__(self) -> str:
        return f"{self.library}-{self.title}"


def _torchvision(name: str, size: int = 64, **more: Any) -> Family:
    return Family("torchvision", name, size, **more)


def _timm(name: str, size: int = 64, **more: Any) -> Family:
    return Family("timm", name, size, **more)


_NO_AUXILIARY = {"aux_logits": False, "init_weights": True}

FAMILIES = [
    _torchvision("alexnet", named="features.10"),
    _torchvision("vgg11", 32, named="features.18"),
    _torchvision("vgg16_bn", 32, named="features.40"),
    _torchvision("squeezenet1_0"),
    _torchvision("squeezenet1_1", is_quick=True),
    _torchvision("resnet18"),
    _torchvision("resnet50"),
    _torchvision("resnext50_32x4d"),
    _torchvision("wide_resnet50_2"),
    _torchvision("regnet_x_400mf"),
    _torchvision("regnet_y_400mf"),
    _torchvision("densenet121"),
    _torchvision("googlenet", quiet=_NO_AUXILIARY, is_quick=True),
    _torchvision("inception_v3", 96, quiet=_NO_AUXILIARY),
    _torchvision("mobilenet_v2"),
    _torchvision("mobilenet_v3_small", named="features.12.0", is_quick=True),
    _torchvision("mnasnet0_5"),
    _torchvision("shufflenet_v2_x0_5", is_quick=True),
    _torchvision("efficientnet_b0"),
    _torchvision("efficientnet_v2_s"),
    _torchvision("convnext_tiny"),
    _torchvision("swin_t"),
    _torchvision("vit_b_16", quiet={"image_size": 64}, named="conv_proj"),
    _torchvision("maxvit_t", 224, named="blocks.3.layers.1.layers.MBconv.layers.conv_c"),
    _timm("resnet18"),
    _timm("resnet10t", options={"global_pool": "avgmax"}),
    _timm("resnet10t", options={"global_pool": "max"}),
    _timm("resnet10t", options={"global_pool": "catavgmax"}, is_quick=True),
    _timm("resnetv2_18", options={"global_pool": ""}),
    _timm("resnet50d"),
    _timm("resnetblur18"),
    _timm("resnetaa34d"),
    _timm("seresnet18", is_quick=True),
    _timm("seresnet50"),
    _timm("legacy_seresnet18"),
    _timm("skresnet18"),
    _timm("ecaresnet26t"),
    _timm("gcresnet33ts"),
    _timm("resnetv2_18"),
    _timm("resnetv2_50"),
    _timm("resnest14d"),
    _timm("res2net50_26w_4s"),
    _timm("resnet50_clip", named="stages.3.2.conv3_1x1.conv"),
    _timm("resnet50_clip_gap"),
    _timm("botnet26t_256", quiet={"img_size": 64}),
    _timm("tresnet_m"),
    _timm("efficientnet_b0"),
    _timm("efficientnet_lite0"),
    _timm("tf_efficientnetv2_b0"),
    _timm("tinynet_e", is_quick=True),
    _timm("mixnet_s"),
    _timm("rexnet_100"),
    _timm("mobilenetv2_100"),
    _timm("mnasnet_small"),
    _timm("mobilenetv3_small_100", named="blocks.5.0.conv"),
    _timm("mobilenetv4_conv_small", named="blocks.4.0.conv"),
    _timm("hardcorenas_a", named="blocks.6.0.conv"),
    _timm("lcnet_050", named="blocks.5.1.conv_pw", is_quick=True),
    _timm("ghostnet_100", named="blocks.9.0.conv"),
    _timm("repghostnet_050", named="blocks.9.0.conv"),
    _timm("fasternet_t0", named="stages.3.blocks.1.mlp.3"),
    _timm("hgnetv2_b0", named="stages.3.blocks.0.aggregation.1.conv"),
    _timm("regnetx_002"),
    _timm("regnety_002", is_quick=True),
    _timm("gernet_s"),
    _timm("repvgg_a0", is_quick=True),
    _timm("mobileone_s0"),
    _timm("repvit_m0_9", named="stages.3.blocks.1.channel_mixer.conv2.c"),
    _timm("densenet121"),
    _timm("rdnet_tiny"),
    _timm("vovnet39a"),
    _timm("ese_vovnet19b_dw"),
    _timm("hrnet_w18_small"),
    _timm("dla34"),
    _timm("dla46_c", is_quick=True),
    _timm("dpn48b"),
    _timm("dpn68", is_quick=True),
    _timm("selecsls42b"),
    _timm("legacy_xception"),
    _timm("xception41"),
    _timm("inception_v4", 96),
    _timm("inception_resnet_v2", 96),
    _timm("cspresnet50"),
    _timm("cspdarknet53"),
    _timm("darknet53"),
    _timm("vgg11_bn", 32, quiet={"mlp_ratio": 1 / 64}),
    _timm("convnext_atto", is_quick=True),
    _timm("convnextv2_atto"),
    _timm("poolformer_s12"),
    _timm("edgenext_xx_small"),
    _timm("mobilevit_xxs"),
    _timm("efficientvit_b0", named="head.in_conv.conv"),
    _timm("starnet_s1"),
    _timm("nf_regnet_b0", named="head.fc", is_quick=True),
    _timm("nf_resnet26", named="head.fc"),
    _timm("eca_nfnet_l0", named="head.fc"),
    _timm("dm_nfnet_f0", named="head.fc"),
]


def build(family: Family) -> tuple[nn.Module, Tensor]:
    """The model in float64, every part of it at work, and two images.

    Untrained, some networks do nothing: blocks whose last gain or layer scale begins at zero, or activations that fade
    or blow up on the way. So zeros are replaced, and batch norms are given the statistics of images that are used.
    """
    torch.manual_seed(0)
    options = {**family.options, **family.quiet}
    if family.library == "timm":
        model = timm.create_model(family.name, num_classes=N_CLASSES, **options)
    else:
        model = torchvision.models.get_model(family.name, weights=None, num_classes=N_CLASSES, **options)
    images = torch.randn(4, 3, family.size, family.size)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith("bias") and parameter.numel() and parameter.abs().max() < 1e-3:
                nn.init.uniform_(parameter, 0.5, 1.5)
        for module in model.modules():
            module.training = isinstance(module, nn.BatchNorm2d)
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        model(images)
    for module in model.modules():
        module.training = False
    return model.double(), images[:2].double()


@dataclass(frozen=True)
class Outcome:
    """What is so of a family: its default measurement or refusal, and what the named layer gives where refused."""

    family: Family
    measured: Measurement | None
    refusal: str

    @property
    def row(self) -> str:
        how = _describe(self.measured) if self.measured else ("–", "")
        if self.refusal:
            way = f'`layer="{self.measured.layer}"`: {", ".join(how)}' if self.measured else "–"
            return f"| {self.family.title} | {_shorten(self.refusal)} | {way} |"
        assert self.measured is not None
        layers = "<br>".join(f"`{layer.layer}`" for layer in self.measured.layers)
        return f"| {self.family.title} | {layers} | {how[0]} | {how[1]} |"


def _describe(measured: Measurement) -> tuple[str, str]:
    return (
        "closed form" if measured.method == "closed_form" else "class Jacobians",
        "Hessian" if measured.exactness == "hessian" else "Gauss-Newton",
    )


def _shorten(message: str) -> str:
    for rest in ("; ", ", expected one", " (weight standardisation", ": flatness"):
        message = message.partition(rest)[0]
    return message


def judge(family: Family, model: nn.Module, images: Tensor) -> Outcome:
    """Measures a built family by default, and by name where that is refused."""
    try:
        return Outcome(family, measure(model, images), "")
    except UnsupportedHeadError as error:
        by_name = measure(model, images, layer=family.named) if family.named else None
        return Outcome(family, by_name, str(error))


def write_page(rows: Sequence[str]) -> str:
    """The page's text for the families' rows, in the families' order."""
    text = PREAMBLE
    for library in ("torchvision", "timm"):
        of_library = [row for family, row in zip(FAMILIES, rows, strict=True) if family.library == library]
        measured, refused = ([row for row in of_library if row.count(" | ") == n] for n in (3, 2))
        text += f"\n## {library}\n\n| model | measured layer | how | exactness |\n|---|---|---|---|\n"
        text += "".join(f"{row}\n" for row in measured)
        text += "\n| model | why it is refused | what measures it |\n|---|---|---|\n"
        text += "".join(f"{row}\n" for row in refused)
    return text


def find_row(family: Family, page: str) -> str:
    """The family's line on the page; "" where it has none."""
    _, _, section = page.partition(f"\n## {family.library}\n")
    lines = section.partition("\n## ")[0].splitlines()
    return next((line for line in lines if line.startswith(f"| {family.title} |")), "")


def _run(family: Family) -> str:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    return judge(family, *build(family)).row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/coverage.md; otherwise print it")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.processes) as pool:
        page = write_page(list(pool.map(_run, FAMILIES)))
    if arguments.write:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page, encoding="utf-8")
    else:
        print(page, end="")


if __name__ == "__main__":
    main()
