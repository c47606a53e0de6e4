"""Networks of the PyTorch world, trained for a few minutes on generated shapes and exported to ONNX by PyTorch.

Runs in an environment of its own, never in segtool's:

    python -m venv torchenv
    torchenv/bin/pip install torch torchvision segmentation-models-pytorch transformers onnx onnxscript
    torchenv/bin/python torch_networks.py OUT [NAME ...] [--size 256]

Writes OUT/data (images, masks, dataset.json; OUT/data_K too for a network of K classes), OUT/NAME.onnx and
OUT/NAME.json: what it is, how its pixels are scaled, its opset, and its own mean IoU. `onnx_networks.py` exports these
files with segtool. With --size, images and networks are squares of that many pixels, and training is on crops of 96 x
96; `foreign_engines.py` times such networks.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from shapes import CLASSES, SIZE, shapes, write_data
from torch import nn

COUNT, HELD_OUT, CROP = 160, 40, 96
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
UNIT = ((0.0,) * 3, (255.0,) * 3)
SYMMETRIC = ((127.5,) * 3, (127.5,) * 3)


class Logits(nn.Module):
    """Return the logits of a network of transformers or torchvision, as a tensor."""

    def __init__(self, network: nn.Module, key: str) -> None:
        super().__init__()
        self.network, self.key = network, key

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return (N, K, h, w)."""
        return self.network(image)[self.key]


def smp(kind: str, encoder: str, classes: int = len(CLASSES), **options: object) -> nn.Module:
    """Build a network of segmentation-models-pytorch; classes beyond those of the data occur nowhere."""
    import segmentation_models_pytorch

    build = getattr(segmentation_models_pytorch, kind)
    return build(encoder, encoder_weights=None, classes=classes, **options)


def convnext() -> nn.Module:
    """Build a U-Net on ConvNeXt-Atto, whose first map has a quarter of the image's sides."""
    channels = (128, 64, 32, 16)
    return smp("Unet", "tu-convnext_atto", encoder_depth=len(channels), decoder_channels=channels)


def vision(kind: str) -> nn.Module:
    """Build a network of torchvision."""
    from torchvision.models import segmentation

    network = getattr(segmentation, kind)(weights=None, weights_backbone=None, num_classes=len(CLASSES))
    return Logits(network, "out")


def segformer(depths: list[int], sizes: list[int], decoder: int) -> nn.Module:
    """Build a SegFormer of transformers: MiT-B0 or MiT-B2."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    config = SegformerConfig(depths=depths, hidden_sizes=sizes, decoder_hidden_size=decoder, num_labels=len(CLASSES))
    return Logits(SegformerForSemanticSegmentation(config), "logits")


def mobilevit() -> nn.Module:
    """Build MobileViT-XXS with DeepLabV3 of transformers."""
    from transformers import MobileViTConfig, MobileViTForSemanticSegmentation

    config = MobileViTConfig(
        hidden_sizes=[64, 80, 96],
        neck_hidden_sizes=[16, 16, 24, 48, 64, 80, 320],
        expand_ratio=2.0,
        num_labels=len(CLASSES),
        image_size=SIZE[0],
        output_stride=16,
    )
    return Logits(MobileViTForSemanticSegmentation(config), "logits")


def nnunet(kind: str = "PlainConvUNet", blocks: int = 2) -> nn.Module:
    """Build the U-Net of an nnU-Net 2D plan: instance normalization, no deep supervision."""
    from dynamic_network_architectures.architectures import unet

    return getattr(unet, kind)(
        3,
        5,
        [16, 32, 64, 128, 128],
        nn.Conv2d,
        3,
        [1, 2, 2, 2, 2],
        blocks,
        len(CLASSES),
        2,
        conv_bias=True,
        norm_op=nn.InstanceNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
    )


class Block(nn.Module):
    """A residual block of two convolutions."""

    def __init__(self, taken: int, given: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(taken, given, 3, stride, 1, bias=False),
            nn.BatchNorm2d(given),
            nn.ReLU(inplace=True),
            nn.Conv2d(given, given, 3, 1, 1, bias=False),
            nn.BatchNorm2d(given),
        )
        self.short = nn.Sequential(nn.Conv2d(taken, given, 1, stride, bias=False), nn.BatchNorm2d(given))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return relu(body(x) + short(x))."""
        return torch.relu(self.body(x) + self.short(x))


