"""Made tiny_v1.onnx and tiny_v1.int8.onnx; see README.md beside it."""

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "unit"))

if __name__ == "__main__":
    from tiny_nets import write_run

    from segtool.export.options import ExportOptions
    from segtool.export.pipeline import export_model

    with tempfile.TemporaryDirectory() as folder:
        run = write_run(Path(folder) / "run")
        options = ExportOptions(quantize=True, waive=("speed",), out=HERE / "tiny_v1.onnx", overwrite=True)
        export_model(run, options=options)
