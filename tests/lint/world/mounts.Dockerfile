# syntax=docker/dockerfile:1-labs
FROM ubuntu:22.04
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked \
  apt-get update && apt-get install -y --no-install-recommends git=1:2.34.1-1ubuntu1
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc npm ci
RUN --mount=type=ssh git clone git@github.com:o/r.git
RUN --security=insecure --network=host modprobe x
RUN --mount=type=bind,source=.,target=/src,rw make -C /src
RUN --mount=type=secret,id=T,env=TOKEN curl -H "Authorization: Bearer $TOKEN" https://x
ADD --checksum=sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb https://example.com/a.tgz /a.tgz
ADD https://github.com/moby/buildkit.git#v0.14.1 /buildkit
ADD --keep-git-dir=true git@github.com:o/r.git#0123456789012345678901234567890123456789 /r
ADD https://github.com/moby/moby.git#0123456789abcdef0123456789abcdef01234567 /m
ADD app.tar.gz /app
USER 1001:1001
HEALTHCHECK CMD true
