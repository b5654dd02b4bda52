# paycall in one image; the command chooses the process: panel, vault, media, sandbox or serve.
# The steps that install are the Makefile's own, so that an image is what `make run` makes.

FROM python:3.12-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /srv/paycall
COPY Makefile pyproject.toml requirements-pip.lock requirements.lock README.md LICENSE ./
COPY paycall ./paycall
COPY dsp ./dsp
COPY gateway_adapters ./gateway_adapters
COPY config ./config
RUN make .venv/.runtime PYTHON=python3

FROM python:3.12-slim-bookworm
# The wheel of pjsua2 brings its libraries; nothing else of the system is needed.
RUN useradd --system --uid 10001 --create-home --home-dir /srv/paycall paycall
WORKDIR /srv/paycall
COPY --from=build --chown=root:root /srv/paycall /srv/paycall
RUN install -d -o paycall -g paycall -m 700 /srv/paycall/var
USER paycall
ENV PATH=/srv/paycall/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PAYCALL_PROCESS=serve
VOLUME /srv/paycall/var
STOPSIGNAL SIGTERM
# compose.yaml sets PAYCALL_PROCESS beside the command; for `serve` the panel speaks for all.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD paycall health "$( [ "$PAYCALL_PROCESS" = serve ] && echo panel || echo "$PAYCALL_PROCESS" )"
ENTRYPOINT ["paycall"]
CMD ["serve"]
