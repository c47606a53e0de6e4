"""The generated parts on Arm of docs/deploying.md, from results/arm.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from plots.results import read


def files() -> str:
    """Return a table of the files on emulated Arm processors."""
    result = read("arm")
    rows = {(row["network"], row["file"], row["processor"]): row for row in result["files"]}
    sets = {row["processor"]: row["machine"]["instruction_sets"] for row in result["files"]}
    fast = {name: [each for each in ("asimddp", "i8mm") if each in found] for name, found in sets.items()}
    titles = [f"{row['title']}: {', '.join(fast[row['name']]) or 'neither set'}" for row in result["processors"]]
    table = [f"| file | {' | '.join(titles)} |", "| --- |" + " --- |" * len(titles)]
    for network, file in dict.fromkeys(key[:2] for key in rows):
        cells = [_cell(rows.get((network, file, row["name"]))) for row in result["processors"]]
        table.append(f"| {network}, {'FP32' if file == 'FP32' else f'`{file}`'} | {' | '.join(cells)} |")
    versions = result["environment"]
    images = {row["network"]: row["predict"]["images"] for row in result["files"]}
    used = ", ".join(f"{count} ({network})" for network, count in images.items())
    kept = sum("made_by" in row for row in result["files"])
    before = f" {kept} of the {len(result['files'])} cells are of an earlier run." if kept else ""
    method = (
        "A cell has the result of `verify`, the labels that differ from those of x86, and the instructions that "
        f"compute the multiply-accumulates of INT8 files. Images: {used}. Emulated with qemu-user {versions['qemu']}, "
        f"onnxruntime {_version(versions['packages'], 'onnxruntime')} for aarch64 (`arm.json`).{before}"
    )
    return "\n".join([*table, "", method])


def traced() -> str:
    """Return the instructions that the emulator executed, and how many kernels were the predicted ones."""
    result = read("arm")
    seen = []
    checked = []
    for row in result["processors"]:
        files = row["traced"].items()
        texts = [f"{' and '.join(sorted(found['instructions']))} (`{file}`)" for file, found in files]
        seen.append(f"{row['title'].split(' (')[0]}: {', '.join(texts)}")
        checked += [found for _, found in files]
    right, total = (sum(found[name] for found in checked) for name in ("as_predicted", "convolutions"))
    return (
        f"The emulator's log of {result['traced_network']} has these instructions for 8-bit integers. "
        f"{'; '.join(seen)}. {right} of {total} INT8 convolutions took the predicted kernel."
    )


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "not run"
    passed = "passed" if row["verify"]["exit_code"] == 0 else "FAILED"
    differing, pixels = row["predict"]["differing"], row["predict"]["pixels"]
    labels = f"{100 * differing / pixels:.3f} % differ" if differing else "none differ"
    return f"{passed}; {labels}" + (f"; {_products(row['macs'])}" if row["macs"] else "")


def _products(macs: Mapping[str, int]) -> str:
    """Return the parts of a file's multiply-accumulates by instruction, the largest first."""
    counts: Counter[str] = Counter()
    for kernel, count in macs.items():
        counts[kernel.split()[-1]] += count
    return ", ".join(
        f"{name} {count / counts.total():.0%}" for name, count in counts.most_common() if count > 0.005 * counts.total()
    )


def _version(packages: list[dict[str, Any]], name: str) -> str:
    return str(next(row["version"] for row in packages if row["package"] == name))


def install() -> str:
    """Return the size of the base install on aarch64."""
    result = read("arm")
    return (
        f"The base install there is {len(result['environment']['packages'])} packages of "
        f"{result['total_bytes'] / 1e6:.0f} MB in all (`arm.json`)."
    )


def damage() -> str:
    """Return what verify said of damaged files there."""
    processors = read("arm")["processors"]
    codes = {
        kind: sorted({row["damaged"][kind]["exit_code"] for row in processors})
        for kind in ("weights", "golden", "byte")
    }
    found = {kind: " or ".join(map(str, values)) for kind, values in codes.items()}
    return (
        f"Damaged files were found on each processor: `verify` ended with exit code {found['weights']} where a layer's "
        f"weights had the other sign, {found['golden']} where a hundredth of the golden labels was wrong, and "
        f"{found['byte']} where one bit of the file had changed."
    )
