# One image for API, worker, migrations and sandbox; the command decides which.
# glibc slim: several wheels have no musl build.
FROM python:3.11-slim AS build
WORKDIR /app
COPY requirements.lock ./
RUN python -m venv /venv \
 && /venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check \
    --require-hashes --requirement requirements.lock
COPY . .
RUN /venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check \
    --no-deps --no-build-isolation --editable . --editable clients/python

FROM python:3.11-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/billing billing
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
USER 10001
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 BILLING_SERVICE_HOST=0.0.0.0
EXPOSE 8080 9464 9465
CMD ["python", "-m", "api"]
