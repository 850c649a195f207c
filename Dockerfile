# Two images of the same program. `production`, the one that is built unless another is named, has API,
# worker, migrations and `billing …`; `dev` adds the stand-in and the stack of one machine.
# glibc slim: several wheels have no musl build. By digest: see make pin-images.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /app
COPY requirements.lock requirements-months.lock requirements-otel.lock ./
RUN python -m venv /venv \
 && /venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes \
    --requirement requirements.lock --requirement requirements-months.lock \
    --requirement requirements-otel.lock
COPY LICENSE alembic.ini catalog.yaml pyproject.toml worker.py ./
COPY requirements.in requirements-months.in requirements-otel.in requirements-stack.in ./
COPY activities activities
COPY api api
COPY billing billing
COPY cli cli
COPY clients/python clients/python
# Pages of the guide, as docs are.
COPY clients/typescript/README.md clients/typescript/README.md
COPY sandbox/README.md sandbox/README.md
COPY docs docs
COPY gateways gateways
COPY migrations migrations
COPY workflows workflows
RUN /venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check \
    --no-deps --no-build-isolation --editable . --editable clients/python

FROM build AS build-dev
COPY requirements-stack.lock ./
RUN /venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check \
    --require-hashes --requirement requirements-stack.lock
COPY devstack devstack
COPY sandbox sandbox

FROM ${PYTHON_IMAGE} AS base
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/billing billing
WORKDIR /app
USER 10001
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 BILLING_SERVICE_HOST=0.0.0.0
EXPOSE 8080 9464 9465
CMD ["python", "-m", "api"]

FROM base AS dev
COPY --from=build-dev /venv /venv
COPY --from=build-dev /app /app

FROM base AS production
COPY --from=build /venv /venv
COPY --from=build /app /app
