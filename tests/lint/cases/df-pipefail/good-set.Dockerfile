FROM debian:13@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
RUN set -eo pipefail; curl -fsSL https://a.example/x.tar.gz | tar -xz -C /opt
