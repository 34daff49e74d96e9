FROM golang:1@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa AS build
RUN go install example.com/tool@latest
FROM scratch
COPY tool /tool
USER 10001
