# The image from a root file system that deploy/image/arm64 made. RUNTIME is the target
# `runtime` of the Dockerfile at the root: user, variables, labels.
ARG RUNTIME
FROM ${RUNTIME}
COPY . /
