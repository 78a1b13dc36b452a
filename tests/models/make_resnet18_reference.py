"""Makes resnet18_reference.npz, what torchvision's ResNet-18 makes of drawn images with drawn weights.

Command, where torch and torchvision are installed (tlkeras needs neither, so they are in none of its extras):
    python tests/models/make_resnet18_reference.py
Made with torch 2.13.0 and torchvision 0.28.0 on a CPU, NumPy 2.4.6, Python 3.11; one second.

The tests draw the same weights from the same generator, so that their 45 MB need not be kept. Beside the answers the
file holds the bytes of two small files that torch.save wrote, and what they hold.
"""

import hashlib
import io
import json
from pathlib import Path

import numpy as np

REFERENCE = Path(__file__).with_name("resnet18_reference.npz")
SIZES = {"even": (2, 64, 64, 3), "odd": (1, 75, 61, 3)}  # (B, H, W, 3)
STAGES = ("maxpool", "layer1", "layer2", "layer3", "layer4")


def module_shapes():
    """{module: shape of its kernel (O, I, H, W), or number of channels of a BatchNorm}, in torchvision's order."""
    shapes, before = {"conv1": (64, 3, 7, 7), "bn1": 64}, 64
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for block in (f"layer{stage}.0", f"layer{stage}.1"):
            shapes |= {f"{block}.conv1": (width, before, 3, 3), f"{block}.bn1": width}
            shapes |= {f"{block}.conv2": (width, width, 3, 3), f"{block}.bn2": width}
            if before != width:
                shapes |= {f"{block}.downsample.0": (width, before, 1, 1), f"{block}.downsample.1": width}
            before = width
    return shapes


def draw_state(seed=0):
    """A state dict {name: array}: kernels, and statistics, scales and offsets that a BatchNorm never begins with.

    Uniform numbers alone, which no version of NumPy draws otherwise; kernels of variance 1 / (number of inputs).
    """
    rng, state = np.random.default_rng(seed), {}
    draw = lambda low, high, shape: rng.uniform(low, high, shape).astype(np.float32)  # noqa: E731
    for name, shape in module_shapes().items():
        if isinstance(shape, tuple):
            bound = np.sqrt(3 / np.prod(shape[1:]))
            state[f"{name}.weight"] = draw(-bound, bound, shape)
        else:
            state[f"{name}.weight"] = draw(0.5, 1.5, shape)
            state[f"{name}.bias"] = draw(-0.5, 0.5, shape)
            state[f"{name}.running_mean"] = draw(-0.5, 0.5, shape)
            state[f"{name}.running_var"] = draw(0.5, 3.0, shape)
            state[f"{name}.num_batches_tracked"] = np.array(7)
    state |= {"fc.weight": draw(-0.1, 0.1, (1000, 512)), "fc.bias": draw(-0.1, 0.1, 1000)}
    return state


def draw_images(size):
    """Float32 (B, H, W, 3) as the network sees them, deviation 1."""
    return np.random.default_rng(1).uniform(-np.sqrt(3), np.sqrt(3), SIZES[size]).astype(np.float32)


def thinned(features):
    """A part of features (B, h, w, channels) that is small to keep: every 2nd row and column, every 8th channel."""
    return features[:, ::2, ::2, ::8]


def digest(state):
    """The sha256 of all weights."""
    return hashlib.sha256(b"".join(array.tobytes() for array in state.values())).hexdigest()


def write_safetensors(path, arrays):
    """Writes {name: array} in the format of https://github.com/huggingface/safetensors."""
    kinds = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64"}
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, array in arrays.items():
        offsets = [end, end + array.nbytes]
        header[name] = {"dtype": kinds[str(array.dtype)], "shape": list(array.shape), "data_offsets": offsets}
        end += array.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.writelines(np.ascontiguousarray(array).tobytes() for array in arrays.values())


def small_state():
    """A state dict of torch tensors: several dtypes, two that share a storage, one a transposed part of it."""
    import torch

    whole = torch.arange(12, dtype=torch.float32).reshape(3, 4) / 8
    return {
        "whole": whole,
        "part": whole[1:, 1:].T,
        "parameter": torch.nn.Parameter(torch.tensor([[0.1, -2.5e-3]])),
        "half": torch.tensor([1.5, -65504.0], dtype=torch.float16),
        "bfloat16": torch.tensor([1.0, -3.140625, 1e30], dtype=torch.bfloat16),
        "double": torch.tensor([1 / 3], dtype=torch.float64),
        "count": torch.tensor(2**40 + 1),
        "flags": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
    }


def saved_by_torch(state, **options):
    """The bytes of the file that torch.save writes."""
    import torch

    file = io.BytesIO()
    torch.save(state, file, **options)
    return file.getvalue()


def build_torch_model(state):
    """torchvision's network with these weights, in evaluation mode."""
    import torch
    from torchvision.models import resnet18

    model = resnet18().eval()
    model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in state.items()}, strict=True)
    return model


def torch_stages(model, images):
    """{stage: its output (B, h, w, channels)} of images (B, H, W, 3)."""
    import torch

    answers, x = {}, torch.from_numpy(images).permute(0, 3, 1, 2)
    with torch.no_grad():
        for name, module in model.named_children():
            if name in ("avgpool", "fc"):
                break
            x = module(x)
            answers[name] = x.permute(0, 2, 3, 1).numpy().copy()
    return {stage: answers[stage] for stage in STAGES}


def main():
    """Writes the file."""
    state = draw_state()
    model, small = build_torch_model(state), small_state()
    kept = {"sha256": digest(state)}
    for size in SIZES:
        stages = torch_stages(model, draw_images(size))
        kept |= {f"{size}_{stage}": thinned(answer) for stage, answer in stages.items()}
        kept |= {f"{size}_features": stages["layer4"], f"{size}_pooled": stages["layer4"].mean(axis=(1, 2))}
    for form, options in {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}}.items():
        kept[f"{form}_file"] = np.frombuffer(saved_by_torch(small, **options), np.uint8)
    kept |= {f"small_{name}": tensor.detach().double().numpy() for name, tensor in small.items()}
    np.savez_compressed(REFERENCE, **kept)


if __name__ == "__main__":
    main()
