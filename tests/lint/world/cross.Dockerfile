# syntax=docker/dockerfile:1.7-labs
FROM --platform=$BUILDPLATFORM tonistiigi/xx:1.4.0@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa AS xx
FROM --platform=$BUILDPLATFORM golang:1.22.1-alpine3.19@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa AS build
COPY --from=xx / /
ARG TARGETPLATFORM
RUN xx-apk add --no-cache musl-dev gcc
RUN --mount=type=bind,target=. --mount=type=cache,target=/root/.cache xx-go build -o /app . && xx-verify /app
RUN set -ex; \
    \
    export GNUPGHOME="$(mktemp -d)"; \
    gpg --batch --keyserver hkps://keys.openpgp.org --recv-keys "$GPG_KEY"; \
    curl -fsSL "https://x/y.tgz" -o y.tgz; \
    echo "$SHA  y.tgz" | sha256sum -c -; \
    case "$(uname -m)" in \
      x86_64) arch=amd64 ;; \
      aarch64|arm64) arch=arm64 ;; \
      *) echo >&2 "unsupported"; exit 1 ;; \
    esac; \
    for k in a b c; do \
      echo "$k" | tee -a /x; \
    done; \
    find /usr/local -type f -perm /6000 -exec chmod a-s {} + ; \
    rm -rf /var/lib/apt/lists/*
FROM gcr.io/distroless/static-debian12:nonroot@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
COPY --from=build /app /app
COPY --chmod=555 --chown=65532:65532 entry.sh /
EXPOSE 8443/tcp
LABEL org.opencontainers.image.source="https://github.com/o/r" org.opencontainers.image.token-realm=x
ENTRYPOINT ["/app"]
