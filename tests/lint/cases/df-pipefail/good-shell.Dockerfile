FROM debian:13@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN curl -fsSL https://a.example/x.tar.gz | tar -xz -C /opt
