FROM debian:12
RUN --mount=type=secret,id=npm cat /run/secrets/npm
