"""The generated parts of docs/deploying.md on containers, model servers and the browser."""

from __future__ import annotations

from plots.results import processor, read


def container() -> str:
    """Return size and start time of the base install in a chroot."""
    result = read("container")
    size, start = result["size_mb"], result["as_built"]["start_ms"]
    return (
        f"The packages have {size['packages']:.0f} MB, Python and the libraries of the system {size['python']:.0f} and "
        f"{size['libraries']:.0f} MB. From the start of a process, `verify` takes {start['verify']['p50']:.0f} ms and "
        f"`predict` of one image {start['predict']['p50']:.0f} ms, {start['python']['p50']:.0f} of them the start of "
        f"Python ({processor(result['machine'])}; `container.json`)."
    )


def servers() -> str:
    """Return what Triton's definition and OpenVINO say of the folder of `export --triton`."""
    result = read("servers")
    names = {"float32": "FP32", "int8": "INT8"}
    rows = [
        f"{100 * max(row['openvino']['differing_labels'].values()):.2g} % of {row['name']} "
        f"({names[row['openvino']['precision']]})"
        for row in result["files"]
    ]
    return (
        f"Checked with `benchmarks/servers.py`: Triton's protobuf definition (tritonclient "
        f"{result['versions']['tritonclient']}) parses the configurations for CPU and GPU. OpenVINO "
        f"{result['versions']['openvino'].partition('-')[0]}, the engine of OpenVINO Model Server, runs the same "
        f"files; labels that differ from segtool's: {', '.join(rows)}. OpenVINO may round INT8 in other places: serve "
        "the FP32 file where labels must be equal."
    )


def page() -> str:
    """Return the figures of `segtool page` in a browser."""
    result = read("page")
    rows = [
        "| network, file | MB | images with equal labels | 1 thread, ms | 2 threads, ms | onnxruntime, 1 thread, ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for network in result["networks"]:
        for index, file in enumerate(network["files"]):
            times = " | ".join(f"{each['p50_ms'][index]:.1f}" for each in network["times"])
            name = {"float32": "FP32", "int8": "INT8"}[file["precision"]]
            rows.append(
                f"| {network['name']} ({' x '.join(map(str, network['input']))}), {name} | "
                f"{file['size_bytes'] / 1e6:.2f} | {file['images_with_equal_labels']} of {file['images']} | {times} | "
                f"{network['native_1_thread_ms'][index]:.1f} |"
            )
    requests = result["requests"]
    return "\n".join(
        [
            *rows,
            "",
            f"{result['browser'].split()[0].replace('/', ' ')} with onnxruntime-web {result['onnxruntime_web']} on "
            f"{processor(result['machine'])}; median times of a run. Every file passed `verify`. "
            f"{requests['to_other_hosts']} of {requests['all']} requests went to another host. The folder with the "
            f"shipped model has {result['networks'][0]['folder']['bytes'] / 1e6:.1f} MB (`page.json`).",
        ]
    )