class DualResolution(nn.Module):
    """The structure of DDRNet (Hong et al., 2021): a branch at 1/8, one down to 1/32, two exchanges, pooling."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.stem = nn.Sequential(Block(3, width, 2), Block(width, width, 2), Block(width, 2 * width, 2))
        self.fine = nn.ModuleList([Block(2 * width, 2 * width), Block(2 * width, 2 * width)])
        self.deep = nn.ModuleList([Block(2 * width, 4 * width, 2), Block(4 * width, 8 * width, 2)])
        self.down = nn.ModuleList(
            [
                nn.Conv2d(2 * width, 4 * width, 3, 2, 1),
                nn.Sequential(
                    nn.Conv2d(2 * width, 4 * width, 3, 2, 1), nn.ReLU(), nn.Conv2d(4 * width, 8 * width, 3, 2, 1)
                ),
            ]
        )
        self.up = nn.ModuleList([nn.Conv2d(4 * width, 2 * width, 1), nn.Conv2d(8 * width, 2 * width, 1)])
        self.pool = nn.Conv2d(8 * width, 2 * width, 1)
        self.context = nn.Conv2d(8 * width, 2 * width, 1)
        self.head = nn.Sequential(Block(2 * width, 2 * width), nn.Conv2d(2 * width, len(CLASSES), 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return (N, K, h / 8, w / 8)."""
        fine = deep = self.stem(image)
        for index in range(2):
            thin, thick = self.fine[index](fine), self.deep[index](deep)
            deep = torch.relu(thick + self.down[index](thin))
            size = thin.shape[2:]
            raised = nn.functional.interpolate(self.up[index](thick), size, mode="bilinear", align_corners=False)
            fine = torch.relu(thin + raised)
        size = fine.shape[2:]
        pooled = self.pool(nn.functional.adaptive_avg_pool2d(deep, 1))
        context = nn.functional.interpolate(self.context(deep), size, mode="bilinear", align_corners=False)
        return self.head(fine + context + pooled)


# name: source, how to build it, the scaling of its pixels, its opset, whether PyTorch's newer exporter is used, batch
NETWORKS = {
    "smp_unet_resnet18": ("segmentation-models-pytorch", lambda: smp("Unet", "resnet18"), IMAGENET, 17, False),
    "smp_unet_mobilenet_v2": ("segmentation-models-pytorch", lambda: smp("Unet", "mobilenet_v2"), IMAGENET, 13, False),
    "smp_unet_convnext": ("segmentation-models-pytorch", convnext, IMAGENET, 17, False),
    "smp_fpn_resnet18": ("segmentation-models-pytorch", lambda: smp("FPN", "resnet18"), IMAGENET, 18, True),
    "smp_deeplabv3plus": ("segmentation-models-pytorch", lambda: smp("DeepLabV3Plus", "mobilenet_v2"), UNIT, 12, False),
    "smp_deeplabv3plus_21": (
        "segmentation-models-pytorch, with as many classes as VOC",
        lambda: smp("DeepLabV3Plus", "mobilenet_v2", classes=21),
        UNIT,
        12,
        False,
    ),
    "smp_fpn_19": (
        "segmentation-models-pytorch, with as many classes as Cityscapes",
        lambda: smp("FPN", "resnet18", classes=19),
        IMAGENET,
        17,
        False,
    ),
    "smp_manet": ("segmentation-models-pytorch", lambda: smp("MAnet", "resnet18"), UNIT, 17, False),
    "smp_linknet": (
        "segmentation-models-pytorch",
        lambda: smp("Linknet", "resnet18", activation="softmax2d"),
        UNIT,
        11,
        False,
    ),
    "vision_lraspp": ("torchvision", lambda: vision("lraspp_mobilenet_v3_large"), IMAGENET, 17, False),
    "vision_deeplabv3": ("torchvision", lambda: vision("deeplabv3_mobilenet_v3_large"), IMAGENET, 18, True),
    "segformer_b0": ("transformers", lambda: segformer([2, 2, 2, 2], [32, 64, 160, 256], 256), IMAGENET, 17, False),
    "segformer_b2": ("transformers", lambda: segformer([3, 4, 6, 3], [64, 128, 320, 512], 768), IMAGENET, 18, True),
    "mobilevit_deeplab": ("transformers", mobilevit, SYMMETRIC, 17, False),
    "ddrnet": ("the structure of DDRNet, in torch_networks.py", DualResolution, IMAGENET, 17, False),
    "nnunet_2d": ("dynamic-network-architectures", nnunet, IMAGENET, 17, False),
    "nnunet_residual": (
        "dynamic-network-architectures",
        lambda: nnunet("ResidualEncoderUNet", blocks=1),
        IMAGENET,
        17,
        False,
    ),
}


