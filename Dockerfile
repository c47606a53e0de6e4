# The base install of segtool: runs exported models, without TensorFlow or Keras. See docs/deploying.md.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m venv --without-pip /opt/segtool && pip --python /opt/segtool/bin/python install --no-cache-dir .

FROM python:${PYTHON}-slim
COPY --from=build /opt/segtool /opt/segtool
ENV PATH=/opt/segtool/bin:$PATH
# A self-test. It also compiles the modules of Python, which this base image does not, and a read-only one cannot.
RUN segtool verify && segtool predict --help > /dev/null
ENV PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1
WORKDIR /models
USER 10001:10001
# Every command finds a model at /models/runs/latest/model.onnx or model.int8.onnx by itself: mount it there, or COPY it.
HEALTHCHECK --interval=5m --timeout=1m CMD ["segtool", "verify", "--quiet"]
ENTRYPOINT ["segtool"]
CMD ["--help"]
