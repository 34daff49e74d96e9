FROM debian:13@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
RUN apt-get update && xx-apt-get install -y --no-install-recommends gcc && rm -rf /var/lib/apt/lists/*
