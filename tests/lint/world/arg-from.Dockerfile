ARG REGISTRY=docker.io/library
ARG TAG
ARG VERSION=3.19.1
FROM ${REGISTRY}/alpine:${VERSION} AS base
FROM ${REGISTRY}/python:${TAG:-3.12-slim} AS build
FROM --platform=$BUILDPLATFORM golang:1.22 AS go
ARG TARGETOS TARGETARCH
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH go install example.com/x@latest
FROM base
COPY --from=go /go/bin/x /x
COPY --link --from=docker.io/library/busybox:latest /bin/busybox /bb
COPY --from=build /x /y
USER nobody
HEALTHCHECK NONE
