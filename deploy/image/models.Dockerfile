# An image that holds a model repository and nothing else, for the component
# model-image and for KServe's oci://. REPOSITORY has one folder per model:
#   docker build -f deploy/image/models.Dockerfile -t fff-models:1 REPOSITORY
FROM scratch
COPY . /models/
