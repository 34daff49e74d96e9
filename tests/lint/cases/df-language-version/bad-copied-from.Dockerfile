# lines: 3 5
FROM golang:1@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa AS build
RUN go install example.com/tool@latest
FROM build AS more
RUN go install example.com/two@latest
FROM debian:13@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa AS other
COPY --from=more /go/bin /bin
FROM scratch
COPY --from=2 /bin /bin
USER 10001