def train(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, steps: int) -> None:
    """Train with cross-entropy at the size of the output."""
    is_transformer = any(isinstance(module, nn.LayerNorm) for module in network.modules())
    rate = 5e-4 if is_transformer else 2e-3
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=1e-4)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1  # so that the averages follow in so few steps
    network.train()
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps) + 1e-5
        chosen = torch.randperm(len(images), generator=generator)[:8]
        part = crop(images.shape[2:], generator)
        scores = network(images[chosen][..., *part].contiguous())
        truth = labels[chosen][..., *part].contiguous()
        weights = torch.tensor([0.5] + [1.0] * (scores.shape[1] - 1))
        scores = nn.functional.interpolate(scores, truth.shape[1:], mode="bilinear", align_corners=False)
        logits = scores if scores.min() < 0 else torch.log(scores.clamp_min(1e-6))
        loss = nn.functional.cross_entropy(logits, truth, weight=weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"  loss {loss.item():.3f}", flush=True)
    network.eval()


def crop(size: tuple[int, ...], generator: torch.Generator) -> tuple[slice, ...]:
    """Return the rows and columns of a crop; images of the default size are taken whole."""
    if tuple(size) == SIZE:
        return slice(None), slice(None)
    begins = [int(torch.randint(length - CROP + 1, (), generator=generator)) for length in size]
    return tuple(slice(begin, begin + CROP) for begin in begins)


def mean_iou(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the mean IoU over the classes."""
    with torch.no_grad():
        scores = torch.cat([network(part) for part in images.split(8)])
        found = nn.functional.interpolate(scores, labels.shape[1:], mode="bilinear", align_corners=False).argmax(1)
    ious = []
    for k in range(len(CLASSES)):
        union = ((found == k) | (labels == k)).sum()
        ious.append(float(((found == k) & (labels == k)).sum() / union))
    return float(np.mean(ious))


def export(network: nn.Module, path: Path, opset: int, size: tuple[int, int], *, dynamo: bool) -> None:
    """Export with PyTorch: by the newer exporter with a fixed batch of 1, or by tracing with a free batch."""
    image = torch.zeros(1, 3, *size)
    if dynamo:
        torch.onnx.export(network, (image,), path, opset_version=opset, dynamo=True, external_data=False)
    else:
        torch.onnx.export(
            network,
            (image,),
            path,
            opset_version=opset,
            dynamo=False,
            input_names=["pixel_values"],
            output_names=["logits"],
            dynamic_axes={"pixel_values": {0: "batch"}},
        )


def main() -> None:
    """Make the networks of these names, all without one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", default=[])
    parser.add_argument("--size", type=int)
    parser.add_argument("--steps", type=int, default=150)
    arguments = parser.parse_args()
    out, names = arguments.out, arguments.names
    size = (arguments.size, arguments.size) if arguments.size else SIZE
    torch.set_num_threads(2)
    images, labels = shapes(COUNT, 0, size)
    write_data(out / "data", images, labels)
    for name in names or NETWORKS:
        source, build, (mean, std), opset, dynamo = NETWORKS[name]
        print(name, flush=True)
        torch.manual_seed(0)
        network = build()
        scaled = (images.transpose(0, 3, 1, 2) - np.reshape(mean, (1, 3, 1, 1))) / np.reshape(std, (1, 3, 1, 1))
        x, y = torch.tensor(scaled, dtype=torch.float32), torch.tensor(labels.astype(np.int64))
        train(network, x[:-HELD_OUT], y[:-HELD_OUT], arguments.steps)
        score = mean_iou(network, x[-HELD_OUT:], y[-HELD_OUT:])
        if (count := network(x[:1]).shape[1]) > len(CLASSES):
            write_data(out / f"data_{count}", images, labels, count=count)
        export(network, out / f"{name}.onnx", opset, size, dynamo=dynamo)
        facts = {
            "name": name,
            "source": source,
            "parameters": sum(item.numel() for item in network.parameters()),
            "exporter": "torch.export" if dynamo else "tracing",
            "opset_asked": opset,
            "size": size,
            "mean": mean,
            "std": std,
            "mean_iou_torch": score,
            "torch": torch.__version__,
        }
        (out / f"{name}.json").write_text(json.dumps(facts, indent=1))
        print(f"  mean IoU {score:.3f}", flush=True)


if __name__ == "__main__":
    main()
