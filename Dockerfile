# The appliance: Python, the relay, and what the two load, on nothing else.  No shell, no package manager, no pip.
#   docker build -t relay .          docker build --build-arg BASE=python:3.14-slim -t relay .
# BASE is any Debian with Python >= 3.11 under /usr/local, with pip; what is needed of it is copied by make-rootfs.sh.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
# requirements/postgres.txt for relays that share one queue: docs/postgres.md; requirements/runtime.txt without push services
ARG REQUIREMENTS=requirements/push.txt
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements/runtime.txt requirements/push.txt requirements/postgres.txt /build/requirements/
# Wheels where there are any.  PyYAML has none for 32-bit ARM: its sdist installs without a compiler, in pure Python.
RUN pip install --quiet --require-hashes --prefer-binary --no-compile --target /build/site -r "/build/$REQUIREMENTS"
COPY packaging/make-rootfs.sh packaging/needed.py LICENSE /build/
COPY relay /build/site/relay
RUN ["sh", "/build/make-rootfs.sh", "/build/site", "/rootfs"]

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=""
ARG CREATED=""
LABEL org.opencontainers.image.title="relay" \
      org.opencontainers.image.description="The mail relay that every NAS, printer and camera can send through" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /rootfs /
ENV PATH=/usr/local/bin:/usr/bin \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_ARENA_MAX=1
# A number, so that `runAsNonRoot` can see that it is not root; any other user will do that may write to the volume.
USER 65532:65532
# Queue, certificate and tokens.  Give the volume a name: one without is left behind with its container.
VOLUME ["/var/lib/relay"]
EXPOSE 25 2525 8025
STOPSIGNAL SIGTERM
# Rarely: on a small board every check costs a second of a core.  Slow ones are no sign of illness there.
HEALTHCHECK --interval=3m --timeout=20s --start-period=60s --retries=3 CMD ["relay", "health"]
ENTRYPOINT ["relay"]
CMD ["run"]
