# Image of fff-server and fffctl with the demo model. Two targets:
#   docker build -t fff-server .                                (cpu, the default)
#   docker build -t fff-server:cuda --target cuda --build-arg CUDA_BASE=IMAGE .
# The final images hold the two programs, the shared libraries they load, the
# model and nothing else: no shell, no package manager. See deploy/README.md.

# Debian 12; give a digest (debian@sha256:...) for a build that repeats.
ARG BASE=debian:bookworm-slim
# Debian 12 with a CUDA toolkit whose nvcc is in PATH or /usr/local/cuda/bin.
ARG CUDA_BASE=debian:bookworm-slim

FROM scratch AS runtime
# A container's port is reached through a network that its owner chooses.
ENV FFF_HOST=0.0.0.0 FFF_INSECURE=on FFF_MODEL_REPOSITORY=/models
USER 65532:65532
EXPOSE 8001 8002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/usr/bin/fffctl", "--timeout=4", "status"]
ENTRYPOINT ["/usr/bin/fff-server"]
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
# Where the sources lie, a URL.
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="FFF Serving" \
      org.opencontainers.image.description="gRPC inference server for fast feedforward networks" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.vendor="FFF Serving" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

FROM ${BASE} AS build-cpu
# One list of packages, for people and for the image.
COPY deploy/setup /src/deploy/setup
RUN /src/deploy/setup build && rm -rf /var/lib/apt/lists/*
COPY . /src
# Compile jobs at once; empty is one a CPU. Where the compiler cache lies: in a
# cache mount, or in a folder that the build mounts with --volume.
ARG JOBS
ARG CCACHE_DIR=/root/.cache/ccache
# Seconds since 1970, the time that the list of packages bears.
ARG SOURCE_DATE_EPOCH
RUN --mount=type=cache,target=/root/.cache/ccache \
    /src/deploy/image/build OFF ${JOBS}
RUN /src/deploy/image/collect /image

FROM runtime AS cpu
COPY --from=build-cpu /image /

FROM ${CUDA_BASE} AS build-cuda
ENV PATH=/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN command -v nvcc || \
    { echo "no nvcc in CUDA_BASE: pass --build-arg CUDA_BASE=IMAGE" >&2; exit 1; }
COPY deploy/setup /src/deploy/setup
RUN /src/deploy/setup build && rm -rf /var/lib/apt/lists/*
COPY . /src
ARG JOBS
ARG CCACHE_DIR=/root/.cache/ccache
# Seconds since 1970, the time that the list of packages bears.
ARG SOURCE_DATE_EPOCH
RUN --mount=type=cache,target=/root/.cache/ccache \
    /src/deploy/image/build ON ${JOBS}
RUN /src/deploy/image/collect /image

FROM runtime AS cuda
# What NVIDIA's container runtime brings in from the host: driver, nvidia-smi.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-cuda /image /

# Last, so that it is what a build without --target makes.
FROM cpu
